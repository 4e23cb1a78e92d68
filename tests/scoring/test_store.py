"""The behaviour store: what is accepted is kept, once, whatever is killed when; late events are marked, bad ones set aside."""

import asyncio
import contextvars
import dataclasses
import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest
from support import events, small_models, world
from support.events import event

from api import loading, worker
from compliance.act import open_act, open_upkeep
from compliance.refusals import Unacceptable
from compliance.vocabulary import Category, Purpose, UserId, Worker
from scoring import buckets
from scoring.store import compaction, intake, shelf, snapshot

FILER = Worker("filer")


class Killed(BaseException):
    """The process is gone at this moment."""


def on_file(user: UserId) -> pl.DataFrame:
    return shelf.read(buckets.bucket_of(user), users=[str(user)])


async def waiting(owner) -> int:
    return await owner.fetchval("select count(*) from scoring_behaviour")


def test_a_bucket_is_the_first_byte_of_the_hash_of_the_id():
    """Written down: a change would look for everybody's events in the wrong files."""
    assert buckets.bucket_of(UserId(UUID(int=1))) == 124


@pytest.mark.usefixtures("ground")
async def test_an_event_is_kept_once_however_often_and_wherever_it_comes(owner):
    [(reference, user)] = (await events.known()).items()
    first = await events.received([event(reference), event(reference), event(reference, name="order_sent")])
    assert (first.accepted, first.duplicate, first.late, first.quarantined) == (2, 1, 0, ())
    again = await events.received([event(reference, attributes={"shop": "s-1"}, at="2026-01-01T00:00:00Z")])
    assert (again.accepted, again.duplicate) == (0, 1)
    await events.filed()
    assert await waiting(owner) == 0
    third = await events.received([event(reference), event(reference, value=13)])
    assert (third.accepted, third.duplicate) == (1, 1)
    await events.filed()
    assert on_file(user).height == 3


@pytest.mark.usefixtures("ground")
async def test_the_order_of_attributes_makes_no_other_event():
    [reference] = await events.known()
    told = [
        event(reference, attributes=a) for a in ({"a": 1, "b": "x"}, {"b": "x", "a": 1}, '{"b":"x", "a":1}')
    ]
    got = await events.received(told)
    assert (got.accepted, got.duplicate) == (1, 2)


@pytest.mark.usefixtures("ground")
async def test_what_differs_in_anything_is_another_event():
    [reference] = await events.known()
    changes = [
        {},
        {"at": "2026-01-01T08:00:00.000001+08:00"},
        {"category": "device_usage"},
        {"name": "order"},
        {"value": 12.6},
        {"value": None},
        {"count": 3},
        {"attributes": None},
        {"attributes": {"shop": "s-2"}},
    ]
    got = await events.received([event(reference, **change) for change in changes])
    assert (got.accepted, got.duplicate) == (len(changes), 0)


@pytest.mark.usefixtures("ground")
async def test_two_batches_with_the_same_events_at_once_keep_them_once(owner):
    references = list(await events.known(20))
    told = [event(reference) for reference in references]
    got = await asyncio.gather(
        *(
            asyncio.create_task(events.received(order), context=contextvars.Context())
            for order in (told, told[::-1], told)
        )
    )
    assert sum(each.accepted for each in got) == await waiting(owner) == 20
    assert sum(each.duplicate for each in got) == 40


@pytest.mark.usefixtures("ground")
async def test_the_fact_tells_numbers_and_nothing_of_the_events(owner):
    [reference] = await events.known()
    await events.received([event(reference), event("nobody")])
    assert (await world.kinds(owner))[-1] == "behaviour_received"


@pytest.mark.parametrize("at", ["before_add", "after_write", "before_commit"])
async def test_a_kill_while_events_are_filed_loses_none_and_doubles_none(ground, owner, monkeypatch, at):
    found = await events.known(3)
    await events.received([event(reference) for reference in found])
    [first, *_] = sorted(buckets.bucket_of(user) for user in found.values())

    def dies(*_):
        raise Killed

    with monkeypatch.context() as dying:
        if at == "before_add":
            dying.setattr(shelf, "_write", dies)
        if at == "after_write":
            dying.setattr(Path, "rename", dies)
        with pytest.raises(Killed):
            async with open_upkeep(FILER) as upkeep:
                await compaction.compact(upkeep, first)
                raise Killed
    assert await waiting(owner) == 3
    again = await events.received([event(reference) for reference in found])
    assert (again.accepted, again.duplicate) == (0, 3)
    await events.filed()
    assert await waiting(owner) == 0
    assert [on_file(user).height for user in found.values()] == [1, 1, 1]
    assert not list(shelf.folder().rglob("*.tmp"))


