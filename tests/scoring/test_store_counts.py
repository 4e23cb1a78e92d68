"""What of the store may count: nothing forbidden, no contact whose other end nobody asked, nothing found wrong, nothing older."""

import asyncio
import contextvars
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from support import events, small_models, world
from support.events import event

from api import worker
from compliance.act import open_act
from compliance.refusals import NotFound, SamePerson
from compliance.vocabulary import Category, Staff, StaffId, StaffRole
from consent import disputes, grants, holds, permits
from consent.holds import NoHold
from scoring import buckets
from scoring.answers import corrections
from scoring.measures import forbidden
from scoring.store import incoming, intake, locks, shelf, snapshot

CUTOFF = datetime(2026, 6, 1, tzinfo=UTC)
COLLEAGUE = Staff(StaffId(uuid4()), StaffRole.COMPLIANCE_OFFICER)
SHOPPING = sorted(small_models.REASONS).index(Category.SHOPPING)


def before(cutoff, days, reference, **changes):
    return event(reference, at=(cutoff - timedelta(days=days)).isoformat(), **changes)


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    return await world.a_bank()


async def sharing(bank, categories=world.ALL):
    """Somebody who shares these data, by their reference and their id."""
    [(reference, user)] = (await events.known()).items()
    async with open_act(bank, world.SCORING) as act:
        wanted = world.an_ask(bank.partner, categories=categories)
        asked = await grants.ask(act, wanted, offered=frozenset(Category))
    await world.said_yes(events.in_session(user), asked)
    return reference, user


async def row(owner, user):
    return await owner.fetchrow("select * from scoring_feature where user_id = $1", user)


async def test_what_was_forbidden_only_later_is_not_even_counted(bank, owner, monkeypatch):
    reference, user = await sharing(bank)
    with monkeypatch.context() as earlier:
        earlier.setattr(forbidden, "ban_of", lambda name: None)
        told = [
            before(CUTOFF, n, reference, name=name) for n in (1, 2) for name in ("order", "religion_gift")
        ]
        assert (await events.received(told)).accepted == 4
    await events.taken(CUTOFF)
    assert (await row(owner, user))["events"][SHOPPING] == 4


async def test_a_contact_of_which_the_other_end_is_not_known_never_counts(bank, monkeypatch):
    """Kept by whoever took it before it was refused, shared by one end: the features are those of no contact at all."""
    counted = []
    real = snapshot.features.compute

    def seen(behaviour, asked, wanted):
        counted.append(behaviour.events["category"].unique().to_list())
        return real(behaviour, asked, wanted)

    monkeypatch.setattr(snapshot.features, "compute", seen)
    reference, _ = await sharing(bank, world.ALL | {Category.SOCIAL_GRAPH})
    with monkeypatch.context() as earlier:
        earlier.setattr(incoming, "NOT_TAKEN", frozenset())
        told = [before(CUTOFF, 1, reference, category=c) for c in ("social_graph", "shopping")]
        assert (await events.received(told)).accepted == 2
    await events.taken(CUTOFF)
    assert counted == [["shopping"]]


async def found_wrong(user, category=Category.SHOPPING):
    """The person disputes a kind of data, and staff agree."""
    person = events.in_session(user)
    async with open_act(person, None) as act:
        raised = await disputes.raise_category(act, permits.own_permit(act), category, "Not mine.")
    async with open_act(world.OFFICER, None) as act:
        looks = permits.staff_permit(act, "the person disputes it")
        await corrections.answer_dispute(act, looks, raised.id, upheld=True, text="You are right.")
    return raised.id


async def lifted(dispute):
    """Another officer says that it was upheld in error."""
    async with open_act(COLLEAGUE, None) as act:
        looks = permits.staff_permit(act, "it was upheld in error")
        await holds.lift(act, looks, dispute, "The shop's records are right.")


async def may_use_shopping(bank, user):
    async with open_act(world.STORY, world.LISTING) as act:
        everybody = await permits.population_permit(act, world.SCORING, bank.partner, act.now)
    return Category.SHOPPING in everybody.masks[user]


async def test_data_found_wrong_do_not_come_back_by_a_snapshot(bank, owner):
    reference, user = await sharing(bank)
    now = datetime.now(UTC)
    await events.received([before(now, n, reference) for n in range(2, 6)])
    await events.taken(now - timedelta(days=1))
    assert (await row(owner, user))["events"][SHOPPING] == 8
    await found_wrong(user)
    for _ in range(2):
        await asyncio.sleep(0.01)
        await events.taken(datetime.now(UTC) - timedelta(milliseconds=5))
        assert not await may_use_shopping(bank, user)
        assert (await row(owner, user))["events"][SHOPPING] == 0
    assert "correction_applied" not in await world.kinds(owner, person=user)


