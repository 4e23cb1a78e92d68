"""What a recipient has to do after a consent ended: one table of steps, in order, in time, and each seen by the person."""

import asyncio
from datetime import date, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from support import world
from support.world import LISTING, SCORING

from compliance.act import open_act, open_upkeep, open_view
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import OPERATOR, Category, GrantId, Language, PartnerKind, Purpose, Worker
from consent import effects, grants, objections
from consent.effects import TRANSITIONS, Retention, State, Step, WithdrawalSettled
from consent.permits import BUSINESS_ZONE

pytestmark = pytest.mark.usefixtures("ground")
CLERK = Worker("clerk")
DOCS = Path(__file__).parents[2] / "docs" / "consent.md"
PAST_THE_WALL = "set session_replication_role = replica"
"""Deadlines come closer in a test only: past the trigger."""


def in_years(years: int) -> date:
    return datetime.now(BUSINESS_ZONE).date() + timedelta(days=365 * years)


KEPT = Retention("反洗钱法第三十四条", in_years(5))


@pytest.fixture
async def bank():
    return await world.a_bank()


async def one_ended(bank, purpose=SCORING):
    """A person, and their grant that they withdrew."""
    (person,) = await world.persons(1)
    row = await world.granted(person, bank, purpose)
    await world.withdrawn(person, row.id)
    return person, GrantId(row.id)


async def feed(client, after=None, limit=500):
    async with open_act(client, None) as act:
        return await effects.feed(act, after=after, limit=limit)


async def acknowledge(client, grant):
    async with open_act(client, None) as act:
        return await effects.acknowledge(act, grant)


async def attest(client, grant, retention=None, attestation="signed"):
    async with open_act(client, None) as act:
        return await effects.attest(act, grant, retention, attestation)


async def seen_by(person, grant):
    async with open_view(person) as view:
        return await effects.of_grant(view, grant)


async def escalated(limit=100) -> int:
    async with open_upkeep(CLERK) as upkeep:
        if not await effects.any_overdue(upkeep):
            return 0
    async with open_act(CLERK, None) as act:
        return await effects.escalate_overdue(act, limit)


async def shifted(owner, grant, by: timedelta) -> None:
    """As if the grant had ended so much earlier."""
    await owner.execute(PAST_THE_WALL)
    await owner.execute(
        """update consent_effect set requested_at = requested_at - $2::interval, settle_by = settle_by - $2::interval,
               acknowledge_by = acknowledge_by - $2::interval, escalated_at = escalated_at - $2::interval
           where grant_id = $1""",
        grant,
        by,
    )


async def test_the_database_keeps_the_same_table(owner):
    rows = await owner.fetch("select from_state, to_state from consent_effect_transition")
    kept = {(State(r["from_state"]), State(r["to_state"])) for r in rows}
    assert kept == {(before, after) for (before, _), after in TRANSITIONS.items()}


def test_the_published_table_is_the_one_in_force():
    after = DOCS.read_text("utf-8").partition("## After the end")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|")[1:] for line in after.splitlines() if line.startswith("| ")][1:]
    published = {(cell.strip(" `"), to.strip(" `")) for before, to in rows for cell in before.split(",")}
    assert published == {(before, reached) for (before, _), reached in TRANSITIONS.items()}


async def test_the_database_takes_no_other_step_whatever_the_code_does(bank, owner):
    _person, grant = await one_ended(bank)
    await attest(bank, grant)
    back = "update consent_effect set state = 'acknowledged', settled_at = null, attestation = null where grant_id = $1"
    with pytest.raises(asyncpg.PostgresError, match="purged does not become acknowledged"):
        await owner.execute(back, grant)
    with pytest.raises(asyncpg.PostgresError, match="does not begin as purged"):
        await owner.execute(
            """insert into consent_effect select grant_id, $2, user_id, state, requested_at, acknowledge_by, settle_by,
                   delivered_at, acknowledged_at, settled_at, basis, retained_until, attestation
               from consent_effect where grant_id = $1""",
            grant,
            OPERATOR,
        )


async def test_from_told_to_deleted_each_step_has_its_time_and_its_fact(bank, owner):
    person, grant = await one_ended(bank)
    (asked,) = await seen_by(person, grant)
    assert (asked.state, asked.recipient, asked.ended_code) == (State.REQUESTED, bank.partner, "withdrawn")
    assert asked.acknowledge_by - asked.requested_at == timedelta(hours=24)
    assert asked.settle_by - asked.requested_at == timedelta(days=15)
    assert asked.due == asked.acknowledge_by

    (read,) = await feed(bank)
    assert (read.grant, read.state) == (grant, State.DELIVERED)
    assert await feed(bank, read.position) == []
    assert (await acknowledge(bank, grant)).due == read.settle_by
    await attest(bank, grant, KEPT, "signed once")
    (kept,) = await seen_by(person, grant)
    assert (kept.state, kept.retention, kept.attestation, kept.due) == (
        State.RETAINED_BY_LAW,
        KEPT,
        "signed once",
        None,
    )
    await attest(bank, grant, None, "signed later")
    (gone,) = await seen_by(person, grant)
    assert (gone.state, gone.retention, gone.attestation) == (State.PURGED, None, "signed later")
    assert asked.requested_at < gone.delivered_at < gone.acknowledged_at < kept.settled_at < gone.settled_at
    assert (await world.kinds(owner, grant_id=grant, person=person.user))[1:] == [
        "grant_withdrawn",
        "withdrawal_delivered",
        "withdrawal_acknowledged",
        "withdrawal_attested",
        "withdrawal_attested",
    ]


