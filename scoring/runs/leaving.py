"""How people leave a run: no file of it holds a row of theirs afterwards, and everybody else's stay as they are."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import polars as pl

from scoring.runs import plans, shards
from scoring.runs.faults import RunBusy, ShardUnusable
from scoring.runs.plans import FEATURES, POINTS, Scored, Shard

LEAVING, LEFT = "leaving", "left"
"""Folders of a run that is scored: who is to leave it, and who left it since that began, a file each, called by their id."""


def forget(run: Path, user: UUID) -> None:
    """Take a person out of a run. Twice is fine.

    Where a shard of theirs is not whole the whole run goes: it can be made anew, and nothing of them may stay.
    Raises `RunBusy` while it is being scored, until whoever scores it took them out (`take_out_asked`).
    """
    try:
        with plans.alone(run):
            _taken_out(run, user)
            (run / LEAVING / str(user)).unlink(missing_ok=True)
    except RunBusy:
        if not (run / LEFT / str(user)).exists():
            (run / LEAVING).mkdir(mode=0o700, exist_ok=True)
            (run / LEAVING / str(user)).touch(mode=0o600)
            raise


def is_asked(run: Path) -> bool:
    """Whether somebody waits to be taken out."""
    try:
        return any((run / LEAVING).iterdir())
    except FileNotFoundError:
        return False


@contextmanager
def noted(run: Path) -> Iterator[None]:
    """While a run is scored it is noted who left; afterwards everybody can look for themselves."""
    shutil.rmtree(run / LEFT, ignore_errors=True)
    (run / LEFT).mkdir(mode=0o700)
    yield
    shutil.rmtree(run / LEFT)


def take_out_asked(run: Path) -> None:
    """Take out who waits for that; for who scores the run, and none of its shards at this moment.

    Raises `ShardUnusable` where a shard of theirs is not whole: then the run is gone.
    """
    for asked in (run / LEAVING).glob("*"):
        if not _taken_out(run, UUID(asked.name)):
            raise ShardUnusable(f"a shard of {run.name} is damaged")
        asked.rename(run / LEFT / asked.name)


def keep_only(run: Path, allowed: pl.DataFrame, *, patient: bool) -> None:
    """Leave the rows of who is allowed: a user (`user_high`, `user_low`) with this very `mask`.

    Raises `ShardUnusable` where a shard is not whole, and `RunBusy` unless `patient`.
    """

    def kept(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.join(allowed, on=shards.KEYS, how="semi", maintain_order="left")

    with plans.alone(run, patient=patient):
        plans.sweep(run)
        for number in range(len(plans.plan(run).shards)):
            if not _reduced(run, number, kept):
                raise ShardUnusable(f"{shards.name(number)} is damaged")


def _taken_out(run: Path, user: UUID) -> bool:
    """Take somebody out, with the whole run where a shard of theirs is not whole; whether it is still there."""
    plans.sweep(run)
    high, low = shards.halves(user)

    def kept(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter((pl.col("user_high") != high) | (pl.col("user_low") != low))

    try:
        whole = _reduced(run, shards.place(user, len(plans.plan(run).shards)), kept)
    except ShardUnusable:
        whole = False
    if not whole:
        plans.remove(run)
    return whole


def _reduced(run: Path, number: int, kept: shards.Kept) -> bool:
    """Whether neither file of a shard holds more than what is kept, and the plan and the manifest say what is left."""
    return _features_reduced(run, number, kept) and _points_reduced(run, number, kept)


def _features_reduced(run: Path, number: int, kept: shards.Kept) -> bool:
    before, file = plans.plan(run), run / FEATURES / shards.name(number)
    if not file.exists():
        return True
    if not shards.is_whole(file, before.shards[number].written.digest):
        return False
    left = shards.reduce(file, kept)
    if left:
        changed = Shard(number, *left)
        after = tuple(changed if each.number == number else each for each in before.shards)
        plans.write_plan(run, replace(before, shards=after))
    return True


def _points_reduced(run: Path, number: int, kept: shards.Kept) -> bool:
    """The same of the points; while a run is not finished, those of features that are no more are scored again."""
    planned, finished = plans.plan(run), plans.manifest(run)
    file = run / POINTS / shards.name(number)
    if finished is None:
        features = planned.shards[number].written.digest
        told = [
            each.digest for each in plans.journal(run) if (each.number, each.features) == (number, features)
        ]
        if not any(shards.is_whole(file, digest) for digest in told):
            file.unlink(missing_ok=True)
        return True
    if not shards.is_whole(file, finished.shards[number].digest):
        return False
    left = shards.reduce(file, kept)
    if left:
        rows, written = left
        answered = shards.read_points(file, finished.stamp, written.digest)["points"].count()
        changed = Scored(number, rows, answered, planned.shards[number].written.digest, written.digest)
        after = tuple(changed if each.number == number else each for each in finished.shards)
        plans.write_manifest(run, replace(finished, shards=after))
    return True
