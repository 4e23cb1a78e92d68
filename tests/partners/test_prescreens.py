"""Pre-approval lists: who can be on one, that lines are taken back, and that nothing can be read from the order."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from support import small_models, world
from support.world import ALL, CRITERIA, LISTING, ORDINARY

from compliance import criteria, ids
from compliance.act import open_act, open_view
from compliance.canonical import digest
from compliance.refusals import NotFound, Refusal, Unacceptable
from compliance.vocabulary import Category, PartnerKind
from consent import grants
from consent.permits import BUSINESS_ZONE
from partners import list_criteria, prescreens
from partners.prescreens import ListNotReady, Offer
from scoring import policy, population, release
from scoring.release import NoLawfulChannel


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return await world.a_bank()


async def all_granted(bank, count, **how):
    people = await world.persons(count, **how)
    return {person.user: (person, await world.granted(person, bank, LISTING)) for person in people}


async def entries(bank, prescreen, after=None, limit=500):
    async with open_act(bank, LISTING) as act:
        return await prescreens.entries(act, prescreen, after=after, limit=limit)


async def recalls(bank, prescreen, after=None, limit=500):
    async with open_act(bank, LISTING) as act:
        return await prescreens.recalls(act, prescreen, after=after, limit=limit)


async def listed(bank, **changes):
    """Ask for a list, have it made, read it; returns its id and its entries."""
    prescreen = await world.list_wanted(bank, **changes)
    row = await world.list_made()
    return prescreen, await entries(bank, prescreen) if row.state == "ready" else []


async def test_everybody_who_may_be_listed_is_and_nobody_else(bank, owner):
    """One of each kind that a list must never hold, each otherwise like those who are on it."""
    right = await all_granted(bank, 4)
    unsaid = {name: value for name, value in ORDINARY.items() if name != "is_student"}
    attributes = {"student": ORDINARY | {"is_student": True}, "perhaps a student": unsaid}
    wrong = {}
    for name in (*attributes, "minor", "unknown age", "objects", "paused", "expired", "withdrawn"):
        (person,) = await world.persons(1, attributes=attributes.get(name, ORDINARY))
        wrong[name] = (person, await world.granted(person, bank, LISTING))
    (ungranted,) = await world.persons(1)
    await world.granted(ungranted, bank)  # for scoring, not for lists
    who, grant = "update consent_person set {} where id = $1", "update consent_grant set {} where id = $1"
    await owner.execute(who.format("born_on = current_date - interval '17 years'"), wrong["minor"][0].user)
    await owner.execute(who.format("born_on = null"), wrong["unknown age"][0].user)
    await owner.execute(who.format("objected_to_prescreen_at = now()"), wrong["objects"][0].user)
    await owner.execute(grant.format("state = 'paused'"), wrong["paused"][1].id)
    await owner.execute(grant.format("expires_at = now()"), wrong["expired"][1].id)
    await world.withdrawn(wrong["withdrawn"][0], wrong["withdrawn"][1].id)
    _, found = await listed(bank)
    assert {entry.user_id for entry in found} == set(right)
    assert {entry.grant_id for entry in found} == {grant.id for _, grant in right.values()}


async def test_the_cap_keeps_the_best(bank):
    people = await all_granted(bank, 12)
    matrix, _ = small_models.people()
    rows = np.array(world.rich_rows()[:12])
    points = (
        small_models.loaded()
        .evaluate_many(
            np.asarray(matrix.values[rows]),
            {c: v[rows] for c, v in matrix.events.items()},
            {c: v[rows] for c, v in matrix.active_days.items()},
            np.ones((12, len(ALL)), bool),
        )
        .points
    )
    _, found = await listed(bank, cap=5)
    got = sorted(int(p) for p, user in zip(points, people, strict=True) if user in {e.user_id for e in found})
    assert got == sorted(int(p) for p in points)[-5:]


async def test_criteria_choose(bank):
    east = await all_granted(bank, 3)
    await all_granted(bank, 3, attributes=ORDINARY | {"region": "west"})
    await all_granted(bank, 2, attributes=ORDINARY | {"region": None})
    _, found = await listed(bank, criteria={"op": "=", "args": [{"property": "region"}, "east"]})
    assert {entry.user_id for entry in found} == set(east)
    not_west = {"op": "not", "args": [{"op": "=", "args": [{"property": "region"}, "west"]}]}
    _, found = await listed(bank, criteria=not_west)
    assert {entry.user_id for entry in found} == set(east)  # unknown is not "not west"


@pytest.mark.parametrize(
    ("attribute", "value"), [("region", "east"), ("income_band", "4500_7999"), ("age_band", "35_44")]
)
async def test_what_somebody_does_not_share_never_meets_a_criterion(bank, attribute, value):
    """Nor is anybody met by its absence."""
    share, keep = await world.persons(2, born_on=datetime.now(UTC).date() - timedelta(days=40 * 366))
    await world.granted(share, bank, LISTING)
    await world.granted(keep, bank, LISTING, categories=ALL - {Category.DECLARED})
    asked = {"op": "=", "args": [{"property": attribute}, value]}
    assert {e.user_id for e in (await listed(bank, criteria=asked))[1]} == {share.user}
    inverse = {"op": "not", "args": [{"op": "<>", "args": [{"property": attribute}, value]}]}
    assert {e.user_id for e in (await listed(bank, criteria=inverse))[1]} == {share.user}
    either = {"op": "or", "args": [CRITERIA, asked]}
    assert {e.user_id for e in (await listed(bank, criteria=either))[1]} == {share.user, keep.user}
    for absent in (
        is_null(attribute),
        {"op": "not", "args": [{"op": "or", "args": [asked, is_null(attribute)]}]},
    ):
        with pytest.raises(Unacceptable) as refused:
            await world.list_wanted(bank, criteria=absent)
        assert [f.code for f in refused.value.faults] == ["is_null_not_allowed"]


def is_null(attribute):
    return {"op": "isNull", "args": [{"property": attribute}]}


async def test_age_and_band_choose(bank):
    young = await all_granted(bank, 2, born_on=datetime.now(UTC).date() - timedelta(days=20 * 366))
    older = await all_granted(bank, 2)
    band = {"op": "in", "args": [{"property": "age_band"}, ["18_24"]]}
    assert {e.user_id for e in (await listed(bank, criteria=band))[1]} == set(young)
    none = {"op": "in", "args": [{"property": "band"}, ["A"]]}
    prescreen, found = await listed(bank, criteria=none)  # the small model gives nobody an A
    assert found == []
    async with open_view(bank) as view:
        row = await prescreens.find(view, prescreen)
    assert (row.state, row.why_failed) == ("failed", "too_few_people")
    assert older
    assert max(small_models.loaded().manifest.cutoffs) == policy.STANDARD_CUTOFFS[0]


async def test_too_few_people_is_no_list(bank, owner):
    await all_granted(bank, 5)
    prescreen = await world.list_wanted(bank)
    row = await world.list_made(entries_min=6)
    assert (row.state, row.why_failed, row.entries) == ("failed", "too_few_people", None)
    assert await owner.fetchval("select count(*) from partners_entry") == 0
    with pytest.raises(ListNotReady):
        await entries(bank, prescreen)
    again = await world.list_wanted(bank)
    assert (await world.list_made(entries_min=5)).state == "ready"
    assert len(await entries(bank, again)) == 5


async def waiting(owner):
    return await owner.fetchval("select count(*) from partners_prescreen where state = 'approved'")


async def test_with_no_channel_open_nobodys_features_are_read(ground, owner, monkeypatch):
    """The list fails for good with the refusal's code, and the next one that waits is made."""
    await world.put_model_in_use()
    bank = await world.a_bank()
    await all_granted(bank, 3)
    await world.list_wanted(bank)

    async def read(*_):
        pytest.fail("features were read")

    with monkeypatch.context() as patched:
        patched.setattr(population, "read_everybody", read)
        row = await world.list_made()
    assert (row.state, row.why_failed) == ("failed", "no_lawful_channel")
    assert await owner.fetchval("select count(*) from partners_entry") == 0
    assert (await world.kinds(owner))[-1] == "prescreen_failed"
    assert await waiting(owner) == 0
    await world.open_channel()
    assert len((await listed(bank))[1]) == 3


