"""Feature shards of everybody in a population permit: only what each of them shares, as it stands in the database."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from compliance.act import Act
from compliance.refusals import NotFound
from compliance.vocabulary import Categories, PartnerId, Purpose, UserId
from consent import permits
from consent.permits import PopulationPermit
from scoring import population, registry, release, scorer
from scoring.measures.graph import GRAPH
from scoring.runs import leaving, plans, shards
from scoring.runs.plans import Plan, Shard
from scoring.runs.shards import People, Stamp
from scoring.scorer import Scorer

PEOPLE_A_SHARD = 50_000
PEOPLE = "people"
CUTOFF = "select max(data_cutoff) as cutoff from scoring_feature where model = $1"
FEATURES = """
select user_id, vector, events, active_days, contacts_for from scoring_feature
where user_id = any($1::uuid[]) and model = $2 order by user_id
"""


async def write(act: Act, recipient: PartnerId, run: Path) -> Plan:
    """Write the features of everybody whom a recipient may have lists of, for the model in use; returns the plan.

    With no lawful channel towards the recipient nobody's features are read. Records `population_permitted`. The plan
    is the caller's to write, once the act is committed. Raises `NotFound` where nobody has features.
    """
    model = registry.scorer((await registry.champion(act)).digest)
    newest = await act.db.execute_query_dict(CUTOFF, [model.digest])
    cutoff = newest[0]["cutoff"]
    if cutoff is None:
        raise NotFound("nobody has features of the model in use")
    permitted = await permits.population_permit(act, Purpose.PRESCREEN, recipient, cutoff)

    async def written() -> tuple[Shard, ...]:
        return await _write(act, permitted, model, run)

    released = await release.release_evaluation(act, permitted, written)
    return Plan(_stamp(permitted, model), act.now.isoformat(), released.value)


async def keep_permitted(act: Act, recipient: PartnerId, run: Path, *, patient: bool) -> None:
    """Take out of a run whoever may not be in it now, or not with these categories. Records `population_permitted`.

    Raises `ShardUnusable` where a shard is not whole, and `RunBusy` unless `patient`.
    """
    stamp = plans.plan(run).stamp
    model, cutoff = registry.scorer(stamp.model), datetime.fromisoformat(stamp.data_cutoff)
    permitted = await permits.population_permit(act, Purpose.PRESCREEN, recipient, cutoff)
    allowed = keys(permitted, model, list(permitted.masks))
    await asyncio.to_thread(leaving.keep_only, run, allowed, patient=patient)


def keys(permitted: PopulationPermit, model: Scorer, users: Sequence[UserId]) -> pl.DataFrame:
    """These users and what each of them shares, as a shard holds it (`shards.KEYS`), in their order."""
    rows = [(*shards.halves(user), mask(model, permitted.masks[user])) for user in users]
    return pl.DataFrame(rows, schema=shards.KEYED, orient="row")


def _stamp(permitted: PopulationPermit, model: Scorer) -> Stamp:
    return Stamp(model.digest, permitted.digest, permitted.cutoff.isoformat(), PEOPLE)


async def _write(act: Act, permitted: PopulationPermit, model: Scorer, run: Path) -> tuple[Shard, ...]:
    (run / plans.FEATURES).mkdir(mode=0o700)
    many = max(1, -(-len(permitted.grants) // PEOPLE_A_SHARD))
    members: list[list[UserId]] = [[] for _ in range(many)]
    for user in permitted.grants:
        members[shards.place(user, many)].append(user)
    made = []
    for number, users in enumerate(members):
        people = await shared_by(act, permitted, model, users)
        file = run / plans.FEATURES / shards.name(number)
        written = shards.write_features(file, _stamp(permitted, model), people)
        made.append(Shard(number, len(people.masks), written))
    if not any(shard.rows for shard in made):
        raise NotFound("nobody in this population has features")
    return tuple(made)


async def shared_by(act: Act, permitted: PopulationPermit, model: Scorer, users: list[UserId]) -> People:
    """What these users share, in the order of their ids, without a trace of what they do not share.

    Raises `FeaturesUnreadable`.
    """
    rows = await act.db.execute_query_dict(FEATURES, [users, model.digest])
    both = np.array([shards.halves(row["user_id"]) for row in rows], np.uint64).reshape(len(rows), 2)
    masks = np.array([mask(model, permitted.masks[UserId(row["user_id"])]) for row in rows], np.uint16)
    shared = flags(model, masks)
    if GRAPH in model.categories:
        counted = [population.contacts_count(row["contacts_for"], permitted) for row in rows]
        shared[:, model.categories.index(GRAPH)] &= np.array(counted, np.bool_)
    values = np.array([model.read(bytes(row["vector"])) for row in rows], np.float32)
    values = values.reshape(len(rows), len(model.manifest.inputs))
    return People(
        high=both[:, 0],
        low=both[:, 1],
        masks=masks,
        values=scorer.hide(values, shared, model.category_of),
        events=_counts([row["events"] for row in rows], shared),
        active_days=_counts([row["active_days"] for row in rows], shared),
    )


def mask(model: Scorer, shared: Categories) -> int:
    """A set of categories as bits: bit n is the n-th of the model's categories."""
    return sum(1 << n for n, category in enumerate(model.categories) if category in shared)


def flags(model: Scorer, masks: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """The same, row by row, as the scorer takes it: a column for each of the model's categories."""
    return (masks[:, None] >> np.arange(len(model.categories), dtype=np.uint16) & 1).astype(np.bool_)


def _counts(counts: list[list[int]], shared: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.where(shared, np.array(counts, np.int32).reshape(shared.shape), 0).astype(np.int32)
