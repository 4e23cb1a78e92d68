"""A permit proves a live grant at this moment: every way a grant can fail, and that withdrawal is the last word."""

import asyncio
import random
from datetime import timedelta

import pytest
from support import world
from support.world import ALL, LISTING, SCORING

from compliance import sequencer
from compliance.act import open_act
from compliance.refusals import Refusal
from compliance.vocabulary import OPERATOR, Category, Language, PartnerKind, Person, Purpose, StaffRole
from consent import grants, permits
from consent.permits import (
    AgeNotEstablished,
    CategoryNotGranted,
    ConsentExpired,
    ConsentFrequencyExceeded,
    ConsentMissing,
    ConsentPaused,
    ConsentWithdrawn,
    Permit,
    ReasonMissing,
    UserObjected,
)

pytestmark = pytest.mark.usefixtures("ground")
SHOPPING, DEVICE = frozenset({Category.SHOPPING}), frozenset({Category.DEVICE_USAGE})


async def used(client, person, wanted=ALL, purpose=SCORING, **how) -> Permit:
    """Ask for a permit in an act that commits."""
    async with open_act(client, purpose) as act:
        permit = await permits.permit(act, person.user, purpose, wanted, **how)
        act.record("used", {}, person=permit.user, grant=permit.grant)
        return permit


async def refused(owner, client, person, refusal, wanted=ALL, purpose=SCORING, **how) -> None:
    """Asking is refused, nothing is counted, and the person's log shows the attempt with its code."""
    before = await owner.fetch("select * from consent_use")
    with pytest.raises(refusal):
        await used(client, person, wanted, purpose, **how)
    assert await owner.fetch("select * from consent_use") == before
    last = await owner.fetchrow("select kind, person from compliance_fact order by seq desc limit 1")
    assert tuple(last) == ("refused", person.user)


async def test_it_names_the_intersection(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank, categories=SHOPPING | DEVICE)
    permit = await used(bank, person, DEVICE | {Category.CREDIT_HISTORY})
    assert (permit.grant, permit.user, permit.categories) == (row.id, person.user, DEVICE)
    assert (permit.recipient, permit.bureau, permit.expires_at) == (bank.partner, None, row.expires_at)
    await refused(owner, bank, person, CategoryNotGranted, frozenset({Category.CREDIT_HISTORY}))


async def test_without_a_yes_there_is_none(owner):
    bank, other = await world.a_bank(), await world.a_bank("beta")
    person, somebody = await world.persons(2)
    await refused(owner, bank, person, ConsentMissing)
    await world.asked(bank, user=person.user)
    await refused(owner, bank, person, ConsentMissing)
    await world.granted(somebody, bank)
    await world.granted(person, other)
    await refused(owner, bank, person, ConsentMissing)
    await world.granted(person, bank)
    await refused(owner, bank, person, ConsentMissing, purpose=Purpose.PORTRAIT)
    await used(bank, person)


