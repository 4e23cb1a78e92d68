"""How long events are kept: what no measure looks back to leaves the files, whatever is killed when; nothing else does."""

import asyncio
import contextvars
from datetime import UTC, datetime, timedelta

import pytest
from support import events, world
from support.events import event

from api import worker
from compliance.act import open_upkeep
from compliance.refusals import Unacceptable
from compliance.vocabulary import Worker
from scoring import buckets, feature_catalogue
from scoring.measures import general
from scoring.measures.definition import LONGEST_DAYS, looks_back_too_far
from scoring.store import retention, shelf
from scoring.store.retention import Stage

DAY = timedelta(days=1)
FILER = Worker("filer")


class Killed(BaseException):
    """The process is gone at this moment."""


def ago(reference, days, **changes):
    return event(reference, at=(datetime.now(UTC) - timedelta(days=days)).isoformat(), **changes)


async def step():
    async with open_upkeep(FILER) as upkeep:
        return await retention.advance(upkeep)


async def all_steps():
    while await worker.forget_old_behaviour():
        pass


def made_older(by):
    """As if so many days had passed since: of the files a copy with other times."""
    for bucket in range(buckets.BUCKETS):
        found = shelf.read(bucket)
        before = shelf.parts(bucket)
        if found.height:
            shelf.add(bucket, found.with_columns(at=found["at"] - timedelta(days=by)))
            for part in before:
                part.unlink()


def days_on_file():
    now = datetime.now(UTC)
    found = [at for bucket in range(buckets.BUCKETS) for at in shelf.read(bucket)["at"]]
    return sorted(round((now - at) / DAY) for at in found)


@pytest.mark.usefixtures("ground")
async def test_what_is_older_than_the_published_time_goes_and_nothing_else(owner):
    references = list(await events.known(4))
    told = [ago(name, days) for name in references for days in (0.25, 30, 100)]
    opened = [ago(references[0], days, category="credit_history", name="loan_opened") for days in (1, 100)]
    await events.received([*told, *opened])
    await events.filed()
    made_older(340)
    await all_steps()
    assert days_on_file() == [340] * 4 + [341] + [370] * 4 + [440]
    (run,) = await owner.fetch("select * from scoring_retention")
    assert (run["buckets_done"], run["events"]) == (256, 4)
    assert run["finished_at"]
    assert (await world.kinds(owner)).count("behaviour_forgotten") == 1
    # For thirty days nothing is done again; then the rest, an opening only after five years.
    made_older(1_400)
    await all_steps()
    assert len(days_on_file()) == 10
    await owner.execute("update scoring_retention set started_at = started_at - interval '31 days'")
    await all_steps()
    assert days_on_file() == [1_741]
    await owner.execute("update scoring_retention set started_at = started_at - interval '31 days'")
    made_older(100)
    await all_steps()
    assert days_on_file() == []


@pytest.mark.usefixtures("ground")
async def test_where_nothing_is_over_no_file_is_written():
    references = list(await events.known(3))
    await events.received([ago(name, 300) for name in references])
    await events.filed()
    before = [part for bucket in range(buckets.BUCKETS) for part in shelf.parts(bucket)]
    await all_steps()
    assert [part for bucket in range(buckets.BUCKETS) for part in shelf.parts(bucket)] == before


@pytest.mark.parametrize("at", ["before_merge", "after_write", "before_commit"])
async def test_a_run_that_is_killed_goes_on_and_loses_nothing_that_stays(ground, owner, monkeypatch, at):
    references = list(await events.known(6))
    await events.received([ago(name, days) for name in references for days in (1, 100)])
    await events.filed()
    made_older(330)
    with monkeypatch.context() as dying:
        if at == "before_merge":
            dying.setattr(shelf, "merge", _dies)
        elif at == "after_write":
            whole = shelf.merge
            dying.setattr(shelf, "merge", lambda *a, **k: (_written_twice(whole, *a, **k), _dies()))
        else:
            drop = shelf.drop
            dying.setattr(shelf, "drop", lambda *a: (drop(*a) and _dies()) or 0)
        with pytest.raises(Killed):
            await all_steps()
    await all_steps()
    assert days_on_file() == [331] * 6
    assert (await world.kinds(owner)).count("behaviour_forgotten") == 1


