"""Files that an operator brings, wherever they lie: read piece by piece; what is set aside is written down, sums are told."""

import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import fsspec
import polars as pl
from rich.console import Console
from rich.progress import Progress

from api.running import Standing
from compliance import database as databases
from compliance import ids
from compliance.refusals import Fault, Unacceptable
from scoring import behaviour_files
from scoring.behaviour_files import FORMS
from scoring.store import incoming

FILES_MAX = 10_000
PIECE_BYTES = 1 << 22


SCHEMA = "schema.json"


class Received(Protocol):
    """What became of a piece of a file; beside it, a number for each of its table's `counts`."""

    @property
    def quarantined(self) -> tuple[incoming.Fault, ...]:
        """What was set aside."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is read; `receive` takes so many of its rows at once, in one act; columns `not_taken` are no rows."""

    rows: pl.DataFrame
    receive: Callable[[pl.DataFrame], Awaitable[Received]]
    rows_at_once: int
    not_taken: tuple[incoming.Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table that may be brought, in a folder by the files whose names begin with its own.

    `counts` names the numbers that are told of each piece; a `described` table has its folder's schema.json beside it.
    """

    name: str
    read: Callable[[Path], File]
    counts: tuple[str, ...]
    described: bool = False


async def bring(found: Standing, source: str, what: str, tables: Sequence[Table]) -> int:
    """Bring the tables of a file, of a folder, or of any address that fsspec knows; run again, it goes on.

    Prints the sums as one line of JSON. What is set aside is written to the quarantine of `what`: file, line, column,
    reason; so are, on line 0, whole columns that nobody could use. 1 where a row was set aside.
    """
    counts = dict.fromkeys(name for table in tables for name in table.counts)
    sums = dict.fromkeys(("files", *counts, "quarantined", "not_taken"), 0)
    home = found.settings.home
    aside = home / "quarantine" / what / f"{ids.ordered_id().hex}.ndjson"
    aside.parent.mkdir(parents=True, exist_ok=True)
    async with databases.opened(found.database, home, found.settings.origin):
        with Progress(console=Console(stderr=True), transient=True) as bar:
            for table, path in _files(source, tables):
                sums["files"] += 1
                file = table.read(path)
                sums["not_taken"] += _set_aside(aside, path.name, file.not_taken)
                task = bar.add_task(path.name, total=file.rows.height)
                for piece in file.rows.iter_slices(file.rows_at_once):
                    received = await file.receive(piece)
                    sums["quarantined"] += _set_aside(aside, path.name, received.quarantined)
                    for name in table.counts:
                        sums[name] += getattr(received, name)
                    bar.advance(task, piece.height)
                bar.remove_task(task)
    told = {"quarantine": str(aside)} if aside.exists() else {}
    sys.stdout.write(json.dumps(sums | told) + "\n")
    return int(sums["quarantined"] > 0)


def _set_aside(aside: Path, name: str, faults: Sequence[incoming.Fault]) -> int:
    if faults:
        with aside.open("a", encoding="utf-8") as out:
            for fault in faults:
                told = {"file": name, "line": fault.line, "column": fault.column, "reason": fault.reason}
                out.write(json.dumps(told, ensure_ascii=False) + "\n")
    return len(faults)


def _files(source: str, tables: Sequence[Table]) -> Iterator[tuple[Table, Path]]:
    """Each file of the source that holds one of the tables, in their order; one that is elsewhere is fetched.

    Raises `Unacceptable` where there is none, or more than anybody means.
    """
    try:
        system, root = fsspec.core.url_to_fs(source)
        names = system.find(root) if (is_folder := system.isdir(root)) else [root] * system.exists(root)
    except (ImportError, ValueError, OSError) as error:
        raise _unusable(f"it cannot be reached ({type(error).__name__})") from error
    there = [
        (table, name)
        for table in tables
        for name in sorted(names)
        if PurePosixPath(name).suffix in FORMS and table is _table(name, tables, is_folder=is_folder)
    ]
    if not there or len(there) > FILES_MAX:
        raise _unusable(f"name 1 to {FILES_MAX} files that end in {', '.join(FORMS)}")
    is_local = isinstance(system, fsspec.implementations.local.LocalFileSystem)
    for table, name in there:
        if is_local:
            yield table, Path(name)
            continue
        with tempfile.TemporaryDirectory(prefix="xinqiao-") as fetched:
            copied = Path(fetched) / PurePosixPath(name).name
            _fetch(system, name, copied)
            described = str(PurePosixPath(name).with_name(SCHEMA))
            if table.described and system.exists(described):
                _fetch(system, described, copied.with_name(SCHEMA))
            yield table, copied


def _table(name: str, tables: Sequence[Table], *, is_folder: bool) -> Table | None:
    """The table that a file is of, by its name; a file that was named alone is of the last one if of no other.

    In a folder in the canonical shape other tables may lie beside these.
    """
    of = [table for table in tables if PurePosixPath(name).name.startswith(table.name)]
    return of[0] if of else None if is_folder else tables[-1]


def _fetch(system: fsspec.AbstractFileSystem, name: str, copied: Path) -> None:
    """Copy a file from elsewhere, no further than the bytes of one that is read: not every address tells a size."""
    size = 0
    with system.open(name, "rb") as source, copied.open("wb") as out:
        while piece := source.read(PIECE_BYTES):
            size += len(piece)
            behaviour_files.refuse_large(copied.name, size)
            out.write(piece)


def _unusable(why: str) -> Unacceptable:
    return Unacceptable("the source cannot be loaded", Fault("/source", "unusable", why))
