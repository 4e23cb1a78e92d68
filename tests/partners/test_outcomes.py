"""Outcomes: a lender's own report about its own referral or score, kept as it was made."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from support.lending import Market, a_client, a_lender, a_market
from support.world import STORY

from compliance.act import open_act
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import PartnerId, PartnerKind
from consent import endings
from partners import outcomes
from partners.outcomes import About, Decision, Outcome

pytestmark = pytest.mark.usefixtures("ground")
TODAY = datetime.now(UTC).date()
GOOD = Outcome(
    decision=Decision.APPROVED,
    decided_on=TODAY - timedelta(days=200),
    currency="CNY",
    approved_minor=600_000,
    disbursed_minor=600_000,
    observed_until=TODAY - timedelta(days=1),
    days_past_due_max=0,
    defaulted=False,
)


async def report(
    lender: PartnerId,
    outcome: Outcome,
    *,
    referral: UUID | None = None,
    score: UUID | None = None,
    entry: UUID | None = None,
) -> None:
    async with open_act(a_client(lender), None) as act:
        await outcomes.report(act, outcome, About(referral, score, entry))


async def picked() -> tuple[Market, UUID]:
    """Somebody picked an offer 200 days ago."""
    market = await a_market()
    referral = (await market.pick()).referral
    async with open_act(STORY, None) as act:
        referral.made_at -= timedelta(days=200)
        await referral.save(using_db=act.db, update_fields=["made_at"])
        act.record("score_replayed", {})
    return market, referral.id


async def test_a_report_is_kept_and_recorded(owner):
    market, referral = await picked()
    await report(market.lender, GOOD, referral=referral)
    row = await owner.fetchrow("select * from partners_outcome")
    assert (row["referral"], row["user_id"], row["partner"]) == (referral, market.person.user, market.lender)
    assert json.loads(row["report"])["days_past_due_max"] == 0
    fact = await owner.fetchrow("select * from compliance_fact where kind = 'outcome_reported'")
    assert (fact["partner"], fact["person"], fact["grant_id"]) == (
        market.lender,
        market.person.user,
        row["grant_id"],
    )


async def test_a_decline_carries_no_loan():
    market, referral = await picked()
    declined = Outcome(Decision.DECLINED, TODAY)
    await report(market.lender, declined, referral=referral)
    with pytest.raises(Unacceptable):
        await report(market.lender, replace(GOOD, decision=Decision.DECLINED), referral=referral)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"decided_on": TODAY + timedelta(days=2)}, "/decided_on"),
        ({"decided_on": TODAY - timedelta(days=203)}, "/decided_on"),
        ({"decided_on": date.min}, "/decided_on"),
        ({"observed_until": TODAY + timedelta(days=2)}, "/observed_until"),
        ({"observed_until": GOOD.decided_on - timedelta(days=1)}, "/observed_until"),
        ({"observed_until": None}, "/observed_until"),
    ],
)
async def test_an_impossible_report_is_refused(changes, pointer):
    market, referral = await picked()
    with pytest.raises(Unacceptable) as refused:
        await report(market.lender, replace(GOOD, **changes), referral=referral)
    assert pointer in {fault.pointer for fault in refused.value.faults}


async def test_a_report_is_about_one_thing():
    market, referral = await picked()
    for given in ({}, {"referral": referral, "score": uuid4()}):
        with pytest.raises(Unacceptable):
            await report(market.lender, GOOD, **given)


async def test_nobody_reports_about_what_is_another_lenders():
    _, referral = await picked()
    stranger = await a_lender("beta")
    for about in ({"referral": referral}, {"score": uuid4()}, {"referral": uuid4()}):
        with pytest.raises(NotFound):
            await report(stranger, GOOD, **about)


async def a_score(owner: asyncpg.Connection, partner: PartnerId, relay: PartnerId, user: UUID) -> UUID:
    score, model, now = uuid4(), uuid4(), datetime.now(UTC)
    await owner.execute(
        """insert into scoring_model (id, digest, product, state, card, registered_at, registered_by)
           values ($1, 'd', 'p', 'champion', '{}', $2, 'x')""",
        model,
        now,
    )
    await owner.execute(
        """insert into scoring_score values ($1, $2, $3, $4, $5, $6, 'band', 600, 'C', '0.05', 'standard', 'low',
           '{}', '{}', '[]', 'licensed_bureau_relay', '', '{}', '{}', 's', 'd', 'v', $7, 'p', $8, $8)""",
        score,
        user,
        partner,
        relay,
        uuid4(),
        model,
        uuid4(),
        now,
    )
    return score


async def test_the_lender_reports_about_its_score_and_the_bureau_that_relayed_it_does_not(owner):
    market, bureau = await a_market(), await a_lender("beacon", kind=PartnerKind.CREDIT_BUREAU)
    score = await a_score(owner, market.lender, bureau, market.person.user)
    with pytest.raises(Unacceptable) as refused:  # decided before there was a score: nothing that it promised
        await report(market.lender, GOOD, score=score)
    assert [fault.pointer for fault in refused.value.faults] == ["/decided_on"]
    await owner.execute("update scoring_score set issued_at = issued_at - interval '200 days'")
    await report(market.lender, GOOD, score=score)
    assert await owner.fetchval("select score from partners_outcome") == score
    with pytest.raises(NotFound):
        await report(bureau, GOOD, score=score)


def test_why_outcomes_stay_is_written_down():
    assert endings.kept()["partners_outcome"]
