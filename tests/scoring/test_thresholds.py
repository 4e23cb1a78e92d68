"""Above or below one cut-off: two people set it, the answer stays, and whoever asks in many ways learns no more."""

import asyncio
import math
from contextvars import Context
from datetime import timedelta
from uuid import uuid4

import pytest
from support import world
from support.lending import a_product
from support.world import ALL, MANAGER, OFFICER, SCORING, told

from api.v1 import scores as wire
from compliance import ids
from compliance.act import open_act, open_upkeep
from compliance.refusals import NotFound, SamePerson
from compliance.vocabulary import AnswerForm, PartnerKind, StaffRole, Worker
from consent.permits import ConsentWithdrawn
from partners import prescreens
from scoring import budget
from scoring.answers import thresholds
from scoring.answers.thresholds import CutoffChangedTooOften, NoCutoff
from scoring.budget import BITS, BITS_MAX, Disclosure, InformationBudgetSpent
from scoring.policy import HIGHEST_POINTS, LOWEST_POINTS
from scoring.release import NoLawfulChannel
from scoring.scores import AnswerNotGranted

THRESHOLD = AnswerForm.THRESHOLD


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return await world.a_bank()


async def a_cutoff(bank, points: int):
    """A product of the bank's with a cut-off that two people stand behind."""
    product = await a_product(bank.partner)
    await set_cutoff(bank, product, points)
    return product


async def set_cutoff(bank, product, points: int):
    async with open_act(MANAGER, None) as act:
        row = await thresholds.record_cutoff(act, bank.partner, product, points)
    return await approved(row)


async def approved(row):
    async with open_act(OFFICER, None) as act:
        return await thresholds.approve_cutoff(act, row.id)


async def asked(bank, person, product, wanted=ALL):
    async with open_act(bank, SCORING) as act:
        released = await thresholds.issue(act, person.user, wanted, product=product)
        return wire.view(released)


async def days_go_by(owner, days: int) -> None:
    """Everything happened so much earlier."""
    for table, column in (
        ("scoring_score", "issued_at"),
        ("scoring_disclosure", "told_at"),
        ("scoring_cutoff", "approved_at"),
    ):
        await owner.execute(f"update {table} set {column} = {column} - $1::interval", timedelta(days=days))


async def points_of(bank, person) -> int:
    await world.granted(person, bank)
    return (await world.scored(bank, person)).points


async def test_it_says_above_or_not_and_nothing_else(bank):
    known, person = await world.persons(2, rows=(world.rich_rows()[0],))
    points = await points_of(bank, known)
    at, over = await a_cutoff(bank, points), await a_cutoff(bank, points + 1)
    await world.granted(person, bank, answer=THRESHOLD)
    told = [await asked(bank, person, product) for product in (at, over)]
    assert [each.above for each in told] == [True, False]
    for each in told:
        assert (each.points, each.band, each.probability, each.confidence, each.reasons) == (None,) * 5


async def test_the_answer_stays_when_the_cutoff_the_model_or_the_data_change(bank, owner):
    (person,) = await world.persons(1, rows=(world.rich_rows()[0],))
    product = await a_cutoff(bank, LOWEST_POINTS)
    await world.granted(person, bank, answer=THRESHOLD)
    first = await asked(bank, person, product)
    await days_go_by(owner, 89)
    await owner.execute("update scoring_cutoff set approved_at = approved_at - interval '2 days'")
    await set_cutoff(bank, product, HIGHEST_POINTS)
    await owner.execute("update scoring_feature set snapshot = 'another'")
    again = await asked(bank, person, product)
    assert (again.above, again.id, again.issued_at[:4]) == (True, first.id, again.issued_at[:4])
    await days_go_by(owner, 2)
    assert (await asked(bank, person, product)).above is False


async def test_without_a_cutoff_that_two_people_stand_behind_there_is_no_answer(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank, answer=THRESHOLD)
    product = await a_product(bank.partner)
    async with open_act(MANAGER, None) as act:
        row = await thresholds.record_cutoff(act, bank.partner, product, 600)
    with pytest.raises(NoCutoff):
        await asked(bank, person, product)
    with pytest.raises(SamePerson):
        async with open_act(MANAGER, None) as act:
            await thresholds.approve_cutoff(act, row.id)
    with pytest.raises(NotFound):
        async with open_act(OFFICER, None) as act:
            await thresholds.approve_cutoff(act, uuid4())


async def test_another_banks_cutoff_is_none_of_this_banks(bank):
    (person,) = await world.persons(1)
    other = await world.a_bank("beta")
    product = await a_cutoff(other, 600)
    await world.granted(person, bank, answer=THRESHOLD)
    with pytest.raises(NoCutoff):
        await asked(bank, person, product)


