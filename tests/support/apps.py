"""Applications that serve one test's installation after another: to build one takes a tenth of a second."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from litestar import Litestar

from api import serving
from api.app import create_app
from api.settings import Settings
from compliance.database import Database

KEPT = 8
_idle: deque[tuple[Settings, Litestar]] = deque(maxlen=KEPT)
"""Those that nobody runs, with what they were built for, whatever the installation."""


@contextmanager
def built(settings: Settings, database: Database) -> Iterator[Litestar]:
    """An application for these settings, nobody else's until the block ends."""
    shape = replace(settings, home=Path(), database=None)
    found = next((kept for kept in _idle if kept[0] == shape), None)
    if found:
        _idle.remove(found)
        serving.place(found[1], settings, database)
    app = found[1] if found else create_app(settings, database)
    yield app
    _idle.append((shape, app))
