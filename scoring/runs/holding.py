"""What population runs hold about a person: shown in their copy, and gone with them."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from compliance.act import Act
from compliance.vocabulary import UserId
from consent import copies, holdings
from consent.holdings import StillHeld
from consent.permits import OwnPermit
from scoring import policy, registry
from scoring.manifest import ModelAltered
from scoring.runs import keeping, plans, shards
from scoring.runs.faults import RunBusy, RunUnusable


@holdings.files("population", part="population_scores")
async def forget(_: Act, users: Sequence[UserId]) -> None:
    """Take these people out of every run. Raises `StillHeld` with those who are in one that is scored at present."""
    held = [user for user in users if not await asyncio.to_thread(_forgotten, user)]
    if held:
        raise StillHeld(held)


def _forgotten(user: UserId) -> bool:
    """Whether no run holds somebody any more; where one cannot be written it is tried again."""
    try:
        keeping.forget(keeping.folder(), user)
    except (RunBusy, OSError):
        return False
    return True


@copies.adds("population")
async def _copied(_: Act, own: OwnPermit, most: int) -> list[dict[str, Any]]:
    """Their answers in every finished run; the features that these come from are a part of their own."""
    runs = await asyncio.to_thread(lambda: sorted(keeping.folder().glob("*/*")))
    told: list[dict[str, Any]] = []
    for run in runs:
        with suppress(RunUnusable):  # a right does not wait for a file that nobody can use
            told += await asyncio.to_thread(_of_run, run, own.user)
    return told[:most]


def _of_run(run: Path, user: UserId) -> list[dict[str, Any]]:
    plan, finished = plans.plan(run), plans.manifest(run)
    if finished is None:
        return []
    shard = finished.shards[shards.place(user, len(finished.shards))]
    points = shards.read_points(run / plans.POINTS / shards.name(shard.number), plan.stamp, shard.digest)
    high, low = shards.halves(user)
    theirs = points.filter((pl.col("user_high") == high) & (pl.col("user_low") == low))
    return [_row(run, plan.made_at, plan.stamp.model, row) for row in theirs.iter_rows(named=True)]


def _row(run: Path, made_at: str, model: str, row: dict[str, Any]) -> dict[str, Any]:
    log_odds = row["log_odds"]
    return {
        "recipient": run.parent.name,
        "made_at": made_at,
        "model": model,
        "shared": _named(model, row[shards.MASK]),
        "points": row["points"],
        "band": row["band"],
        "probability": None if log_odds is None else str(policy.probability(log_odds)),
    }


def _named(model: str, mask: int) -> list[str] | None:
    try:
        categories = registry.scorer(model).categories
    except ModelAltered:
        return None
    return [category for n, category in enumerate(categories) if mask >> n & 1]