async def test_a_cutoff_changes_once_in_90_days(bank, owner):
    product = await a_cutoff(bank, 600)
    with pytest.raises(CutoffChangedTooOften):
        await set_cutoff(bank, product, 610)
    await days_go_by(owner, 90)
    for _ in range(2):
        await approved(await set_cutoff(bank, product, 610))
        await days_go_by(owner, 91)


async def recorded(bank, product, points):
    async with open_act(MANAGER, None) as act:
        return await thresholds.record_cutoff(act, bank.partner, product, points)


async def test_one_change_waits_at_a_time_and_not_for_ever(bank, owner):
    product = await a_product(bank.partner)
    first = await recorded(bank, product, 610)
    with pytest.raises(CutoffChangedTooOften):
        await recorded(bank, product, 620)
    await owner.execute("update scoring_cutoff set recorded_at = recorded_at - interval '8 days'")
    second = await recorded(bank, product, 620)
    await approved(second)
    await approved(second)
    with pytest.raises(CutoffChangedTooOften):
        await approved(first)


async def test_of_two_changes_at_once_one_counts(bank, owner):
    """Both people come to the same moment, each in a transaction of their own."""
    both = asyncio.Barrier(2)

    async def at_once(principal, change):
        async with open_act(principal, None) as act:
            await both.wait()
            return await change(act)

    async def changed(principal, *changes):
        tasks = [asyncio.create_task(at_once(principal, each), context=Context()) for each in changes]
        return await asyncio.gather(*tasks, return_exceptions=True)

    def record(points):
        return lambda act: thresholds.record_cutoff(act, bank.partner, product, points)

    def approve(row):
        return lambda act: thresholds.approve_cutoff(act, row.id)

    product = await a_product(bank.partner)
    outcomes = await changed(MANAGER, record(610), record(620))
    assert sum(isinstance(each, CutoffChangedTooOften) for each in outcomes) == 1
    await owner.execute("update scoring_cutoff set recorded_at = recorded_at - interval '8 days'")
    (first,) = [each for each in outcomes if not isinstance(each, CutoffChangedTooOften)]
    outcomes = await changed(OFFICER, approve(first), approve(await recorded(bank, product, 630)))
    assert sum(isinstance(each, CutoffChangedTooOften) for each in outcomes) == 1
    assert await owner.fetchval("select count(*) from scoring_cutoff where approved_at is not null") == 1


@pytest.mark.parametrize(
    ("agreed", "told"),
    [("full", {"full", "band", "threshold"}), ("band", {"band", "threshold"}), ("threshold", {"threshold"})],
)
async def test_what_was_agreed_to_bounds_what_may_be_asked(bank, agreed, told):
    (person,) = await world.persons(1)
    product = await a_cutoff(bank, 600)
    await world.granted(person, bank, answer=AnswerForm(agreed))
    answered = set()
    for form in AnswerForm:
        try:
            if form is THRESHOLD:
                await asked(bank, person, product)
            else:
                await world.scored(bank, person, answer=form)
        except AnswerNotGranted:
            continue
        answered.add(form.value)
    assert answered == told


async def test_a_withdrawn_consent_takes_the_kept_answer_with_it(bank):
    (person,) = await world.persons(1)
    product = await a_cutoff(bank, 600)
    grant = await world.granted(person, bank, answer=THRESHOLD)
    first = await asked(bank, person, product)
    await world.withdrawn(person, grant.id)
    with pytest.raises(ConsentWithdrawn):
        await asked(bank, person, product)
    await world.granted(person, bank, answer=THRESHOLD)
    assert (await asked(bank, person, product)).id != first.id


async def test_a_new_consent_is_no_way_to_another_cutoff(bank, owner):
    """Withdrawn and given again, with a cut-off that moved each time: the first one is asked about, within the budget."""
    (person,) = await world.persons(1, rows=(world.rich_rows()[0],))
    product = await a_product(bank.partner)
    told = []
    for cutoff in range(LOWEST_POINTS + 100, HIGHEST_POINTS, 100):
        await set_cutoff(bank, product, cutoff)
        grant = await world.granted(person, bank, answer=THRESHOLD)
        told.append(await asked(bank, person, product))
        await world.withdrawn(person, grant.id)
        await owner.execute("update scoring_cutoff set approved_at = approved_at - interval '91 days'")
    assert len({each.id for each in told}) == len(told) > 2
    assert len({each.above for each in told}) == 1
    assert await owner.fetchval("select count(distinct cutoff) from scoring_score") == 1
    assert await owner.fetchval("select sum(bits) from scoring_disclosure") == 1