async def test_paused_withdrawn_and_expired_are_told_apart(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    change = "update consent_grant set state = $2 where id = $1"
    await owner.execute(change, row.id, "paused")
    await refused(owner, bank, person, ConsentPaused)
    await owner.execute(change, row.id, "active")
    await used(bank, person)
    await owner.execute("update consent_grant set expires_at = now() where id = $1", row.id)
    await refused(owner, bank, person, ConsentExpired)  # by the clock, before any job notes it
    await owner.execute(
        "update consent_grant set state = 'ended', ended_code = 'expired' where id = $1", row.id
    )
    await refused(owner, bank, person, ConsentExpired)
    row = await world.granted(person, bank)
    await used(bank, person)
    await world.withdrawn(person, row.id)
    await refused(owner, bank, person, ConsentWithdrawn)


@pytest.mark.parametrize("born_on", ["null", "current_date - interval '17 years'"])
async def test_unknown_age_and_minors_are_refused_though_they_said_yes(owner, born_on):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    await owner.execute(f"update consent_person set born_on = {born_on}")
    await refused(owner, bank, person, AgeNotEstablished)


async def test_an_objection_stops_lists_and_nothing_else(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    await world.granted(person, bank, LISTING)
    await owner.execute("update consent_person set objected_to_prescreen_at = now()")
    await refused(owner, bank, person, UserObjected, purpose=LISTING)
    await used(bank, person)


async def test_calls_are_counted_by_calendar_month_in_shanghai(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank, calls_per_month=2)
    await used(bank, person)
    await used(bank, person, count=False)
    await used(bank, person, count=False)
    month = await owner.fetchval("select date_trunc('month', now() at time zone 'Asia/Shanghai')::date")
    assert [tuple(r) for r in await owner.fetch("select month, grant_id from consent_use")] == [
        (month, row.id)
    ]
    await used(bank, person)
    await refused(owner, bank, person, ConsentFrequencyExceeded)
    await owner.execute("update consent_use set month = month - 1")  # the day before: last month's count
    for _ in range(2):
        await used(bank, person)
    await refused(owner, bank, person, ConsentFrequencyExceeded)


async def test_a_month_ends_at_midnight_in_shanghai(owner, monkeypatch):
    """16:00 UTC on the last day of a month is the first minute of the next one."""
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    await world.granted(person, bank, period_days=60)
    starts = await owner.fetchval(
        """select (date_trunc('month', now() at time zone 'Asia/Shanghai') + interval '1 month')
                  at time zone 'Asia/Shanghai'"""
    )
    months = []
    for moment in (starts - timedelta(seconds=1), starts):
        async with open_act(bank, SCORING) as act:
            act.now = moment
            await permits.permit(act, person.user, SCORING, ALL)
            act.record("used", {})
        months.append(await owner.fetchval("select max(month) from consent_use"))
    assert months[1] == starts.astimezone(permits.BUSINESS_ZONE).date()
    assert months[0] < months[1]


async def test_a_relay_needs_a_grant_that_names_the_bureau(owner):
    bank = await world.a_bank()
    bureau, other = [await world.a_bank(code, PartnerKind.CREDIT_BUREAU) for code in ("one", "other")]
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    await refused(owner, bureau, person, ConsentMissing, recipient=bank.partner)
    row = await world.granted(person, bureau, recipient=bank.partner, bureau=bureau.partner)
    permit = await used(bureau, person, recipient=bank.partner)
    assert (permit.grant, permit.recipient, permit.bureau) == (row.id, bank.partner, bureau.partner)
    await refused(owner, other, person, ConsentMissing, recipient=bank.partner)
    await world.withdrawn(person, row.id)
    await refused(owner, bureau, person, ConsentWithdrawn, recipient=bank.partner)
    await used(bank, person)  # the direct one stands


async def test_the_other_keys_are_made_for_whom_they_are_for(owner):
    (person,) = await world.persons(1)
    bank = await world.a_bank()
    for stranger in (bank, world.OFFICER):
        with pytest.raises(Refusal):
            async with open_act(stranger, None) as act:
                permits.own_permit(act)
    for not_staff in (bank, person):
        with pytest.raises(Refusal):
            async with open_act(not_staff, None) as act:
                permits.staff_permit(act, "a complaint of 3 May", about=person.user)
    with pytest.raises(ReasonMissing):
        async with open_act(world.OFFICER, None) as act:
            permits.staff_permit(act, "  because  ", about=person.user)
    async with open_act(world.OFFICER, None) as act:
        permit = permits.staff_permit(act, "a complaint of 3 May", about=person.user)
    assert permit.staff.role is StaffRole.COMPLIANCE_OFFICER
    last = await owner.fetchrow("select kind, person from compliance_fact order by seq desc limit 1")
    assert tuple(last) == ("staff_looked", person.user)


async def test_a_population_is_whoever_may_be_in_it_now(owner):
    bank, other = await world.a_bank(), await world.a_bank("beta")
    listed, minor, unknown, objects, paused, expired, left, stranger = await world.persons(8)
    rows = {}
    for person in (listed, minor, unknown, objects, paused, expired, left):
        rows[person.user] = await world.granted(person, bank, LISTING, categories=SHOPPING)
    await world.granted(stranger, other, LISTING)
    await world.granted(stranger, bank, SCORING)
    who = "update consent_person set {} where id = $1"
    await owner.execute(who.format("born_on = current_date - interval '17 years'"), minor.user)
    await owner.execute(who.format("born_on = null"), unknown.user)
    await owner.execute(who.format("objected_to_prescreen_at = now()"), objects.user)
    grant = "update consent_grant set {} where user_id = $1"
    await owner.execute(grant.format("state = 'paused'"), paused.user)
    await owner.execute(grant.format("expires_at = now()"), expired.user)
    await world.withdrawn(left, rows[left.user].id)
    async with open_act(world.STORY, LISTING) as act:
        permit = await permits.population_permit(act, LISTING, bank.partner, act.now)
    assert permit.grants == {listed.user: rows[listed.user].id}
    assert permit.masks == {listed.user: SHOPPING}


async def attempts(bank, person, over: asyncio.Event) -> int:
    """Score again and again until refused."""
    done = 0
    while not over.is_set():
        try:
            await world.scored(bank, person)
            done += 1
        except ConsentWithdrawn:
            return done
        await asyncio.sleep(0)
    return done


async def test_nothing_stands_in_the_log_after_the_withdrawal(owner, ground):
    """Four clients of one bank score on connections of their own while the person withdraws."""
    await world.put_model_in_use()
    await world.open_channel()
    bank = await world.a_bank()
    for person in await world.persons(5):
        row = await world.granted(person, bank)
        await owner.execute("update consent_grant set calls_per_month = 10000")  # more than can be made
        over = asyncio.Event()
        scoring = [asyncio.create_task(attempts(bank, person, over)) for _ in range(4)]
        await asyncio.sleep(random.uniform(0.005, 0.06))
        await asyncio.wait_for(world.withdrawn(person, row.id), 20)
        done = sum(await asyncio.wait_for(asyncio.gather(*scoring), 20))
        kinds = [k for k in await world.kinds(owner, grant_id=row.id) if k != "refused"]
        assert kinds.count("score_issued") == done
        assert kinds[-1] == "grant_withdrawn"
        assert await owner.fetchval("select count(*) from scoring_score where grant_id = $1", row.id) == done
    while await sequencer.sequence():
        pass
    late = """
    select count(*) from compliance_log used join compliance_fact f on f.id = used.fact
    join compliance_fact ended on ended.grant_id = f.grant_id and ended.kind = 'grant_withdrawn'
    join compliance_log last on last.fact = ended.id
    where f.kind = 'score_issued' and used.leaf_index > last.leaf_index"""
    assert await owner.fetchval(late) == 0


async def test_the_withdrawing_act_waits_for_a_use_that_has_begun(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow_use() -> None:
        async with open_act(bank, SCORING) as act:
            permit = await permits.permit(act, person.user, SCORING, ALL)
            begun.set()
            await may_end.wait()
            act.record("score_issued", {}, person=permit.user, grant=permit.grant)

    use = asyncio.create_task(slow_use())
    await begun.wait()
    end = asyncio.create_task(world.withdrawn(person, row.id))
    await asyncio.sleep(0.1)
    assert not end.done()
    may_end.set()
    await asyncio.gather(use, end)
    assert (await world.kinds(owner, grant_id=row.id))[-2:] == ["score_issued", "grant_withdrawn"]


async def test_a_persons_own_permit_for_the_operator():
    (person,) = await world.persons(1)
    ask = world.an_ask(OPERATOR, Purpose.SELF_VIEW, user=person.user)
    async with open_act(person, Purpose.SELF_VIEW) as act:
        await grants.give(act, ask, Language.EN, offered=ALL)
        assert isinstance(act.principal, Person)
        permit = await permits.permit(act, person.user, Purpose.SELF_VIEW, SHOPPING)
        own = permits.own_permit(act)
    assert (permit.recipient, own.user) == (OPERATOR, person.user)