async def test_what_was_upheld_in_error_counts_again_once_that_is_lifted(bank, owner):
    reference, user = await sharing(bank)
    now = datetime.now(UTC)
    await events.received([before(now, n, reference) for n in range(2, 6)])
    first, second = await found_wrong(user), await found_wrong(user)
    await events.taken(now - timedelta(days=1))
    assert (await row(owner, user))["events"][SHOPPING] == 0
    await lifted(second)
    assert not await may_use_shopping(bank, user)
    await lifted(first)
    assert await may_use_shopping(bank, user)
    await events.taken(now - timedelta(days=1))
    assert (await row(owner, user))["events"][SHOPPING] == 8
    kinds = await world.kinds(owner, person=user)
    assert (kinds.count("hold_lifted"), kinds.count("correction_applied")) == (2, 0)


async def test_one_lifts_an_upheld_dispute_about_data_once_and_not_ones_own(bank):
    _, user = await sharing(bank)
    dispute = await found_wrong(user)
    async with open_act(world.OFFICER, None) as act:
        looks = permits.staff_permit(act, "it was upheld in error")
        with pytest.raises(SamePerson):
            await holds.lift(act, looks, dispute, "The shop's records are right.")
        act.record("probe", {})
    await lifted(dispute)
    with pytest.raises(NoHold):
        await lifted(dispute)
    person = events.in_session(user)
    async with open_act(person, None) as act:
        raised = await disputes.raise_category(act, permits.own_permit(act), Category.SHOPPING, "Not mine.")
    with pytest.raises(NoHold):
        await lifted(raised.id)
    with pytest.raises(NotFound):
        await lifted(uuid4())


async def test_the_database_too_keeps_who_lifts_apart_and_what_is_lifted_as_it_is(bank, owner):
    _, user = await sharing(bank)
    dispute = await found_wrong(user)
    write = "update consent_dispute set lifted_at = now(), lifted_by = {}, lifted_sealed = 'x' where id = $1"
    with pytest.raises(asyncpg.CheckViolationError):
        await owner.execute(write.format("answered_by"), dispute)
    await lifted(dispute)
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute(write.format("'another'"), dispute)
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute("update consent_dispute set state = 'rejected' where id = $1", dispute)


async def test_only_what_came_after_the_answer_counts_and_makes_the_kind_usable_again(bank, owner):
    reference, user = await sharing(bank)
    now = datetime.now(UTC)
    wrong = [before(now, n, reference) for n in range(2, 6)]
    await events.received(wrong)
    await events.taken(now - timedelta(days=1))
    await found_wrong(user)
    said_again = await events.received([*wrong, before(now, 3, reference, category="device_usage")])
    assert (said_again.accepted, said_again.duplicate) == (1, 4)
    await events.taken(now - timedelta(days=1))
    assert not await may_use_shopping(bank, user)
    await events.received([before(now, 4, reference, name="order_paid_by_me", count=1)])
    await events.taken(now - timedelta(days=1))
    assert await may_use_shopping(bank, user)
    assert (await row(owner, user))["events"][SHOPPING] == 1
    await found_wrong(user)
    await events.taken(now - timedelta(days=1))
    assert not await may_use_shopping(bank, user)
    assert (await world.kinds(owner, person=user)).count("correction_applied") == 1


async def test_a_kind_that_was_found_wrong_stays_out_until_the_features_are_made_without_it(bank, owner):
    """Who shares it with nobody when other data come gets no new features: the old ones hold what was wrong."""
    reference, user = await sharing(bank)
    now = datetime.now(UTC)
    await events.received([before(now, 2, reference)])
    await events.taken(now - timedelta(days=1))
    await found_wrong(user)
    [grant] = await owner.fetch("select id from consent_grant where user_id = $1", user)
    await world.withdrawn(events.in_session(user), grant["id"])
    await events.received([before(now, 3, reference, count=1)])
    await events.taken(now - timedelta(days=1))
    await world.granted(events.in_session(user), bank)
    assert not await may_use_shopping(bank, user)
    assert await worker.prepare_features()
    assert await may_use_shopping(bank, user)
    assert (await row(owner, user))["events"][SHOPPING] == 1


async def test_features_never_go_back_in_time_while_a_snapshot_runs(bank, owner, monkeypatch):
    monkeypatch.setattr(snapshot, "ROWS_AT_ONCE", 1)
    found = [await sharing(bank) for _ in range(3)]
    found.sort(key=lambda each: buckets.bucket_of(each[1]))
    (_, first), (_, second), _ = found
    now = datetime.now(UTC)
    await events.received([before(now, n, reference) for reference, _ in found for n in (2, 12)])
    old, new = now - timedelta(days=10), now - timedelta(days=1)
    await events.taken(old)
    done = await events.advanced(await events.begun(new))
    assert [(await row(owner, user))["data_cutoff"] for user in (first, second)] == [new, old]
    other = await world.a_bank("beta")
    for user in (first, second):
        await world.granted(events.in_session(user), other)
    while await worker.prepare_features():
        pass
    assert [(await row(owner, user))["data_cutoff"] for user in (first, second)] == [new, old]
    while not done.is_finished:
        done = await events.advanced(done)
    while await worker.prepare_features():
        pass
    assert {(await row(owner, user))["data_cutoff"] for _, user in found} == {new}


