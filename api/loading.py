"""What the operator does with behaviour from the command line: load files, compute everybody's features."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath

import fsspec
import polars as pl
from rich.console import Console
from rich.progress import Progress

from api.operating import OPERATOR
from api.running import Standing
from compliance import database as databases
from compliance import ids
from compliance.act import open_act, open_upkeep
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import Purpose
from scoring import behaviour, behaviour_files
from scoring.behaviour_files import FORMS
from scoring.buckets import BUCKETS
from scoring.store import compaction, intake, snapshot
from scoring.store.intake import BehaviourBacklog, Received

ROWS_AT_ONCE = 100_000
FILES_MAX = 10_000
PIECE_BYTES = 1 << 22
TRIES_MAX, REST_SECONDS = 1_000, 0.2


async def load(found: Standing, source: str) -> int:
    """Bring the events of a file, of a folder, or of any address that fsspec knows; run again, it goes on.

    Prints the sums as one line of JSON. What is set aside is written to the quarantine: file, line, column, reason.
    1 where anything was set aside.
    """
    sums = dict.fromkeys(("files", "accepted", "duplicate", "late", "quarantined"), 0)
    home = found.settings.home
    aside = home / "quarantine" / "behaviour" / f"{ids.ordered_id().hex}.ndjson"
    aside.parent.mkdir(parents=True, exist_ok=True)
    async with databases.opened(found.database, home, found.settings.origin):
        for path in _files(source):
            sums["files"] += 1
            cells = behaviour.events_of(path)
            for piece in cells.iter_slices(ROWS_AT_ONCE):
                received = await _brought(piece)
                _set_aside(aside, path.name, received)
                for what in ("accepted", "duplicate", "late"):
                    sums[what] += getattr(received, what)
                sums["quarantined"] += len(received.quarantined)
    told = {"quarantine": str(aside)} if sums["quarantined"] else {}
    sys.stdout.write(json.dumps(sums | told) + "\n")
    return int(sums["quarantined"] > 0)


async def _brought(piece: pl.DataFrame) -> Received:
    """Bring one piece; where too much waits to be filed, file it first."""
    while True:
        try:
            async with open_act(OPERATOR, None) as act:
                return await intake.receive(act, piece)
        except BehaviourBacklog:
            await file_everything()


async def file_everything() -> None:
    """Move every event that waits into its files; a bucket that somebody uses just then is tried again.

    Raises `BehaviourBacklog` where one is never free.
    """
    async with open_upkeep(OPERATOR) as upkeep:
        left = await compaction.waiting(upkeep)
    for _ in range(TRIES_MAX):
        left = [bucket for bucket in left if not await _filed(bucket)]
        if not left:
            return
        await asyncio.sleep(REST_SECONDS)
    raise BehaviourBacklog("files were in use all the time; run the same command again")


async def _filed(bucket: int) -> bool:
    async with open_upkeep(OPERATOR) as upkeep:
        return await compaction.compact(upkeep, bucket)


def _set_aside(aside: Path, name: str, received: Received) -> None:
    if not received.quarantined:
        return
    with aside.open("a", encoding="utf-8") as out:
        for fault in received.quarantined:
            told = {"file": name, "line": fault.line, "column": fault.column, "reason": fault.reason}
            out.write(json.dumps(told, ensure_ascii=False) + "\n")


def _files(source: str) -> Iterator[Path]:
    """Each file of the source that holds events, in the order of their names; one that is elsewhere is fetched.

    Raises `Unacceptable` where there is none, or more than anybody means.
    """
    try:
        system, root = fsspec.core.url_to_fs(source)
        names = _in_folder(system.find(root)) if system.isdir(root) else [root] * system.exists(root)
        there = sorted(name for name in names if PurePosixPath(name).suffix in FORMS)
    except (ImportError, ValueError, OSError) as error:
        raise _unusable(f"it cannot be reached ({type(error).__name__})") from error
    if not there or len(there) > FILES_MAX:
        raise _unusable(f"name 1 to {FILES_MAX} files that end in {', '.join(FORMS)}")
    is_local = isinstance(system, fsspec.implementations.local.LocalFileSystem)
    for name in there:
        if is_local:
            yield Path(name)
            continue
        with tempfile.TemporaryDirectory(prefix="xinqiao-") as fetched:
            copied = Path(fetched) / PurePosixPath(name).name
            _fetch(system, name, copied)
            yield copied


def _fetch(system: fsspec.AbstractFileSystem, name: str, copied: Path) -> None:
    """Copy a file from elsewhere, no further than the bytes of one that is read: not every address tells a size."""
    size = 0
    with system.open(name, "rb") as source, copied.open("wb") as out:
        while piece := source.read(PIECE_BYTES):
            size += len(piece)
            behaviour_files.refuse_large(copied.name, size)
            out.write(piece)


def _in_folder(names: list[str]) -> list[str]:
    """Of a folder in the canonical shape, its events; other tables may lie beside them."""
    return [name for name in names if PurePosixPath(name).name.startswith("events")]


def _unusable(why: str) -> Unacceptable:
    return Unacceptable("the source cannot be loaded", Fault("/source", "unusable", why))


async def take_snapshot(found: Standing, cutoff: datetime) -> int:
    """Compute everybody's features from the store up to a moment; broken off, the same call goes on where it was.

    Prints how many people have features as one line of JSON.
    """
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        async with open_act(OPERATOR, Purpose.CREDIT_ASSESSMENT) as act:
            done = await snapshot.begin(act, cutoff)
        await file_everything()  # what came in before counts, what comes from now on is late
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("computing features", total=BUCKETS, completed=done.buckets_done)
            while not done.is_finished:
                async with open_act(OPERATOR, Purpose.CREDIT_ASSESSMENT) as act:
                    done = await snapshot.advance(act, done.id)
                bar.update(task, completed=done.buckets_done)
    told = {"snapshot": ids.public("snp", done.id), "cutoff": done.cutoff.isoformat(), "people": done.people}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0