@pytest.mark.parametrize(
    ("spoilt", "code"),
    [
        ("update scoring_model set state = 'candidate'", "no_model"),
        ("delete from scoring_feature", "not_found"),
    ],
)
async def test_a_list_that_cannot_be_made_holds_up_no_other(bank, owner, spoilt, code):
    await all_granted(bank, 3)
    await world.list_wanted(bank)
    await owner.execute(spoilt)
    row = await world.list_made()
    assert (row.state, row.why_failed) == ("failed", code)
    assert await waiting(owner) == 0


async def test_reading_a_list_releases_it_again(bank, owner):
    await all_granted(bank, 2)
    prescreen, found = await listed(bank)
    assert len(found) == 2
    async with open_act(world.OFFICER, None) as act:
        await release.remove_licence(act, "operator")
    with pytest.raises(NoLawfulChannel):
        await entries(bank, prescreen)
    assert (await world.kinds(owner)).count("entry_delivered") == 2
    await world.open_channel()
    assert len(await entries(bank, prescreen)) == 2


@pytest.mark.parametrize(
    "changed",
    [
        "born_on = current_date - interval '17 years'",
        "born_on = null",
        "objected_to_prescreen_at = now()",
    ],
)
async def test_who_may_not_be_listed_any_more_is_not_handed_over(bank, owner, changed):
    """Also where nothing recalled the line: the person is looked at anew."""
    people = list(await all_granted(bank, 3))
    prescreen, _ = await listed(bank)
    await owner.execute(f"update consent_person set {changed} where id = $1", people[0])
    assert {e.user_id for e in await entries(bank, prescreen)} == set(people[1:])


