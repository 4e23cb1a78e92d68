"""What everybody in a population permit scores: as the recipient's last run says while it holds, else the same worked out here."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from compliance.act import Act
from compliance.vocabulary import UserId
from consent.permits import PopulationPermit
from scoring.runs import keeping, people, plans, shards
from scoring.runs.faults import RunUnusable
from scoring.runs.shards import People
from scoring.scorer import NO_ANSWER, Scorer

AT_ONCE = 10_000
SCORED = pl.Schema([*shards.KEYED.items(), ("points", pl.Int16())])
HOLDS = """
select 1 where $1::timestamptz = (select max(data_cutoff) from scoring_feature where model = $2)
  and not exists (select 1 from scoring_snapshot where greatest(started_at, finished_at) >= $3::timestamptz)
"""
"""Features have not become newer: a run that was made while a snapshot went on is made of both."""


async def of(
    act: Act, permitted: PopulationPermit, model: Scorer, users: Sequence[UserId]
) -> NDArray[np.int16]:
    """Points of these users of the permit, in their order; `NO_ANSWER` where what they share carries none.

    A run counts for whoever shares now what they shared then. Who is not in it, and everybody where there is none that
    holds, is scored here by what answers a call: it says the same to the bit.
    """
    wanted = people.keys(permitted, model, users)
    found = [await _of_run(act, permitted, model)]
    missing = wanted.join(found[0], on=shards.KEYS, how="anti")
    found += [await _scored(act, permitted, model, some) for some in missing.iter_slices(AT_ONCE)]
    told = wanted.join(pl.concat(found), on=shards.KEYS, how="left", maintain_order="left")
    return told["points"].fill_null(NO_ANSWER).to_numpy()


async def _of_run(act: Act, permitted: PopulationPermit, model: Scorer) -> pl.DataFrame:
    """What the recipient's last run says; nothing where there is none, or it holds no more, or a file is damaged."""
    run = keeping.finished(keeping.folder(), permitted.recipient, model.digest)
    try:
        if run and await _holds(act, run):
            return await asyncio.to_thread(_read, run)
    except RunUnusable:
        pass
    return SCORED.to_frame()


async def _holds(act: Act, run: Path) -> bool:
    plan = plans.plan(run)
    stated = [
        datetime.fromisoformat(plan.stamp.data_cutoff),
        plan.stamp.model,
        datetime.fromisoformat(plan.made_at),
    ]
    return bool(await act.db.execute_query_dict(HOLDS, stated))


def _read(run: Path) -> pl.DataFrame:
    told = plans.manifest(run)
    if told is None:
        return SCORED.to_frame()
    files = ((run / plans.POINTS / shards.name(each.number), each.digest) for each in told.shards)
    return pl.concat(
        shards.read_points(file, told.stamp, digest).select(SCORED.names()) for file, digest in files
    )


async def _scored(act: Act, permitted: PopulationPermit, model: Scorer, keys: pl.DataFrame) -> pl.DataFrame:
    users = [UserId(shards.user(high, low)) for high, low, _ in keys.iter_rows()]
    some = await people.shared_by(act, permitted, model, users)
    found = await asyncio.to_thread(_evaluated, model, some)
    columns = {"user_high": some.high, "user_low": some.low, shards.MASK: some.masks, "points": found}
    return pl.DataFrame(columns, schema=SCORED)


def _evaluated(model: Scorer, some: People) -> NDArray[np.int16]:
    shared = people.flags(model, some.masks)
    events, active_days = (
        {category: counts[:, n] for n, category in enumerate(model.categories)}
        for counts in (some.events, some.active_days)
    )
    return model.evaluate_many(some.values, events, active_days, shared).points