async def test_another_cutoff_is_another_question(bank, owner):
    (person,) = await world.persons(1, rows=(world.rich_rows()[0],))
    product = await a_product(bank.partner)
    await world.granted(person, bank, answer=THRESHOLD)
    for cutoff in (500, 600):
        await set_cutoff(bank, product, cutoff)
        await asked(bank, person, product)
        await owner.execute("update scoring_cutoff set approved_at = approved_at - interval '91 days'")
        await owner.execute("update scoring_score set issued_at = issued_at - interval '91 days'")
    assert await owner.fetchval("select sum(bits) from scoring_disclosure") == 2


async def test_no_channel_no_answer_though_one_is_kept(bank, owner):
    (person,) = await world.persons(1)
    product = await a_cutoff(bank, 600)
    await world.granted(person, bank, answer=THRESHOLD)
    await asked(bank, person, product)
    await owner.execute("update scoring_licence set removed_at = now()")
    with pytest.raises(NoLawfulChannel):
        await asked(bank, person, product)


async def test_over_http(database, home):
    async with world.opened(database, home) as here:
        await world.put_model_in_use()
        await world.open_channel()
        software = await here.software()
        (person,) = await world.persons(1)
        product = ids.public("prd", await a_product(software.client.partner))
        manager = await here.console(StaffRole.PARTNER_MANAGER)
        officer = await here.console(StaffRole.COMPLIANCE_OFFICER)
        body = {"product": product, "points": LOWEST_POINTS}
        set_by_one = told(await manager.call("POST", "/v1/operator/cutoffs", body), 201)
        approval = f"/v1/operator/cutoffs/{set_by_one['id']}/approval"
        assert told(await manager.call("POST", approval), 409)["code"] == "same_person"
        in_force = told(await officer.call("POST", approval), 200)
        assert told(await officer.call("GET", "/v1/operator/cutoffs"), 200)["items"] == [in_force]
        again = told(await manager.call("POST", "/v1/operator/cutoffs", body), 409)
        assert again["code"] == "cutoff_changed_too_often"
        nowhere = body | {"product": ids.public("prd", uuid4())}
        told(await manager.call("POST", "/v1/operator/cutoffs", nowhere), 404)
        told(await manager.call("POST", "/v1/operator/cutoffs", body | {"points": 951}), 422)
        await world.granted(person, software.client, answer=THRESHOLD)
        asking = {
            "user": await world.pseudonym_of(person, software.client),
            "purpose": "credit_assessment",
            "categories": sorted(ALL),
            "answer": "threshold",
        }
        for wrong in (asking, asking | {"answer": "band", "product": product}):
            refused = told(await software.call("POST", "/v1/scores", wrong), 422)
            assert refused["errors"][0]["pointer"] == "/product"
        made = told(await software.call("POST", "/v1/scores", asking | {"product": product}), 201)
        assert (made["above"], made["product"]) == (True, product)
        assert not made.keys() & {"points", "band", "probability", "confidence", "reasons"}
        assert told(await software.call("GET", f"/v1/scores/{made['id']}"), 200) == made
        assert told(await software.call("POST", "/v1/scores", asking | {"product": product}), 201) == made
        full = asking | {"answer": "full"}
        assert told(await software.call("POST", "/v1/scores", full), 403)["code"] == "answer_not_granted"
        browser = await here.browser(person)
        grant = told(await browser.call("GET", "/v1/me/grants"), 200)["items"][0]
        assert "分数线" in (await browser.call("GET", f"/me/grants/{grant['id']}")).text


# The budget


