"""Suggested limits: a published rule, never above the product, from consents that live and within the budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import world
from support.lending import a_product
from support.world import ALL, SCORING, told

from compliance import ids
from compliance.act import open_act
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import AnswerForm, Category, Purpose
from consent import access_log, disputes, permits
from consent.permits import ConsentWithdrawn
from scoring.answers import corrections, incomes, limits
from scoring.answers import given as answers
from scoring.answers.limits import MONTHS, Frame, suggested
from scoring.budget import BITS_MAX
from scoring.policy import BANDS
from scoring.scores import AnswerNotGranted
from scoring.set_changes import SetChangedTooOften
from scoring.showing import ScoreSetAside

INCOME = Purpose.INCOME_ESTIMATE
PRODUCT = ids.random_id()
FRAME = Frame(PRODUCT, "CNY", 100_000, 5_000_000)
MONEY = st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("band", "low", "owed", "limit"),
    [
        ("A", 300_000, 0, 1_800_000),
        ("A", 333_300, 0, 1_900_000),
        ("C", 300_000, 120_000, 360_000),
        ("D", 190_000, 100_000, 0),
        ("E", 900_000, 0, 0),
        ("A", 2_000_000, 0, 5_000_000),
        ("B", 100_000, 200_000, 0),
    ],
)
def test_the_published_rule(band, low, owed, limit):
    assert suggested(low, owed, band, FRAME) == limit


@given(MONEY, MONEY, st.sampled_from(BANDS))
def test_never_above_the_product_nor_what_is_left(low, owed, band):
    limit = suggested(low, owed, band, FRAME)
    assert limit == 0 or FRAME.least_minor <= limit <= FRAME.most_minor
    assert limit <= MONTHS[band] * max(0, low - owed)
    assert len(str(limit).rstrip("0")) <= 2


@given(MONEY, MONEY, MONEY, st.sampled_from(BANDS))
def test_more_income_less_owed_and_a_better_band_never_lower_it(low, more, owed, band):
    limit = suggested(low, owed, band, FRAME)
    assert suggested(low + more, owed, band, FRAME) >= limit
    assert suggested(low, max(0, owed - more), band, FRAME) >= limit
    assert suggested(low, owed, BANDS[max(0, BANDS.index(band) - 1)], FRAME) >= limit


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.put_income_model_in_use()
    await world.open_channel()
    return await world.a_bank()


async def income_of(bank, person):
    async with open_act(bank, INCOME) as act:
        return (await incomes.issue(act, person.user, ALL)).value.row


async def asked(bank, person, income, frame=FRAME, owed=0):
    async with open_act(bank, SCORING) as act:
        released = await limits.issue(
            act, person.user, ALL, income=income, owed_minor=owed, frame=frame
        )  # fmt: skip
        return released.value.row


async def a_person(bank, **changes):
    (person,) = await world.persons(1)
    earned = await world.granted(person, bank, INCOME)
    await world.granted(person, bank, **changes)
    return person, earned, await income_of(bank, person)


async def test_it_follows_the_income_and_the_band_and_is_recorded(bank, owner):
    person, _, income = await a_person(bank)
    row = await asked(bank, person, income.id, owed=10_000)
    band = (await world.scored(bank, person)).band
    assert row.told["limit_minor"] == suggested(income.told["low"] * 100, 10_000, band, FRAME)
    assert row.told["formula"] == limits.FORMULA
    assert "limit_suggested" in await world.kinds(owner, person=person.user)


async def test_without_the_consent_to_the_income_there_is_none(bank):
    person, earned, income = await a_person(bank)
    await world.withdrawn(person, earned.id)
    with pytest.raises(ConsentWithdrawn):
        await asked(bank, person, income.id)


async def test_another_persons_or_banks_income_is_unknown(bank):
    person, _, income = await a_person(bank)
    other, _, _ = await a_person(bank)
    with pytest.raises(NotFound):
        await asked(bank, other, income.id)
    rival = await world.a_bank("beta")
    await world.granted(person, rival)
    with pytest.raises(NotFound):
        await asked(rival, person, income.id)


async def test_a_limit_tells_the_band_so_a_threshold_consent_is_too_short(bank):
    person, _, income = await a_person(bank, answer=AnswerForm.THRESHOLD)
    with pytest.raises(AnswerNotGranted):
        await asked(bank, person, income.id)


async def test_limits_and_scores_share_one_budget(bank, owner):
    person, _, income = await a_person(bank)
    for owed in (0, 10_000, 20_000):
        await asked(bank, person, income.id, owed=owed)
    await world.scored(bank, person)
    assert await owner.fetchval("select sum(bits) from scoring_disclosure") == 3 + 10 < BITS_MAX["full"]


SHOPPING = Category.SHOPPING


async def a_limit_from_wider_income(bank):
    """The income rests on shopping; the consent to the score does not."""
    person, earned, income = await a_person(bank, categories=ALL - {SHOPPING})
    assert SHOPPING in income.used
    return person, earned, income, await asked(bank, person, income.id)


async def shown(bank, limit):
    async with open_act(bank, SCORING) as act:
        return (await answers.show(act, limit.id, limits.KIND)).value


async def test_a_limit_rests_on_what_its_income_rests_on(bank):
    person, _, income, limit = await a_limit_from_wider_income(bank)
    assert set(limit.used) >= set(income.used)
    assert not set(limit.used) & set(limit.not_used)
    async with open_act(person, None) as act:
        await disputes.raise_category(act, permits.own_permit(act), SHOPPING, "Not mine.")
    assert (await shown(bank, limit)).disputed


async def test_what_its_income_rests_on_found_wrong_takes_the_limit_with_it(bank, owner):
    person, _, _, limit = await a_limit_from_wider_income(bank)
    async with open_act(person, None) as act:
        dispute = await disputes.raise_category(act, permits.own_permit(act), SHOPPING, "Not mine.")
    async with open_act(world.OFFICER, None) as act:
        looks = permits.staff_permit(act, "the person disputes it")
        await corrections.answer_dispute(act, looks, dispute.id, upheld=True, text="You are right.")
    assert await owner.fetchval("select bool_and(set_aside_at is not null) from scoring_answer")
    with pytest.raises(ScoreSetAside):
        await shown(bank, limit)


async def test_a_limit_is_shown_only_while_the_consent_to_its_income_lives(bank, owner):
    person, earned, income, limit = await a_limit_from_wider_income(bank)
    assert (await shown(bank, limit)).row.told == limit.told
    assert limit.valid_until <= income.valid_until
    await world.withdrawn(person, earned.id)
    with pytest.raises(ConsentWithdrawn):
        await shown(bank, limit)
    with pytest.raises(ConsentWithdrawn):
        async with open_act(bank, SCORING) as act:
            await answers.refuse_outdated(act, limit.id, disputed=False, automation_objected=False)


async def chosen(bank, person, sets):
    """Consents to one choice of data after another, each given when the last one was ended."""
    for categories in sets:
        grant = await world.granted(person, bank, categories=categories)
        yield
        await world.withdrawn(person, grant.id)


async def test_a_limit_counts_among_the_choices_of_data(bank, owner):
    """A third choice is refused whichever is asked for first, and however often: each tells the band."""
    (person,) = await world.persons(1)
    await world.granted(person, bank, INCOME)
    income = (await income_of(bank, person)).id
    some = sorted(ALL)
    async for _ in chosen(bank, person, [ALL, ALL - {some[0]}]):
        await asked(bank, person, income)
    for _ in range(2):
        async for _ in chosen(bank, person, [ALL - {some[1]}]):
            for ask in (asked(bank, person, income), world.scored(bank, person)):
                with pytest.raises(SetChangedTooOften):
                    await ask
    async for _ in chosen(bank, person, [ALL - {some[0]}]):
        assert await asked(bank, person, income)


async def test_an_answer_costs_no_look_at_the_choices_of_data_but_the_first(bank, monkeypatch):
    """One statement more for the first answer under a consent, and none for those after it."""
    person, _, income = await a_person(bank)
    looks, look = [], access_log.sets_used

    async def counted(*said):
        looks.append(said)
        return await look(*said)

    monkeypatch.setattr(access_log, "sets_used", counted)
    for _ in range(2):
        await asked(bank, person, income.id)
        await world.scored(bank, person)
    assert len(looks) == 1


async def test_an_old_income_or_another_currency_carries_no_limit(bank, owner):
    person, _, income = await a_person(bank)
    with pytest.raises(Unacceptable):
        await asked(bank, person, income.id, Frame(PRODUCT, "USD", 1, 10**6))
    await owner.execute("update scoring_answer set valid_until = now() - interval '1 second'")
    with pytest.raises(Unacceptable):
        await asked(bank, person, income.id)


async def test_over_http(database, home):
    async with world.opened(database, home) as here:
        await world.put_model_in_use()
        await world.put_income_model_in_use()
        await world.open_channel()
        software, rival = await here.software(), await here.software("beta")
        person, _, income = await a_person(software.client)
        product = ids.public("prd", await a_product(software.client.partner))
        body = {
            "user": await world.pseudonym_of(person, software.client),
            "purpose": "credit_assessment",
            "categories": sorted(ALL),
            "product": product,
            "income": ids.public("ans", income.id),
            "owed": {"amount_minor": 0, "currency": "CNY"},
        }
        made = await software.call("POST", "/v1/limits", body, key="one")
        limit = told(made, 201)
        assert limit["limit"]["amount_minor"] % 10 == 0
        assert told(await software.call("GET", made.headers["Location"]), 200) == limit
        assert told(await software.call("POST", "/v1/limits", body, key="one"), 201) == limit
        told(await rival.call("GET", made.headers["Location"]), 404)
        theirs = ids.public("prd", await a_product(rival.client.partner))
        told(await software.call("POST", "/v1/limits", body | {"product": theirs}), 422)
        dollars = {"amount_minor": 0, "currency": "USD"}
        told(await software.call("POST", "/v1/limits", body | {"owed": dollars}), 422)
        told(await software.call("GET", f"/v1/incomes/{limit['id']}"), 404)
        mine = told(await (await here.browser(person)).call("GET", "/v1/me/answers"), 200)["items"]
        assert mine[0]["limit"] == {
            name: limit[name] for name in ("limit", "formula", "product", "income", "owed")
        }
    assert answers.PURPOSES[limits.KIND] is SCORING