async def test_a_page_counts_one_use_of_each_grant_and_a_month_has_an_end(bank, owner):
    often, seldom = await world.persons(2)
    grants_of = {
        person.user: await world.granted(person, bank, LISTING, calls_per_month=calls)
        for person, calls in ((often, 30), (seldom, 2))
    }
    prescreen, first = await listed(bank)
    assert len(first) == 2
    by_use = {e.user_id for e in await entries(bank, prescreen, limit=2)}
    assert by_use == {often.user, seldom.user}
    assert [e.user_id for e in await entries(bank, prescreen)] == [often.user]
    used = await owner.fetch("select grant_id, calls from consent_use where month <= current_date")
    calls = {r["grant_id"]: r["calls"] for r in used}
    assert calls == {grants_of[often.user].id: 3, grants_of[seldom.user].id: 2}


async def test_two_readers_at_once_share_the_last_use(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank, LISTING, calls_per_month=1)
    both = [await world.list_wanted(bank) for _ in range(2)]
    for _ in both:
        await world.list_made()
    has_read, leave = asyncio.Event(), asyncio.Event()

    async def first() -> int:
        async with open_act(bank, LISTING) as act:
            page = await prescreens.entries(act, both[0], after=None, limit=500)
            has_read.set()
            await leave.wait()
            return len(page)

    one = asyncio.create_task(first())
    await has_read.wait()
    other = asyncio.create_task(entries(bank, both[1]))
    await asyncio.wait(
        {other}, timeout=0.3
    )  # time enough to see the count as it was before the first commits
    leave.set()
    assert (await one, await other) == (1, [])


async def test_who_withdraws_while_the_list_is_made_is_not_on_it(bank, owner, monkeypatch):
    """The grants are looked at again, and locked, after the choice."""
    people = await all_granted(bank, 3)
    gone, grant = next(iter(people.values()))
    chosen = prescreens._best

    is_chosen, is_gone = asyncio.Event(), asyncio.Event()

    async def slowly(*given):
        users = await chosen(*given)
        is_chosen.set()
        await asyncio.wait_for(is_gone.wait(), 20)
        return users

    async def leaves():
        await is_chosen.wait()
        await world.withdrawn(gone, grant.id)
        is_gone.set()

    monkeypatch.setattr(prescreens, "_best", slowly)
    leaving = asyncio.create_task(leaves())
    _, found = await listed(bank)
    await leaving
    assert {e.user_id for e in found} == set(people) - {gone.user}
    assert await owner.fetchval("select count(*) from partners_entry") == 2
    late = await world.list_wanted(bank)
    monkeypatch.setattr(prescreens, "_best", chosen)
    row = await world.list_made(entries_min=3)
    assert (row.id, row.why_failed) == (late, "too_few_people")


async def test_a_line_ends_with_its_grant(bank, owner):
    short, long = await world.persons(2)
    soon = await world.granted(short, bank, LISTING, period_days=7)
    await world.granted(long, bank, LISTING)
    prescreen = await world.list_wanted(bank, valid_until=datetime.now(UTC) + timedelta(days=20))
    made = await world.list_made()
    until = {e.user_id: e.valid_until for e in await entries(bank, prescreen)}
    assert until == {short.user: soon.expires_at, long.user: made.valid_until}