async def test_each_step_twice_is_fine_and_changes_nothing(bank, owner):
    _person, grant = await one_ended(bank)
    first = [await feed(bank), await feed(bank)]
    assert first[0] == first[1]
    once, again = await acknowledge(bank, grant), await acknowledge(bank, grant)
    assert once == again
    once, again = await attest(bank, grant, KEPT), await attest(bank, grant, KEPT, "signed again")
    assert once == again
    once, again = await attest(bank, grant), await attest(bank, grant)
    assert once == again
    assert (await world.kinds(owner, grant_id=grant))[3:] == [
        "withdrawal_delivered",
        "withdrawal_acknowledged",
        "withdrawal_acknowledged_again",
        "withdrawal_attested",
        "withdrawal_attested_again",
        "withdrawal_attested",
        "withdrawal_attested_again",
    ]


async def test_who_confirms_or_attests_at_once_was_told(bank):
    _, grant = await one_ended(bank)
    done = await acknowledge(bank, grant)
    assert done.delivered_at == done.acknowledged_at
    _person, grant = await one_ended(bank)
    done = await attest(bank, grant)
    assert done.delivered_at == done.acknowledged_at == done.settled_at


async def test_what_was_attested_stands(bank):
    _person, grant = await one_ended(bank)
    await attest(bank, grant, KEPT)
    with pytest.raises(WithdrawalSettled):
        await attest(bank, grant, Retention("another law", KEPT.until))
    await attest(bank, grant)
    with pytest.raises(WithdrawalSettled):
        await attest(bank, grant, KEPT)


@pytest.mark.parametrize(
    ("retention", "pointers"),
    [
        (Retention("law", in_years(1)), ["/basis"]),
        (Retention("  law  ", in_years(1)), ["/basis"]),
        (Retention("x" * 201, in_years(1)), ["/basis"]),
        (Retention("a law", in_years(-1)), ["/until"]),
        (Retention("a law", in_years(31)), ["/until"]),
        (Retention("", in_years(0) - timedelta(days=1)), ["/basis", "/until"]),
    ],
)
async def test_keeping_needs_a_law_and_a_day(bank, retention, pointers):
    _person, grant = await one_ended(bank)
    with pytest.raises(Unacceptable) as refused:
        await attest(bank, grant, retention)
    assert [fault.pointer for fault in refused.value.faults] == pointers


async def test_each_end_asks_each_recipient_and_the_operator_asks_itself_nothing(bank, owner):
    (person,) = await world.persons(1)
    old = await world.granted(person, bank)
    new = await world.granted(person, bank)  # supersedes
    async with open_act(bank, None) as act:
        await grants.relinquish(act, GrantId(new.id))
    time_out = await world.granted(person, bank, Purpose.PORTRAIT)
    await owner.execute("update consent_grant set expires_at = now() where id = $1", time_out.id)
    async with open_act(CLERK, None) as act:
        await grants.end_expired(act, 10)
    assert [(e.ended_code, e.state) for e in await feed(bank)] == [
        ("superseded", State.DELIVERED),
        ("relinquished", State.DELIVERED),
        ("expired", State.DELIVERED),
    ]
    # Who gave it back knew then; the others were told when they read.
    kinds = [await world.kinds(owner, grant_id=row.id) for row in (old, new, time_out)]
    assert ["withdrawal_delivered" in k for k in kinds] == [True, False, True]
    wanted = world.an_ask(OPERATOR, Purpose.LOAN_REFERRAL, user=person.user)
    async with open_act(person, None) as act:
        own, _ = await grants.give(act, wanted, Language.EN, offered=frozenset(Category))
    await world.withdrawn(person, own.id)
    assert await seen_by(person, GrantId(own.id)) == []


async def test_an_objection_to_lists_ends_no_consent(bank):
    (person,) = await world.persons(1)
    row = await world.granted(person, bank, LISTING)
    async with open_act(person, None) as act:
        await objections.object_to_lists(act, objects=True)
    assert await seen_by(person, GrantId(row.id)) == []