@pytest.mark.usefixtures("ground")
async def test_a_kill_while_parts_become_one_loses_none_and_doubles_none(monkeypatch):
    [(reference, user)] = (await events.known()).items()
    for number in range(3):
        await events.received([event(reference, count=number)])
        await events.filed()
    bucket = buckets.bucket_of(user)
    assert len(shelf.parts(bucket)) == 3

    def dies(*_, **__):
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(Path, "unlink", dies)
        with pytest.raises(Killed):
            shelf.merge(bucket)
    assert len(shelf.parts(bucket)) == 4
    assert on_file(user).height == 3
    shelf.merge(bucket)
    assert len(shelf.parts(bucket)) == 1
    assert on_file(user).height == 3


@pytest.mark.usefixtures("ground")
async def test_many_parts_become_one(monkeypatch):
    monkeypatch.setattr(shelf, "PARTS_MAX", 2)
    [(reference, user)] = (await events.known()).items()
    for number in range(4):
        await events.received([event(reference, count=number)])
        await events.filed()
    assert len(shelf.parts(buckets.bucket_of(user))) <= 2
    assert on_file(user)["count"].sort().to_list() == [0, 1, 2, 3]


@pytest.mark.usefixtures("ground")
async def test_the_worker_files_what_is_many_or_old(owner, monkeypatch):
    [(reference, user)] = (await events.known()).items()
    await events.received([event(reference)])
    assert not await worker.file_behaviour()
    await owner.execute("update scoring_behaviour set received_at = now() - interval '11 minutes'")
    assert await worker.file_behaviour()
    assert not await worker.file_behaviour()
    assert on_file(user).height == 1
    monkeypatch.setattr(compaction, "ROWS_DUE", 2)
    await events.received([event(reference, count=n) for n in (7, 8)])
    assert await worker.file_behaviour()


@pytest.mark.usefixtures("ground")
async def test_too_much_that_waits_is_pushed_back_and_the_loader_files_it_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(intake, "BACKLOG_MAX", 2)
    monkeypatch.setattr(loading, "ROWS_AT_ONCE", 2)
    [reference] = await events.known()
    await events.received([event(reference, count=n) for n in range(2)])
    with pytest.raises(intake.BehaviourBacklog):
        await events.received([event(reference, count=5)])
    got = await loading._brought(intake.incoming.raw([event(reference, count=n) for n in (5, 6)]))
    assert got.accepted == 2


@pytest.mark.usefixtures("ground")
async def test_nobody_of_another_tenants_is_found_and_a_deleted_person_neither():
    [(reference, user)] = (await events.known()).items()
    person = events.in_session(user)
    bank = await world.a_bank()
    pseudonym = await world.pseudonym_of(person, bank)
    for name in (pseudonym, str(user), "somebody"):
        got = await events.received([event(name)])
        assert [(fault.column, fault.reason) for fault in got.quarantined] == [("user", "unknown_user")]
    await world.deleted(person)
    got = await events.received([event(reference)])
    assert [(fault.column, fault.reason) for fault in got.quarantined] == [("user", "unknown_user")]


@pytest.mark.usefixtures("ground")
async def test_a_banks_client_finds_nobody_and_keeps_nothing(owner):
    """The second wall: whoever came past the scope would still find the database closed."""
    [reference] = await events.known()
    async with open_act(await world.a_bank(), None) as act:
        got = await intake.receive(act, intake.incoming.raw([event(reference)]))
    assert [fault.reason for fault in got.quarantined] == ["unknown_user"]
    assert await waiting(owner) == 0


@pytest.fixture
async def in_use(ground):
    return await world.put_model_in_use()


CUTOFF = world.datetime(2026, 6, 1, tzinfo=world.UTC)


async def taken(cutoff=CUTOFF):
    return await events.taken(cutoff)


async def consented(count=1):
    found = await events.known(count)
    bank = await world.a_bank()
    for user in found.values():
        await world.granted(events.in_session(user), bank)
    return found


def lately(reference, n, **changes):
    return event(reference, at=(CUTOFF - timedelta(days=n)).isoformat(), **changes)