async def test_a_consent_through_a_bureau_is_none_to_be_listed_by_the_bank(bank):
    direct = await all_granted(bank, 1)
    bureau = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU)
    await world.open_channel(bureau.partner, bank.partner)
    (person,) = await world.persons(1)
    await world.granted(person, bureau, LISTING, recipient=bank.partner, bureau=bureau.partner)
    assert {e.user_id for e in (await listed(bank))[1]} == set(direct)


async def test_the_order_says_nothing_and_the_digest_binds_the_list(bank):
    await all_granted(bank, 12)
    prescreen, found = await listed(bank)
    assert [e.id for e in found] == sorted(e.id for e in found)
    assert len({e.id.bytes[:6] for e in found}) == 12  # random from the first bit: no time of making in it
    async with open_view(bank) as view:
        row = await prescreens.find(view, prescreen)
    names = [ids.public("ent", e.id) for e in found]
    assert row.snapshot == digest({"criteria": row.criteria_digest, "offer": row.offer, "entries": names})
    assert row.criteria_digest == criteria.digest(list_criteria.read(CRITERIA))
    assert {(e.limit_minor, e.daily_rate) for e in found} == {(500_000, "0.0004")}


async def test_reading_is_recorded_for_each_person(bank, owner):
    people = await all_granted(bank, 3)
    await listed(bank)
    delivered = await owner.fetch("select person from compliance_fact where kind = 'entry_delivered'")
    assert {r["person"] for r in delivered} == set(people)


async def test_who_withdraws_is_off_the_list_and_recalled(bank, owner):
    people = await all_granted(bank, 4)
    prescreen, found = await listed(bank)
    person, grant = people[found[1].user_id]
    await world.withdrawn(person, grant.id)
    assert [e.id for e in await entries(bank, prescreen)] == [e.id for e in found if e.id != found[1].id]
    (line,) = await recalls(bank, prescreen)
    assert (line["entry"], line["reason"]) == (found[1].id, "withdrawn")
    assert line["recalled_on"] == datetime.now(BUSINESS_ZONE).date()
    assert "recalled_at" not in line  # a time to the second would link one person's lines on several lists
    assert await recalls(bank, prescreen, after=(line["transaction"], str(line["seq"]))) == []
    kinds = await world.kinds(owner, grant_id=grant.id)
    assert kinds.index("grant_withdrawn") < kinds.index("entries_recalled")
    assert "entry_delivered" not in kinds[kinds.index("grant_withdrawn") :]


async def test_expiry_takes_a_line_off_before_any_job_notes_it(bank, owner):
    people = await all_granted(bank, 2)
    prescreen, _ = await listed(bank)
    user, (_, grant) = next(iter(people.items()))
    await owner.execute("update consent_grant set expires_at = now() where id = $1", grant.id)
    assert user not in {e.user_id for e in await entries(bank, prescreen)}


async def test_pages_never_repeat_or_skip_while_people_withdraw(bank):
    people = await all_granted(bank, 12)
    prescreen, found = await listed(bank)
    seen, after = [], None
    for _ in range(20):
        page = await entries(bank, prescreen, after, limit=3)
        if not page:
            break
        seen += [e.id for e in page]
        after = page[-1].id
        person, grant = people[page[0].user_id]
        await world.withdrawn(person, grant.id)
    assert seen == [e.id for e in found]
    assert len(await recalls(bank, prescreen)) == 4


async def test_a_recall_that_commits_late_is_never_skipped(bank, owner):
    """One withdrawal takes its number first and commits last; the cursor waits for it."""
    people = list((await all_granted(bank, 3)).values())
    prescreen, _ = await listed(bank)
    inside, leave = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        person, grant = people[0]
        async with open_act(person, None) as act:
            await grants.withdraw(act, grant.id)
            inside.set()
            await leave.wait()

    running = asyncio.create_task(slow())
    await inside.wait()
    await world.withdrawn(people[1][0], people[1][1].id)
    assert await recalls(bank, prescreen) == []  # held back until the slow one is settled
    leave.set()
    await running
    read, after = [], None
    for _ in range(3):
        page = await recalls(bank, prescreen, after, limit=1)
        if page:
            read.append(page[0]["entry"])
            after = (page[0]["transaction"], str(page[0]["seq"]))
    assert set(read) == {
        r["id"] for r in await owner.fetch("select id from partners_entry where recalled_at is not null")
    }
    assert len(read) == 2


