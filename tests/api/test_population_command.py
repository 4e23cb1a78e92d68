"""`xinqiao population score`: everybody whom a bank may have lists of, with what they share, and nobody else."""

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import polars as pl
import pytest
from support import small_models, world
from support.populations import here
from support.world import ALL, LISTING

from api import population, worker
from api.running import Standing
from api.settings import Settings
from compliance import database as databases
from compliance.act import open_act
from compliance.database import ground
from compliance.refusals import NotFound
from compliance.vocabulary import OFFERED, Category, Person
from consent import copies, grants, objections, permits
from consent.holdings import StillHeld
from partners.directory import PartnerSuspended
from scoring import policy
from scoring import population as features
from scoring.release import NoLawfulChannel
from scoring.runs import keeping, plans, shards
from scoring.runs.faults import RunBusy, ShardUnusable
from scoring.scorer import InsufficientEvidence, unpack

STATED = frozenset({Category.DECLARED})
"""Never carries an answer alone."""
FEW = frozenset({Category.CREDIT_HISTORY, Category.SHOPPING})


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return await world.a_bank("alpha")


async def granted(bank, count, categories=ALL):
    people = await world.persons(count, rows=range(40))
    for person in people:
        await world.said_yes(person, await world.asked(bank, LISTING), categories)
    return [person.user for person in people]


def points(run):
    """What a finished run says of each user."""
    told, stamp = plans.manifest(run), plans.plan(run).stamp
    found = {}
    for each in told.shards:
        table = shards.read_points(run / plans.POINTS / shards.name(each.number), stamp, each.digest)
        found |= {(row["user_high"], row["user_low"]): row for row in table.iter_rows(named=True)}
    return found


async def online(owner, user, shared):
    """What the online scorer says about the same features; none where the evidence is insufficient."""
    row = await owner.fetchrow("select * from scoring_feature where user_id = $1", user)
    scorer = small_models.loaded()
    evidence = features.evidence_of(scorer, row["events"], row["active_days"], shared)
    try:
        return scorer.evaluate(unpack(row["vector"]), evidence, shared)
    except InsufficientEvidence:
        return None


def everything(home):
    return sorted(str(place.relative_to(home)) for place in (home / "population").rglob("*"))


async def population_facts(owner):
    return [kind for kind in await world.kinds(owner) if kind.startswith("population_")]


async def test_everybody_with_a_consent_is_scored_by_what_they_share(bank, owner, monkeypatch):
    monkeypatch.setattr("scoring.runs.people.PEOPLE_A_SHARD", 10)
    shared = {
        user: few
        for few, count in ((ALL, 30), (FEW, 20), (STATED, 10))
        for user in await granted(bank, count, few)
    }
    await granted(await world.a_bank("beta"), 3)
    await world.persons(2)
    run, told = await population.score_everybody("alpha", here)
    found, scorer = points(run), small_models.loaded()
    assert found.keys() == {shards.halves(user) for user in shared}
    assert len(plans.plan(run).shards) == 6
    answered = 0
    for user, categories in shared.items():
        row, expected = found[shards.halves(user)], await online(owner, user, categories)
        assert row["mask"] == sum(1 << n for n, c in enumerate(scorer.categories) if c in categories)
        if expected is None:
            assert row["points"] is None
        else:
            answered += 1
            assert (row["points"], row["band"]) == (expected.points, expected.band)
            assert policy.probability(row["log_odds"]) == expected.probability
    assert 0 < answered <= 50
    assert (told["rows"], told["answered"]) == (60, answered)
    assert await population_facts(owner) == ["population_permitted"] * 2 + ["population_scored"]


async def test_what_is_not_shared_is_in_no_file(bank):
    await granted(bank, 20, FEW)
    read = []

    def runner(works):
        for work in works:
            read.append(pl.read_parquet(work.features))
            yield from here([work])

    await population.score_everybody("alpha", runner)
    scorer, (table,) = small_models.loaded(), read
    hidden = [n for n, each in enumerate(scorer.manifest.inputs) if each.category not in FEW]
    assert table.select(pl.col(f"value_{n}").is_nan().all() for n in hidden).row(0) == (True,) * len(hidden)
    assert not table.select(pl.col("value_0").is_nan().all()).item()
    for n, category in enumerate(scorer.categories):
        counts = table.select(f"events_{n}", f"active_days_{n}").sum().row(0)
        assert all(counts) if category in FEW else counts == (0, 0)