def _dies(*_, **__):
    raise Killed


def _written_twice(merge, bucket, **how):
    """The new part is there, and the old ones are too."""
    kept = {part: part.read_bytes() for part in shelf.parts(bucket)}
    merge(bucket, **how)
    for part, written in kept.items():
        part.write_bytes(written)


@pytest.mark.usefixtures("ground")
async def test_a_bucket_in_use_is_tried_again_later():
    references = await events.known(1)
    await events.received([ago(name, 1) for name in references])
    await events.filed()
    async with open_upkeep(FILER) as reading:
        await reading.db.execute_query_dict("select pg_advisory_xact_lock_shared(7003, 0)")
        assert await asyncio.create_task(step(), context=contextvars.Context()) is Stage.NOTHING
    assert await step() is Stage.GOING_ON


@pytest.mark.usefixtures("ground")
async def test_what_would_be_over_is_not_taken():
    [reference] = await events.known()
    got = await events.received(
        [
            ago(reference, 424),
            ago(reference, 426),
            ago(reference, 426, category="credit_history", name="loan_opened"),
            ago(reference, 5 * 365 + 1, category="credit_history", name="loan_opened"),
        ]
    )
    assert (got.accepted, [(fault.line, fault.reason) for fault in got.quarantined]) == (
        2,
        [(1, "too_old"), (3, "too_old")],
    )


async def test_a_snapshot_that_needs_what_is_gone_is_refused(ground):
    await world.put_model_in_use()
    now = datetime.now(UTC)
    await events.received([ago(name, 1) for name in await events.known(1)])
    await events.filed()
    await all_steps()
    with pytest.raises(Unacceptable) as refused:
        await events.begun(now - 61 * DAY)
    assert refused.value.faults[0].code == "forgotten"
    assert await events.begun(now - 59 * DAY)


async def test_who_consents_when_that_is_gone_waits_for_the_next_snapshot(ground, owner):
    await world.put_model_in_use()
    [(reference, user)] = (await events.known()).items()
    now = datetime.now(UTC)
    await events.received([ago(reference, days) for days in (1, 70, 90)])
    await events.taken(now - 65 * DAY)
    await world.granted(events.in_session(user), await world.a_bank())
    await all_steps()
    assert not await worker.prepare_features()
    await owner.execute("update scoring_retention set before = before - interval '6 days'")
    assert await worker.prepare_features()
    row = await owner.fetchrow("select data_cutoff from scoring_feature where user_id = $1", user)
    assert row["data_cutoff"] == now - 65 * DAY


def test_no_measure_of_ours_looks_back_further_than_events_are_kept():
    windows = [days for each in feature_catalogue.DEFINITIONS for days in each.windows]
    windows += [days for *_, of, _ in (*general.WHOLE, *general.TIMES, *general.VALUES) for days in of]
    assert max(windows) <= LONGEST_DAYS


@pytest.mark.parametrize(
    ("window", "expression", "too_far"),
    [
        (365, "count(*)", False),
        (366, "count(*)", True),
        (None, "profile(income)", False),
        (30, "count(a in 365 days) / count(a)", False),
        (30, "count(a in 366 days) / count(a)", True),
    ],
)
def test_what_looks_back_too_far(window, expression, too_far):
    assert looks_back_too_far(window, expression) is too_far


async def test_anybody_can_read_how_long_events_are_kept(database, home):
    async with world.opened(database, home) as here:
        for language, said in (("en", "425 days"), ("zh-CN", "425天")):
            page = await here.http.get("/features", headers={"Accept-Language": language})
            assert said in page.text