async def test_the_bureau_that_relays_is_asked_too(owner):
    bank, bureau = await world.a_bank(), await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU)
    await world.open_channel(bureau.partner, bank.partner)
    (person,) = await world.persons(1)
    row = await world.granted(person, bureau, recipient=bank.partner, bureau=bureau.partner)
    async with open_act(bureau, None) as act:
        await grants.relinquish(act, GrantId(row.id))
    found = {e.recipient: e.state for e in await seen_by(person, GrantId(row.id))}
    assert found == {bank.partner: State.REQUESTED, bureau.partner: State.DELIVERED}
    await acknowledge(bank, GrantId(row.id))
    assert [e.state for e in await feed(bureau)] == [State.DELIVERED]
    assert [e.state for e in await feed(bank)] == [State.ACKNOWLEDGED]


async def test_another_partners_withdrawal_does_not_exist(bank):
    _person, grant = await one_ended(bank)
    other = await world.a_bank("beta")
    assert await feed(other) == []
    for step in (acknowledge, attest):
        with pytest.raises(NotFound):
            await step(other, grant)
    (stranger,) = await world.persons(1)
    assert await seen_by(stranger, grant) == []


async def test_a_live_grant_has_no_withdrawal(bank):
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    with pytest.raises(NotFound):
        await acknowledge(bank, GrantId(row.id))


async def test_an_end_that_commits_late_is_never_skipped(bank):
    """One withdrawal takes its number first and commits last; the feed waits for it."""
    people = await world.persons(3)
    rows = [await world.granted(person, bank) for person in people]
    inside, leave = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with open_act(people[0], None) as act:
            await grants.withdraw(act, GrantId(rows[0].id))
            inside.set()
            await leave.wait()

    running = asyncio.create_task(slow())
    await inside.wait()
    await world.withdrawn(people[1], rows[1].id)
    assert await feed(bank) == []  # held back until the slow one is settled
    leave.set()
    await running
    await world.withdrawn(people[2], rows[2].id)
    read, after = [], None
    for _ in range(4):
        for effect in await feed(bank, after, limit=1):
            read.append(effect.grant)
            after = effect.position
    assert read == [row.id for row in rows]


async def test_readers_and_withdrawals_at_once_miss_nothing_and_tell_once(bank, owner):
    people = await world.persons(8)
    rows = [await world.granted(person, bank) for person in people]
    over = asyncio.Event()

    async def reads() -> list[GrantId]:
        found, after = [], None
        while True:
            last = over.is_set()
            page = await feed(bank, after, limit=3)
            found += [effect.grant for effect in page]
            after = page[-1].position if page else after
            if last and not page:
                return found

    readers = [asyncio.create_task(reads()) for _ in range(2)]
    await asyncio.gather(*(world.withdrawn(p, r.id) for p, r in zip(people, rows, strict=True)))
    over.set()
    for found in await asyncio.wait_for(asyncio.gather(*readers), 30):
        assert len(found) == len(rows)
        assert set(found) == {row.id for row in rows}
    for row in rows:
        assert (await world.kinds(owner, grant_id=row.id)).count("withdrawal_delivered") == 1


async def test_each_missed_deadline_is_recorded_once(bank, owner):
    person, grant = await one_ended(bank)
    assert await escalated() == 0
    await shifted(owner, grant, timedelta(hours=24))
    (late,) = await seen_by(person, grant)
    async with open_view(person) as view:
        assert late.overdue(view.now)
    assert [await escalated(), await escalated()] == [1, 0]
    await acknowledge(bank, grant)
    async with open_view(person) as view:
        assert not (await seen_overdue(view, grant))
    await shifted(owner, grant, timedelta(days=14))
    assert [await escalated(), await escalated()] == [1, 0]
    await attest(bank, grant)
    assert (await world.kinds(owner, grant_id=grant, person=person.user)).count("withdrawal_overdue") == 2


async def seen_overdue(view, grant) -> bool:
    return (await effects.of_grant(view, grant))[0].overdue(view.now)


async def test_both_deadlines_missed_at_once_are_two_records(bank, owner):
    _person, grant = await one_ended(bank)
    await shifted(owner, grant, timedelta(days=15))
    assert [await escalated(limit=1), await escalated(limit=1)] == [2, 0]


async def test_who_is_in_time_is_not_overdue(bank, owner):
    _person, grant = await one_ended(bank)
    await acknowledge(bank, grant)
    await shifted(owner, grant, timedelta(days=2))
    assert await escalated() == 0
    await attest(bank, grant)
    await shifted(owner, grant, timedelta(days=100))
    assert await escalated() == 0


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_no_step_leads_back(state, step):
    order = list(State)
    reached = TRANSITIONS.get((state, step))
    assert (
        reached is None
        or order.index(reached) > order.index(state)
        or ((state, reached) == (State.RETAINED_BY_LAW, State.PURGED))
    )
