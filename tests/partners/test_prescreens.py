"""Pre-approval lists: who can be on one, that lines are taken back, and that nothing can be read from the order."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from support import small_models, world
from support.world import ALL, CRITERIA, LISTING, ORDINARY

from compliance import criteria, criteria_json, ids
from compliance.act import open_act, open_view
from compliance.canonical import digest
from compliance.refusals import NotFound, Refusal, Unacceptable
from compliance.vocabulary import Category
from consent import grants
from partners import prescreens
from partners.prescreens import ListNotReady
from scoring import policy
from scoring.release import NoLawfulChannel

SHOPPING = frozenset({Category.SHOPPING})


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


async def test_a_list_is_an_evaluation_and_needs_a_channel(ground, owner):
    await world.put_model_in_use()
    bank = await world.a_bank()
    await all_granted(bank, 3)
    await world.list_wanted(bank)
    with pytest.raises(NoLawfulChannel):
        await world.list_made()
    assert await owner.fetchval("select count(*) from partners_entry") == 0


async def test_the_order_says_nothing_and_the_digest_binds_the_list(bank):
    await all_granted(bank, 12)
    prescreen, found = await listed(bank)
    assert [e.id for e in found] == sorted(e.id for e in found)
    assert len({e.id.bytes[:6] for e in found}) == 12  # random from the first bit: no time of making in it
    async with open_view(bank) as view:
        row = await prescreens.find(view, prescreen)
    names = [ids.public("ent", e.id) for e in found]
    assert row.snapshot == digest({"criteria": row.criteria_digest, "offer": row.offer, "entries": names})
    assert row.criteria_digest == criteria.digest(criteria_json.parse(CRITERIA, prescreens.CATALOGUE))
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
    assert await recalls(bank, prescreen, after=(line["transaction"], str(line["seq"]))) == []
    kinds = await world.kinds(owner, grant_id=grant.id)
    assert kinds.index("grant_withdrawn") < kinds.index("entry_recalled")
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


@pytest.mark.parametrize("offset", [-timedelta(seconds=1), prescreens.VALID_MAX + timedelta(minutes=1)])
async def test_a_list_holds_for_a_bounded_time(ground, offset):
    bank = await world.a_bank()
    until = datetime.now(UTC) + offset
    with pytest.raises(Unacceptable):
        await world.list_wanted(bank, valid_until=until)
