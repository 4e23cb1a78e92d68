"""What a population run is made of: a plan, a journal while it goes on, and a manifest once every shard is scored."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from compliance import canonical
from scoring.runs import shards
from scoring.runs.faults import RunBusy, ShardUnusable
from scoring.runs.shards import Stamp, Written

PLAN, JOURNAL, MANIFEST, LOCK = "plan.json", "journal.ndjson", "manifest.json", "lock"
FEATURES, POINTS = "features", "points"


@dataclass(frozen=True, slots=True)
class Shard:
    """A feature shard of a plan."""

    number: int
    rows: int
    written: Written


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be scored: written when every feature shard is there."""

    stamp: Stamp
    made_at: str
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of a shard: `features` is what its points were computed from, `digest` the SHA-256 of the points."""

    number: int
    rows: int
    answered: int
    features: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A run whose every shard is scored."""

    stamp: Stamp
    shards: tuple[Scored, ...]

    @property
    def rows(self) -> int:
        """How many were scored."""
        return sum(each.rows for each in self.shards)

    @property
    def answered(self) -> int:
        """How many of them have an answer."""
        return sum(each.answered for each in self.shards)

    @property
    def digest(self) -> str:
        """The digest of the manifest, and so of every shard."""
        return canonical.digest(asdict(self))


@contextmanager
def alone(run: Path, *, patient: bool = False) -> Iterator[None]:
    """Nobody else changes the run meanwhile. Raises `RunBusy`, unless `patient`: then it waits for who is there."""
    with os.fdopen(os.open(run / LOCK, os.O_RDWR | os.O_CREAT, 0o600), "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        except BlockingIOError as busy:
            raise RunBusy(f"another process works on {run.name}") from busy
        yield


def write_plan(run: Path, plan: Plan) -> None:
    """Say what is to be scored."""
    shards.replace(run / PLAN, canonical.canonical(asdict(plan)))


def plan(run: Path) -> Plan:
    """What is to be scored. Raises `ShardUnusable` where it cannot be read."""
    try:
        return msgspec.json.decode((run / PLAN).read_bytes(), type=Plan)
    except (FileNotFoundError, ValueError) as wrong:
        raise ShardUnusable(f"the plan of {run.name} is missing or damaged") from wrong


def write_manifest(run: Path, manifest: Manifest) -> None:
    """Say that every shard is scored; the journal is over."""
    shards.replace(run / MANIFEST, canonical.canonical(asdict(manifest)))
    (run / JOURNAL).unlink(missing_ok=True)


def manifest(run: Path) -> Manifest | None:
    """What a finished run says of its shards; none while it is not finished, or where it cannot be read."""
    try:
        return msgspec.json.decode((run / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, ValueError):
        return None


def journal(run: Path) -> list[Scored]:
    """Which shards were scored so far; a line that was cut off, or is none, says nothing."""
    try:
        lines = (run / JOURNAL).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError):
            found.append(msgspec.json.decode(line, type=Scored))
    return found


def remove(run: Path) -> None:
    """Delete a run with everything in it."""
    shutil.rmtree(run, ignore_errors=True)


def sweep(run: Path) -> None:
    """Delete what a writer left that was killed before its file was whole; for who is alone with the run."""
    for kind in (FEATURES, POINTS):
        for unfinished in (run / kind).glob(".*"):
            unfinished.unlink(missing_ok=True)


def is_over(run: Path, before: datetime) -> bool:
    """Whether a run was made before a moment, or its making was cut off."""
    try:
        return datetime.fromisoformat(plan(run).made_at) < before
    except (ShardUnusable, ValueError):
        return True
