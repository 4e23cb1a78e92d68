"""Old scores computed again, features included, from the behaviour itself: to the bit, in a fresh process, after a retrain."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
from support import small_models, world
from support.world import SCORING

from compliance.act import open_act
from compliance.database import ground
from compliance.refusals import Refusal
from compliance.vocabulary import OFFERED, Category, Person, Worker
from consent import people
from consent.people import NewPerson
from scoring import behaviour, features, population, registry, replaying, synthetic, training
from scoring.governance import approval
from scoring.policy import Scale
from scoring.replaying import Recomputed
from scoring.scorer import InsufficientEvidence
from scoring.tables import ModelRow

USERS = 2_500
CUTOFF = datetime(2026, 6, 1, tzinfo=UTC)
AUDITOR = Worker("auditor")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A research set, its features, and two models of it: the one in use, and the one after a retrain."""
    folder = tmp_path_factory.mktemp("set") / "invented"
    synthetic.generate(folder, users=USERS, seed=4, cutoff=CUTOFF, signal=2.0)
    read = behaviour.read(folder, folder.parent / "quarantine")
    asked = behaviour.applications(read.outcomes)
    matrix = features.compute(read, asked, features.chosen(read, frozenset(Category)))
    fit = np.arange(USERS) < USERS * 2 // 3
    models = [
        training.train(
            matrix,
            read.outcomes["defaulted"].to_numpy(),
            fit=fit,
            validate=~fit,
            seed=seed,
            threads=2,
            scale=Scale.STANDARD,
            horizon_days=365,
            about={},
            recipe=small_models.RECIPE,
        )
        for seed in (1, 2)
    ]
    return folder, read, matrix, models


async def in_use(artifact) -> None:
    """Three people put it in use; how good so small a model is, is not the matter here."""
    training.save(artifact, ground().home / "models")
    async with open_act(world.DEVELOPER, None) as act:
        row = await registry.register(act, artifact.digest)
        await ModelRow.filter(state="champion").using_db(act.db).update(state="retired")
        row.state, row.validated_by, row.approved_by = "champion", "staff somebody", "staff another"
        row.approval = approval.seal(row.digest, row.registered_by, row.validated_by, row.approved_by)
        await row.save(using_db=act.db)


async def with_data(learnt, count: int) -> list[Person]:
    """People of the set whom the model in use can answer for, under the operator's own references."""
    _, _, matrix, (first, _) = learnt
    scorer = registry.scorer(first.digest)
    everybody = np.ones((USERS, len(scorer.categories)), np.bool_)
    answers = scorer.evaluate_many(matrix.values, matrix.events, matrix.active_days, everybody)
    rows = np.flatnonzero(answers.points)[-count:]
    names = [matrix.users[row] for row in rows]
    part = replace(
        matrix,
        users=tuple(names),
        cutoffs=tuple(matrix.cutoffs[row] for row in rows),
        values=matrix.values[rows],
        events={c: n[rows] for c, n in matrix.events.items()},
        active_days={c: n[rows] for c, n in matrix.active_days.items()},
    )
    async with open_act(world.STORY, None) as act:
        known = await people.bring(act, [NewPerson(name, date(1990, 5, 1), fictional=True) for name in names])
        users = tuple(known[name] for name in names)
        await population.store(act, scorer, part, users, (world.ORDINARY,) * len(users))
    return [Person(user, user, datetime.now(UTC), "one_time_link") for user in users]


async def scored(learnt, count: int, each: int):
    """Scores of people, each with everything and then with what the bank chose to ask for."""
    await in_use(learnt[3][0])
    await world.open_channel()
    bank = await world.a_bank()
    rows = []
    kinds = sorted(OFFERED)
    asked_for = [OFFERED, *(frozenset(islice(cycle(kinds), n, n + 2)) for n in range(len(kinds)))]
    for person in await with_data(learnt, count):
        await world.granted(person, bank, categories=OFFERED)
        for number in range(each):
            try:
                rows.append(await world.scored(bank, person, asked_for[number % len(asked_for)]))
            except InsufficientEvidence:
                continue
    return rows


async def replayed(score, at_hand=None):
    async with open_act(AUDITOR, SCORING) as act:
        return await replaying.replay(act, score, at_hand)


async def test_features_come_again_from_the_events_and_only_from_those_before(learnt, ground):
    _, read, _, _ = learnt
    row = (await scored(learnt, 1, 1))[0]
    assert (await replayed(row.id)).features is Recomputed.NOT_AT_HAND
    whole = await replayed(row.id, read)
    assert (whole.features, whole.same, whole.now) == (Recomputed.SAME, True, row.points)
    later = read.events.with_columns(pl.lit(row.data_cutoff).alias("at"), pl.col("value") + 1)
    after = replace(read, events=pl.concat([read.events, later]))
    assert (await replayed(row.id, after)).features is Recomputed.SAME
    earlier = later.with_columns(pl.col("at") - timedelta(microseconds=1))
    before = replace(read, events=pl.concat([read.events, earlier]))
    told = await replayed(row.id, before)
    assert (told.features, told.same) == (Recomputed.DIFFERENT, True)


async def test_what_else_a_score_said_is_compared_too(learnt, ground, owner):
    row = (await scored(learnt, 1, 1))[0]
    for change in ("probability = '0.5'", "reasons = '[]'", "band = 'Z'", "used = '{}'"):
        await owner.execute(f"update scoring_score set {change}")
        told = await replayed(row.id)
        assert (told.then == told.now, told.same) == (True, False)
        await owner.execute(
            "update scoring_score set probability = $1, band = $2, used = $3, reasons = $4::jsonb",
            row.probability,
            row.band,
            row.used,
            json.dumps(row.reasons),
        )
    assert (await replayed(row.id)).same


async def test_an_unknown_score_is_none(ground):
    with pytest.raises(Refusal):
        await replayed(uuid4())


PROGRAM = """
import asyncio, sys
from pathlib import Path
from uuid import UUID
from compliance import database as databases
from compliance.act import open_act
from compliance.database import Database
from compliance.vocabulary import Worker
from scoring import behaviour, replaying
from scoring.scores import PURPOSE
async def main():
    read = behaviour.read(Path({folder!r}), Path({quarantine!r}))
    async with databases.opened({database!r}, Path({home!r}), {origin!r}):
        for score in sys.stdin.read().split():
            async with open_act(Worker("auditor"), PURPOSE) as act:
                done = await replaying.replay(act, UUID(score), read)
            print(score, done.now, done.same, done.features)
asyncio.run(main())
"""


@pytest.mark.check
async def test_a_thousand_scores_come_again_after_a_retrain_and_a_restart(learnt, ground, database):
    rows = await scored(learnt, 140, 9)
    assert len(rows) >= 1_000
    await in_use(learnt[3][1])
    done = await asyncio.to_thread(
        subprocess.run,
        [
            sys.executable,
            "-c",
            PROGRAM.format(
                folder=str(learnt[0]),
                quarantine=str(learnt[0].parent / "again"),
                database=database,
                home=str(ground.home),
                origin=ground.origin,
            ),
        ],
        input="\n".join(str(row.id) for row in rows),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.splitlines() == [f"{row.id} {row.points} True same" for row in rows]