async def test_reading_a_list_and_withdrawing_at_once_leave_an_order_that_holds(bank, owner):
    people = await all_granted(bank, 8)
    prescreen, _ = await listed(bank)
    over = asyncio.Event()

    async def keeps_reading() -> None:
        while not over.is_set():
            await entries(bank, prescreen)

    reading = [asyncio.create_task(keeps_reading()) for _ in range(2)]
    for person, grant in people.values():
        await asyncio.sleep(0.01)
        await asyncio.wait_for(world.withdrawn(person, grant.id), 20)
    over.set()
    await asyncio.gather(*reading)
    for _, grant in people.values():
        kinds = await world.kinds(owner, grant_id=grant.id)
        assert "entry_delivered" not in kinds[kinds.index("grant_withdrawn") :]


async def test_another_banks_list_does_not_exist(bank):
    await all_granted(bank, 2)
    prescreen, _ = await listed(bank)
    other = await world.a_bank("beta")
    for look in (entries, recalls):
        with pytest.raises(NotFound):
            await look(other, prescreen)
    with pytest.raises(NotFound):
        async with open_view(other) as view:
            await prescreens.find(view, prescreen)


async def test_an_expired_list_is_closed(bank, owner):
    await all_granted(bank, 2)
    prescreen, _ = await listed(bank)
    await owner.execute("update partners_prescreen set valid_until = now()")
    with pytest.raises(ListNotReady, match="expired"):
        await entries(bank, prescreen)


async def test_a_person_in_two_lists_has_two_ids(bank):
    await all_granted(bank, 3)
    _, first = await listed(bank)
    _, second = await listed(bank)
    assert {e.user_id for e in first} == {e.user_id for e in second}
    assert not {e.id for e in first} & {e.id for e in second}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"cap": 0}, Unacceptable),
        ({"cap": prescreens.CAP_MAX + 1}, Unacceptable),
        ({"criteria": {"op": "=", "args": [{"property": "sex"}, "f"]}}, Refusal),
        ({"criteria": {"op": "=", "args": [{"property": "is_student"}, True]}}, Refusal),
        ({"criteria": {"op": "=", "args": [{"property": "user_id"}, "x"]}}, Refusal),
        ({"criteria": []}, Refusal),
        ({"criteria": "band = A"}, Refusal),
    ],
)
async def test_what_cannot_be_asked_for(ground, owner, changes, refusal):
    bank = await world.a_bank()
    with pytest.raises(refusal):
        await world.list_wanted(bank, **changes)
    assert await owner.fetchval("select count(*) from partners_prescreen") == 0


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"product": "prd"}, ["/offer/product"]),
        ({"product": f"prd_{'0' * 26}"}, ["/offer/product"]),
        ({"currency": "USD"}, ["/offer/currency"]),
        ({"limit_minor": 99_999}, ["/offer/limit_minor"]),
        ({"limit_minor": 5_000_001, "daily_rate": "0.0005"}, ["/offer/limit_minor", "/offer/daily_rate"]),
        ({"limit_minor": 5_000_000, "daily_rate": "0.00040"}, []),
    ],
)
async def test_an_offer_is_what_the_banks_own_product_says(ground, changes, pointers):
    bank = await world.a_bank()
    offer = replace(Offer(await world.product_of(bank), 500_000, "CNY", "0.0004"), **changes)
    if not pointers:
        assert await world.list_wanted(bank, offer=offer)
        return
    with pytest.raises(Unacceptable) as refused:
        await world.list_wanted(bank, offer=offer)
    assert [f.pointer for f in refused.value.faults] == pointers


async def test_no_product_of_another_bank_and_none_that_is_not_open(ground, owner):
    bank, other = await world.a_bank(), await world.a_bank("beta")
    for product in (await world.product_of(other), await world.product_of(bank)):
        await owner.execute(
            "update partners_product set open_from = '2039-01-01' where partner = $1", bank.partner
        )
        offer = Offer(product, 500_000, "CNY", "0.0004")
        with pytest.raises(Unacceptable) as refused:
            await world.list_wanted(bank, offer=offer)
        assert [f.code for f in refused.value.faults] == ["not_your_product"]


@pytest.mark.parametrize("offset", [-timedelta(seconds=1), prescreens.VALID_MAX + timedelta(minutes=1)])
async def test_a_list_holds_for_a_bounded_time(ground, offset):
    bank = await world.a_bank()
    until = datetime.now(UTC) + offset
    with pytest.raises(Unacceptable):
        await world.list_wanted(bank, valid_until=until)