async def test_afterwards_the_features_are_gone_and_the_rest_is_for_nobody_else(bank, home):
    await granted(bank, 5)
    run, _ = await population.score_everybody("alpha", here)
    assert not (run / plans.FEATURES).exists()
    places = [home / "population", *(home / "population").rglob("*")]
    assert {place.stat().st_mode & 0o777 for place in places if place.is_dir()} == {0o700}
    assert {place.stat().st_mode & 0o077 for place in places if place.is_file()} == {0}


async def test_without_a_channel_nobodys_features_are_read(ground, owner, home):
    await world.put_model_in_use()
    await granted(await world.a_bank("alpha"), 3)
    with pytest.raises(NoLawfulChannel):
        await population.score_everybody("alpha", here)
    assert everything(home) == []
    assert await population_facts(owner) == []


async def test_nobody_granted_leaves_nothing(bank, owner, home):
    await world.persons(3)
    with pytest.raises(NotFound, match="nobody in this population"):
        await population.score_everybody("alpha", here)
    assert not [place for place in everything(home) if "run_" in place]
    assert await population_facts(owner) == []


async def test_only_a_bank_that_may_be_given_something(bank, owner):
    with pytest.raises(NotFound, match="no partner 'gamma'"):
        await population.score_everybody("gamma", here)
    await owner.execute("update partners_partner set suspended_at = now() where code = 'alpha'")
    with pytest.raises(PartnerSuspended):
        await population.score_everybody("alpha", here)


class CutOff(BaseException):
    """Stands for the end of the process."""


def cut_off(works):
    yield from here([next(works)])
    raise CutOff


async def test_cut_off_it_goes_on_with_the_same_permit(bank, owner, monkeypatch):
    monkeypatch.setattr("scoring.runs.people.PEOPLE_A_SHARD", 10)
    first = await granted(bank, 25)
    with pytest.raises(CutOff):
        await population.score_everybody("alpha", cut_off)
    await granted(bank, 2)
    done = []

    def rest(works):
        for work in works:
            done.append(work.number)
            yield from here([work])

    run, told = await population.score_everybody("alpha", rest)
    assert done == [1, 2]
    assert points(run).keys() == {shards.halves(user) for user in first}
    assert await population_facts(owner) == ["population_permitted"] * 3 + ["population_scored"]
    assert told["permit"] == plans.plan(run).stamp.permit


async def test_a_newer_run_takes_the_place_of_the_last(bank, home):
    users = await granted(bank, 3)
    before, _ = await population.score_everybody("alpha", here)
    users += await granted(bank, 2)
    after, _ = await population.score_everybody("alpha", here)
    assert not before.exists()
    assert points(after).keys() == {shards.halves(user) for user in users}


async def test_a_damaged_run_is_made_anew(bank, home):
    await granted(bank, 3)

    def damaging(works):
        for work in works:
            work.features.write_bytes(b"PAR1" + work.features.read_bytes())
            yield from here([work])

    with pytest.raises(ShardUnusable):
        await population.score_everybody("alpha", damaging)
    assert not [place for place in everything(home) if "run_" in place]
    _, told = await population.score_everybody("alpha", here)
    assert told["rows"] == 3


async def test_the_worker_deletes_a_run_whose_time_is_over(bank, home):
    await granted(bank, 3)
    run, _ = await population.score_everybody("alpha", here)
    plan = plans.plan(run)
    for age, stays in ((timedelta(days=6), True), (timedelta(days=8), False)):
        plans.write_plan(run, replace(plan, made_at=(datetime.now(UTC) - age).isoformat()))
        await worker.purge()
        assert run.exists() is stays


async def test_somebody_deleted_is_in_no_run(bank):
    gone, *others = await granted(bank, 4)
    run, _ = await population.score_everybody("alpha", here)
    await world.deleted(session(gone))
    await worker.finish_deletions()
    assert points(run).keys() == {shards.halves(user) for user in others}


async def test_while_a_run_is_scored_a_deletion_is_finished_later(bank, owner):
    gone, *_ = await granted(bank, 2)
    run, _ = await population.score_everybody("alpha", here)
    await world.deleted(session(gone))
    with plans.alone(run), pytest.raises(StillHeld):
        await worker.finish_deletions()
    assert await owner.fetchval("select finished_at from consent_deletion") is None
    assert not await ground().key_store.sealers([gone])
    await worker.finish_deletions()
    assert await owner.fetchval("select finished_at from consent_deletion") is not None
    assert shards.halves(gone) not in points(run)


