"""What a population run is made of: a plan, a journal while it goes on, and a manifest once every shard is scored."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

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
def alone(run: Path) -> Iterator[None]:
    """Nobody else changes the run meanwhile. Raises `RunBusy`."""
    with os.fdopen(os.open(run / LOCK, os.O_RDWR | os.O_CREAT, 0o600), "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def forget(run: Path, user: UUID) -> None:
    """Take a person out of a run: their rows are in no file of it afterwards. Twice is fine.

    Where a shard of theirs is not whole the whole run goes: it can be made anew, and nothing of them may stay.
    Raises `RunBusy` while it is being scored.
    """
    with alone(run):
        if not (_features_without(run, user) and _points_without(run, user)):
            remove(run)


def remove(run: Path) -> None:
    """Delete a run with everything in it."""
    shutil.rmtree(run, ignore_errors=True)


def _features_without(run: Path, user: UUID) -> bool:
    """Whether no feature shard holds the user any more, and the plan says what is left."""
    try:
        before = plan(run)
    except ShardUnusable:
        return False
    number = shards.place(user, len(before.shards))
    file = run / FEATURES / shards.name(number)
    if not file.exists():
        return True
    if not shards.is_whole(file, before.shards[number].written.digest):
        return False
    left = shards.without(file, user)
    if left:
        changed = Shard(number, *left)
        kept = tuple(changed if each.number == number else each for each in before.shards)
        write_plan(run, replace(before, shards=kept))
    return True


def _points_without(run: Path, user: UUID) -> bool:
    """The same of their points; a shard that only the journal names is scored again."""
    planned, finished = plan(run), manifest(run)
    number = shards.place(user, len(planned.shards))
    file = run / POINTS / shards.name(number)
    if finished is None:
        file.unlink(missing_ok=True)
        return True
    if not shards.is_whole(file, finished.shards[number].digest):
        return False
    left = shards.without(file, user)
    if left:
        rows, written = left
        answered = shards.read_points(file, finished.stamp, written.digest)["points"].count()
        changed = Scored(number, rows, answered, planned.shards[number].written.digest, written.digest)
        kept = tuple(changed if each.number == number else each for each in finished.shards)
        write_manifest(run, replace(finished, shards=kept))
    return True


def is_over(run: Path, before: datetime) -> bool:
    """Whether a run was made before a moment, or its making was cut off."""
    try:
        return datetime.fromisoformat(plan(run).made_at) < before
    except (ShardUnusable, ValueError):
        return True