async def held(owner, user):
    return await owner.fetchrow("select * from scoring_feature where user_id = $1", user)


@pytest.mark.usefixtures("in_use")
async def test_a_snapshot_computes_only_of_whom_and_from_what_somebody_may_use(owner):
    found = await events.known(3)
    (reference, user), (_, withdrew), (_, stranger) = found.items()
    bank, shopping = await world.a_bank(), frozenset({Category.SHOPPING})
    await world.said_yes(events.in_session(user), await world.asked(bank), shopping)
    over = await world.granted(events.in_session(withdrew), bank)
    await world.withdrawn(events.in_session(withdrew), over.id)
    told = [lately(name, n) for name in found for n in range(1, 6)]
    await events.received([*told, lately(reference, 3, category="device_usage")])
    assert (await taken()).people == 1
    assert await held(owner, withdrew) is None
    assert await held(owner, stranger) is None
    row = await held(owner, user)
    in_order = sorted(small_models.REASONS)
    counted = dict(zip(in_order, zip(row["events"], row["active_days"], strict=True), strict=True))
    assert counted == dict.fromkeys(in_order, (0, 0)) | {Category.SHOPPING: (10, 5)}
    assert row["data_cutoff"] == CUTOFF


@pytest.mark.usefixtures("in_use")
async def test_of_whom_the_age_is_not_known_nothing_is_computed(owner):
    [(reference, user)] = (await consented()).items()
    await owner.execute("set session_replication_role = replica")
    await owner.execute("update consent_person set born_on = null")
    await events.received([lately(reference, 1)])
    assert (await taken()).people == 0
    assert await held(owner, user) is None


@pytest.mark.usefixtures("ground")
async def test_from_the_cutoff_on_nothing_is_even_read():
    [(reference, user)] = (await events.known()).items()
    await events.received([lately(reference, n) for n in (1, 0, -1)])
    await events.filed()
    read = shelf.read(buckets.bucket_of(user), before=CUTOFF)
    assert read["at"].to_list() == [CUTOFF - timedelta(days=1)]


@pytest.mark.usefixtures("in_use")
async def test_what_happens_at_or_after_the_cutoff_changes_nothing(owner):
    [(reference, user)] = (await consented()).items()
    await events.received([lately(reference, n) for n in range(1, 4)])
    await taken()
    before = await held(owner, user)
    got = await events.received([lately(reference, n) for n in (0, -1, -20)])
    assert (got.accepted, got.late) == (3, 0)
    await taken()
    after = await held(owner, user)
    assert after["vector"] == before["vector"]
    assert after["events"] == before["events"]


@pytest.mark.usefixtures("in_use")
async def test_late_events_are_marked_and_count_from_the_next_snapshot(owner):
    [(reference, user)] = (await consented()).items()
    await events.received([lately(reference, 1)])
    await taken()
    got = await events.received([lately(reference, 2), lately(reference, -2)])
    assert (got.accepted, got.late) == (2, 1)
    await taken(CUTOFF + timedelta(days=5))
    assert on_file(user)["late"].to_list() == [True, False, False]
    row = await held(owner, user)
    assert row["events"][sorted(small_models.REASONS).index(Category.SHOPPING)] == 6


@pytest.mark.usefixtures("in_use")
async def test_a_snapshot_that_is_broken_off_goes_on_where_it_was(monkeypatch):
    monkeypatch.setattr(snapshot, "ROWS_AT_ONCE", 1)
    found = await consented(3)
    await events.received([lately(reference, 1) for reference in found])
    await events.filed()
    async with open_act(world.STORY, Purpose.CREDIT_ASSESSMENT) as act:
        begun = await snapshot.begin(act, CUTOFF)
    async with open_act(world.STORY, Purpose.CREDIT_ASSESSMENT) as act:
        done = await snapshot.advance(act, begun.id)
    first = min(buckets.bucket_of(user) for user in found.values())
    assert (done.buckets_done, done.is_finished) == (first + 1, False)
    async with open_act(world.STORY, Purpose.CREDIT_ASSESSMENT) as act:
        again = await snapshot.begin(act, CUTOFF)
    assert (again.id, again.buckets_done) == (begun.id, first + 1)
    assert (await taken()).people == 3