async def test_who_was_prepared_while_a_snapshot_went_past_is_prepared_for_it_too(bank, owner, monkeypatch):
    """They shared nothing yet when it came by their bucket."""
    monkeypatch.setattr(snapshot, "ROWS_AT_ONCE", 1)
    found = [*(await events.known(3)).items()]
    now = datetime.now(UTC)
    await events.received([before(now, n, reference) for reference, _ in found for n in (2, 12)])
    _, first = min(found, key=lambda each: buckets.bucket_of(each[1]))
    old, new = now - timedelta(days=10), now - timedelta(days=1)
    await events.taken(old)
    done = await events.advanced(await events.begun(new))
    await world.granted(events.in_session(first), bank)
    assert await worker.prepare_features()
    assert (await row(owner, first))["data_cutoff"] == old
    while not done.is_finished:
        done = await events.advanced(done)
    assert await worker.prepare_features()
    assert (await row(owner, first))["data_cutoff"] == new
    assert not await worker.prepare_features()


def begin(doing):
    """Beside this, as another caller."""
    return asyncio.create_task(doing, context=contextvars.Context())


async def test_what_comes_in_while_a_snapshot_begins_is_counted_or_late(bank, owner):
    reference, user = await sharing(bank)
    now = datetime.now(UTC)
    cutoff = now - timedelta(days=1)
    came, may_end = asyncio.Event(), asyncio.Event()

    async def slowly():
        async with open_act(world.STORY, None) as act:
            got = await intake.receive(act, incoming.raw([before(now, 2, reference)]))
            came.set()
            await may_end.wait()
        return got

    coming = begin(slowly())
    await came.wait()
    taking = begin(events.taken(cutoff))
    await asyncio.sleep(0.5)
    may_end.set()
    got = await coming
    await taking
    assert (got.late, (await row(owner, user))["events"][SHOPPING]) == (0, 2)
    assert (await events.received([before(now, 3, reference)])).late == 1


async def test_what_comes_in_during_a_snapshot_is_late_for_every_bucket_alike(bank, owner, monkeypatch):
    monkeypatch.setattr(snapshot, "ROWS_AT_ONCE", 1)
    (reference, user), (other, elsewhere) = await sharing(bank), await sharing(bank)
    while buckets.bucket_of(elsewhere) == buckets.bucket_of(user):
        other, elsewhere = await sharing(bank)
    await events.received([before(CUTOFF, 1, name) for name in (reference, other)])
    done = await events.advanced(await events.begun(CUTOFF))
    assert not done.is_finished
    assert (await events.received([before(CUTOFF, 2, name) for name in (reference, other)])).late == 2
    await events.filed()
    while not done.is_finished:
        done = await events.advanced(done)
    assert [(await row(owner, each))["events"][SHOPPING] for each in (user, elsewhere)] == [2, 2]
    await events.taken(CUTOFF)
    assert [(await row(owner, each))["events"][SHOPPING] for each in (user, elsewhere)] == [4, 4]


async def test_what_waited_for_a_snapshot_to_begin_came_in_after_it(bank, owner):
    reference, user = await sharing(bank)
    waits, may_end = asyncio.Event(), asyncio.Event()

    async def begins():
        async with open_act(world.STORY, world.SCORING) as act:
            done = await snapshot.begin(act, CUTOFF)
            waits.set()
            await may_end.wait()
        return done

    beginning = begin(begins())
    await waits.wait()
    coming = begin(events.received([before(CUTOFF, 1, reference)]))
    await asyncio.sleep(0.5)
    may_end.set()
    done = await beginning
    assert (await coming).late == 1
    await events.filed()
    while not done.is_finished:
        done = await events.advanced(done)
    assert await row(owner, user) is None


async def test_a_bucket_that_is_read_is_filed_later_and_holds_up_neither_intake_nor_another(bank, owner):
    (reference, user), (other, elsewhere) = await sharing(bank), await sharing(bank)
    while buckets.bucket_of(elsewhere) == buckets.bucket_of(user):
        other, elsewhere = await sharing(bank)
    await events.received([before(CUTOFF, n, reference) for n in (1, 2)] + [before(CUTOFF, 1, other)])
    await owner.execute("update scoring_behaviour set received_at = now() - interval '11 minutes'")
    read, may_end = asyncio.Event(), asyncio.Event()

    async def reads():
        async with open_act(world.STORY, None) as act:
            await locks.share(act, [buckets.bucket_of(user)])
            act.record("disputes_listed", {"count": 0})
            read.set()
            await may_end.wait()

    reading = begin(reads())
    await read.wait()
    async with asyncio.timeout(5):
        assert await begin(worker.file_behaviour())
        assert not await begin(worker.file_behaviour())
        assert (await begin(events.received([before(CUTOFF, 3, reference)]))).accepted == 1
    everything = begin(events.filed())
    await asyncio.sleep(0.5)
    may_end.set()
    await reading
    await everything
    read_again = [shelf.read(buckets.bucket_of(each), users=[str(each)]).height for each in (user, elsewhere)]
    assert read_again == [3, 1]