async def test_a_bank_that_bisects_over_many_products_learns_no_more_than_the_budget_says(bank, owner):
    """The best it can do: products with cut-offs all over the scale, each question chosen by the last answer."""
    known, person = await world.persons(2, rows=(world.rich_rows()[0],))
    points = await points_of(bank, known)
    spread = range(LOWEST_POINTS + 50, HIGHEST_POINTS, 50)
    products = {cutoff: await a_cutoff(bank, cutoff) for cutoff in spread}
    await world.granted(person, bank, answer=THRESHOLD)
    low, high, questions = LOWEST_POINTS, HIGHEST_POINTS + 1, 0
    while True:
        between = [cutoff for cutoff in spread if low < cutoff < high]
        cutoff = between[len(between) // 2]
        try:
            told = await asked(bank, person, products[cutoff])
        except InformationBudgetSpent:
            break
        questions += 1
        low, high = (cutoff, high) if told.above else (low, cutoff)
        # Asked again, about whatever it knows already, in whatever way: nothing new.
        assert (await asked(bank, person, products[cutoff])).above == told.above
    assert questions == BITS_MAX[THRESHOLD] // BITS[Disclosure.THRESHOLD]
    assert low <= points < high
    everything = HIGHEST_POINTS + 1 - LOWEST_POINTS
    assert everything / (high - low) <= 2 ** BITS_MAX[THRESHOLD] * 1.1
    assert 2 ** BITS_MAX[THRESHOLD] < 5, "less than a band"
    await days_go_by(owner, 91)
    assert (await asked(bank, person, products[cutoff])).above == (points >= cutoff)


async def test_the_same_question_about_the_same_data_is_counted_once(bank, owner):
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    for _ in range(15):
        await world.scored(bank, person)
    assert await owner.fetchval("select sum(bits) from scoring_disclosure") == BITS[Disclosure.FULL]


async def test_new_data_are_counted_until_the_budget_is_spent(bank, owner):
    one, other = await world.persons(2)
    for person in (one, other):
        await world.granted(person, bank, answer=AnswerForm.BAND)
    for month in range(BITS_MAX[AnswerForm.BAND] // BITS[Disclosure.BAND]):
        await owner.execute("update scoring_feature set snapshot = $1", f"month {month}")
        await world.scored(bank, one, answer=AnswerForm.BAND)
    await owner.execute("update scoring_feature set snapshot = 'one more'")
    with pytest.raises(InformationBudgetSpent):
        await world.scored(bank, one, answer=AnswerForm.BAND)
    await world.scored(bank, other, answer=AnswerForm.BAND)
    rival = await world.a_bank("beta")
    await world.granted(one, rival, answer=AnswerForm.BAND)
    await world.scored(rival, one, answer=AnswerForm.BAND)


async def test_asking_with_other_categories_is_another_question(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank, answer=AnswerForm.BAND)
    some = sorted(ALL)
    for n in range(4):
        await world.scored(bank, person, ALL - {some[n]} if n else ALL, answer=AnswerForm.BAND)
    with pytest.raises(InformationBudgetSpent):
        await world.scored(bank, person, ALL - {some[0]}, answer=AnswerForm.BAND)


async def test_a_relay_spends_the_lenders_budget(bank, owner):
    (person,) = await world.persons(1)
    bureau = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU)
    await world.open_channel(bureau.partner, bank.partner)
    await world.granted(person, bank, answer=AnswerForm.BAND)
    await world.granted(person, bureau, recipient=bank.partner, bureau=bureau.partner, answer=AnswerForm.BAND)
    for n in range(4):
        await owner.execute("update scoring_feature set snapshot = $1", f"month {n}")
        await world.scored(bank, person, answer=AnswerForm.BAND)
    await owner.execute("update scoring_feature set snapshot = 'one more'")
    with pytest.raises(InformationBudgetSpent):
        await world.scored(bureau, person, answer=AnswerForm.BAND, recipient=bank.partner)


async def test_who_stands_on_a_list_is_counted_once_and_left_out_when_enough_was_told(bank, owner):
    people = await world.persons(3)
    for person in people:
        await world.granted(person, bank, world.LISTING)
    wanted = await world.list_wanted(bank)
    await world.list_made()
    await owner.execute(
        """insert into scoring_disclosure select gen_random_uuid(), $1, $2, gen_random_uuid(), 'full', $3, now()""",
        people[0].user, bank.partner, BITS_MAX[AnswerForm.FULL],
    )  # fmt: skip
    for _ in range(2):
        async with open_act(bank, world.LISTING) as act:
            told = await prescreens.entries(act, wanted, after=None, limit=10)
        assert {entry.user_id for entry in told} == {person.user for person in people[1:]}
    counted = await owner.fetch("select user_id, bits from scoring_disclosure where disclosure = 'list'")
    assert {(row["user_id"], row["bits"]) for row in counted} == {(person.user, 1) for person in people[1:]}


async def test_what_counts_no_more_is_forgotten(bank, owner):
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    await world.scored(bank, person)
    async with open_upkeep(Worker("clerk")) as upkeep:
        await budget.forget_old(upkeep)
    assert await owner.fetchval("select count(*) from scoring_disclosure") == 1
    await days_go_by(owner, 91)
    async with open_upkeep(Worker("clerk")) as upkeep:
        await budget.forget_old(upkeep)
    assert await owner.fetchval("select count(*) from scoring_disclosure") == 0


def test_bits_are_those_of_the_number_of_answers():
    assert BITS[Disclosure.FULL] == math.ceil(math.log2(HIGHEST_POINTS - LOWEST_POINTS + 1))
    assert BITS[Disclosure.BAND] == BITS[Disclosure.LIMIT] == math.ceil(math.log2(5))
    assert BITS[Disclosure.THRESHOLD] == BITS[Disclosure.LIST] == 1


async def test_a_forgotten_person_leaves_nothing(bank, owner):
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    await world.scored(bank, person)
    await world.deleted(person)
    assert await owner.fetchval("select count(*) from scoring_disclosure") == 0