async def test_a_deletion_does_not_wait_for_the_end_of_a_run(bank, owner, monkeypatch):
    monkeypatch.setattr("scoring.runs.people.PEOPLE_A_SHARD", 2)
    gone, *others = await granted(bank, 8)
    asked = []

    def runner(works):
        for work in works:
            yield from here([work])
            if not asked:
                asked.append(gone)
                with pytest.raises(RunBusy):
                    keeping.forget(keeping.folder(), gone)

    run, told = await population.score_everybody("alpha", runner)
    assert points(run).keys() == {shards.halves(user) for user in others}
    assert told["rows"] == 7


def session(user):
    return Person(user, uuid4(), datetime.now(UTC), "one_time_link")


async def departed(users):
    for user in users:
        async with open_act(session(user), None) as act:
            await grants.withdraw_all(act)


async def test_who_withdraws_while_a_run_is_cut_off_is_not_scored(bank, monkeypatch):
    monkeypatch.setattr("scoring.runs.people.PEOPLE_A_SHARD", 2)
    users = await granted(bank, 9)
    with pytest.raises(CutOff):
        await population.score_everybody("alpha", cut_off)
    await departed(users[:4])
    read = []

    def rest(works):
        for work in works:
            read.append(pl.read_parquet(work.features).height)
            yield from here([work])

    run, told = await population.score_everybody("alpha", rest)
    assert points(run).keys() == {shards.halves(user) for user in users[4:]}
    assert sum(read) <= told["rows"] == 5


async def test_who_objects_while_a_run_is_scored_is_not_in_it(bank, database):
    users = await granted(bank, 5)

    async def objected():
        connection = await asyncpg.connect(**database.as_owner())
        await connection.execute(
            "update consent_person set objected_to_prescreen_at = now() where id = $1", users[0]
        )
        await connection.close()

    def runner(works):
        yield from here(works)
        elsewhere = threading.Thread(target=lambda: asyncio.run(objected()))
        elsewhere.start()
        elsewhere.join()

    run, told = await population.score_everybody("alpha", runner)
    assert points(run).keys() == {shards.halves(user) for user in users[1:]}
    assert told["rows"] == 4
    assert told["manifest"] == plans.manifest(run).digest


async def test_who_withdraws_leaves_the_runs_of_that_bank_soon(bank, owner):
    users = await granted(bank, 4)
    run, _ = await population.score_everybody("alpha", here)
    await departed(users[:1])
    assert shards.halves(users[0]) in points(run)
    assert await worker.take_out_departed()
    assert points(run).keys() == {shards.halves(user) for user in users[1:]}
    assert not await worker.take_out_departed()


async def test_who_objects_to_lists_leaves_as_well(bank):
    users = await granted(bank, 3)
    run, _ = await population.score_everybody("alpha", here)
    async with open_act(session(users[0]), None) as act:
        await objections.object_to_lists(act, objects=True)
    await worker.take_out_departed()
    assert points(run).keys() == {shards.halves(user) for user in users[1:]}


async def test_a_busy_run_holds_up_no_other_banks(bank, owner):
    beta = await world.a_bank("beta")
    first, other = await granted(bank, 2), await granted(beta, 2)
    run, _ = await population.score_everybody("alpha", here)
    another, _ = await population.score_everybody("beta", here)
    await departed([first[0], other[0]])
    with plans.alone(run):
        assert await worker.take_out_departed()
        assert points(another).keys() == {shards.halves(other[1])}
        assert not await worker.take_out_departed()
    assert shards.halves(first[0]) in points(run)
    assert await worker.take_out_departed()
    assert points(run).keys() == {shards.halves(first[1])}


async def test_a_persons_copy_shows_what_they_scored(bank, owner):
    users = await granted(bank, 20, FEW)
    answered = {user: found for user in users if (found := await online(owner, user, FEW))}
    user, expected = next(iter(answered.items()))
    run, told = await population.score_everybody("alpha", here)
    async with open_act(Person(user, uuid4(), datetime.now(UTC), "one_time_link"), None) as act:
        copy = await copies.make(act, permits.own_permit(act))
    assert copy.parts["population_scores"] == [
        {
            "recipient": told["recipient"],
            "made_at": plans.plan(run).made_at,
            "model": told["model"],
            "shared": sorted(FEW),
            "points": expected.points,
            "band": expected.band,
            "probability": str(expected.probability),
        }
    ]


async def test_the_command_opens_the_installation_and_tells_the_run(database, home, capsys):
    found = Standing(Settings(home, "development", world.ISSUER, None, OFFERED), database)
    async with databases.opened(database, home, found.settings.origin):
        await world.put_model_in_use()
        await world.open_channel()
        await granted(await world.a_bank("alpha"), 3)
    assert await population.run(found, "alpha", here) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 3
    assert told["manifest"] == plans.manifest(home / "population" / told["recipient"] / told["run"]).digest