@pytest.mark.usefixtures("in_use")
async def test_who_consents_after_a_snapshot_has_features_up_to_its_cutoff_and_once(owner):
    [(reference, user)] = (await events.known()).items()
    await events.received([lately(reference, n) for n in (1, 2, -1)])
    assert not await worker.prepare_features()
    await taken()
    assert not await worker.prepare_features()
    bank, shopping = await world.a_bank(), frozenset({Category.SHOPPING})
    await world.said_yes(events.in_session(user), await world.asked(bank), shopping)
    assert await worker.prepare_features()
    row = await held(owner, user)
    assert row["events"][sorted(small_models.REASONS).index(Category.SHOPPING)] == 4
    assert row["data_cutoff"] == CUTOFF
    assert not await worker.prepare_features()
    other = await world.granted(events.in_session(user), await world.a_bank("beta"))
    assert await worker.prepare_features()
    await world.withdrawn(events.in_session(user), other.id)
    assert not await worker.prepare_features()
    await taken()
    assert await owner.fetchval("select count(*) from scoring_prepared") == 0


@pytest.mark.usefixtures("in_use")
async def test_a_cutoff_lies_neither_ahead_nor_before_another():
    await taken()
    for cutoff in (CUTOFF - timedelta(seconds=1), CUTOFF + timedelta(days=36_500)):
        with pytest.raises(Unacceptable):
            async with open_act(world.STORY, Purpose.CREDIT_ASSESSMENT) as act:
                await snapshot.begin(act, cutoff)


@pytest.mark.usefixtures("in_use")
async def test_what_lists_ask_by_stays_as_it_is(owner):
    [(reference, user)] = (await consented()).items()
    await events.received([lately(reference, 1)])
    await taken()
    await owner.execute("""update scoring_feature set attributes = '{"region": "east"}'""")
    await taken()
    assert '"east"' in (await held(owner, user))["attributes"]


def test_the_worker_knows_of_the_files_by_itself():
    """A deletion must reach the files in whatever process it is finished."""
    code = "import api.worker; from consent import holdings; print([f.name for f in holdings.filed()])"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "['population', 'behaviour']"


LOADER = """
import asyncio, os, signal, sys
from pathlib import Path
from api import loading
from api.running import Standing
from api.settings import Settings
from compliance.database import Database
from compliance.vocabulary import OFFERED
loading.ROWS_AT_ONCE, loading.intake.BACKLOG_MAX = 500, 2_000
home, source, database = Path(sys.argv[1]), sys.argv[2], Database(*eval(sys.argv[3]))
settings = Settings(home, "development", "https://log.test.example", None, OFFERED)
last, done = int(sys.argv[4]), 0

def killed_at_last(call):
    async def counted(*given):
        global done
        told = await call(*given)
        done += 1
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return told
    return counted

loading.intake.receive = killed_at_last(loading.intake.receive)
loading.compaction.compact = killed_at_last(loading.compaction.compact)
sys.exit(asyncio.run(loading.load(Standing(settings, database), source)))
"""


@pytest.mark.check
async def test_a_loader_killed_again_and_again_loses_nothing_and_doubles_nothing(
    ground, database, home, tmp_path
):
    """Really killed, before it commits a piece it takes or a bucket it files; then it is run to its end."""
    found = await events.known(12)
    rows = [event(reference, count=n, attributes=None) for reference in found for n in range(600)]
    source = tmp_path / "events.parquet"
    pl.DataFrame(rows, schema_overrides={"attributes": pl.String}).write_parquet(source)
    credentials = repr(dataclasses.astuple(database))
    command = [sys.executable, "-c", LOADER, str(home), str(source), credentials]
    for pieces in (3, 7, 20):  # it takes 4 pieces of 500 and files the 12 people's buckets, again and again
        killed = subprocess.run(
            [*command, str(pieces)], check=False, capture_output=True, text=True, timeout=120
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    last = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=120, check=True)
    sums = json.loads(last.stdout.splitlines()[-1])
    assert (sums["accepted"] + sums["duplicate"], sums["quarantined"]) == (len(rows), 0)
    assert sums["duplicate"]
    await events.filed()
    kept = pl.concat([shelf.read(bucket) for bucket in range(buckets.BUCKETS)])
    assert kept.height == len(rows)
    assert sorted(kept.select("user", "count").iter_rows()) == sorted(
        (str(user), n) for user in found.values() for n in range(600)
    )
    assert not list(shelf.folder().rglob("*.tmp"))
