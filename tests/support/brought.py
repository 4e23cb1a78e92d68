"""Files that an operator brings into an installation by the command line, and what it told of them."""

import json
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support import events

from api import loading
from api.running import Standing
from compliance import database as databases
from compliance.database import Ground
from scoring.store.snapshot import Progress


def ground_of(found: Standing) -> AbstractAsyncContextManager[Ground]:
    """The installation, opened."""
    return databases.opened(found.database, found.settings.home, found.settings.origin)


async def loaded(found: Standing, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command told of a folder; it failed where a row was set aside, and only there."""
    capsys.readouterr()
    failed = await loading.load(found, str(folder))
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert failed == int(said["quarantined"] > 0)
    return said


def faults(said: dict[str, Any]) -> list[tuple[int, str, str]]:
    """What was set aside: line, column, reason."""
    lines = [json.loads(line) for line in Path(said["quarantine"]).read_text().splitlines()]
    return [(line["line"], line["column"], line["reason"]) for line in lines]


async def taken(found: Standing, cutoff: datetime) -> Progress:
    """A snapshot of everybody."""
    async with ground_of(found):
        return await events.taken(cutoff)
