"""Referrals: one table of steps, reported by the lender they belong to and by nobody else."""

from uuid import UUID

import asyncpg
import pytest
from support import lending
from support.lending import DELIVERER, PURPOSE, Market, a_client, a_lender, a_market

from compliance import facts
from compliance.act import open_act
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import GrantId
from consent import grants
from partners import delivery, referrals
from partners.referrals import TRANSITIONS, State, StepForbidden

pytestmark = pytest.mark.usefixtures("ground")
CONTRACT = (
    "disbursed",
    "repaying",
    "overdue",
    "cured",
    "closed",
    "restructured",
    "written_off",
    "recovered",
    "cancelled_cooling_off",
)
TO_CONTRACT = (State.IN_REVIEW, State.APPROVED, State.ACCEPTED)


async def delivered(code: str = "alpha") -> tuple[Market, UUID]:
    market = await a_market(code)
    picked = await market.pick()
    await delivery.deliver_due(DELIVERER, market.connectors, limit=1)
    return market, picked.referral.id


async def report(market: Market, referral: UUID, state: State, reason: str | None = None) -> str:
    async with open_act(a_client(market.lender), PURPOSE) as act:
        return (await referrals.report(act, referral, state, reason)).state


async def withdraw(market: Market, owner: asyncpg.Connection, referral: UUID) -> None:
    grant = await owner.fetchval("select grant_id from partners_referral where id = $1", referral)
    async with open_act(market.person, None) as act:
        await grants.withdraw(act, GrantId(grant))


def test_the_published_table():
    """The table written out as pairs, once more and by another hand."""
    expected = {
        "created": "delivered withdrawn timed_out",
        "delivered": "acknowledged withdrawn timed_out",
        "acknowledged": "in_review withdrawn timed_out",
        "in_review": "approved declined action_required countered withdrawn timed_out",
        "action_required": "in_review withdrawn timed_out",
        "approved": "accepted withdrawn timed_out",
        "countered": "accepted withdrawn timed_out",
        "accepted": "disbursed cancelled_cooling_off",
        "disbursed": "repaying cancelled_cooling_off",
        "repaying": "overdue closed restructured written_off",
        "overdue": "cured closed restructured written_off",
        "cured": "overdue closed restructured written_off",
        "written_off": "recovered",
    }
    told = {str(state): {str(s) for s in after} for state, after in TRANSITIONS.items()}
    assert told == {str(s): set(expected.get(s, "").split()) for s in State}


def test_every_state_is_reached_and_a_contract_is_never_withdrawn():
    reached, frontier = set(), {State.CREATED}
    while frontier:
        reached |= frontier
        frontier = {after for state in frontier for after in TRANSITIONS[state]} - reached
    assert reached == set(State)
    assert not any(State.WITHDRAWN in TRANSITIONS[State(s)] for s in ("accepted", *CONTRACT))


@pytest.mark.parametrize("before", list(State))
async def test_the_table_is_the_only_one(owner, before):
    """From every state, exactly the table's steps are taken."""
    market, referral = await delivered()
    reported = set(State) - {State.CREATED, State.DELIVERED}
    for state in sorted(reported - {before}):
        await owner.execute("update partners_referral set state = $1, delivery = 'done'", before)
        if state in TRANSITIONS[before]:
            assert await report(market, referral, state, "a_reason") == state
        else:
            with pytest.raises(StepForbidden):
                await report(market, referral, state, "a_reason")


async def test_a_reported_step_is_a_fact_for_lender_and_person(owner, ground):
    market, referral = await delivered()
    await report(market, referral, State.IN_REVIEW)
    await report(market, referral, State.DECLINED, "income_not_verified")
    row = await owner.fetchrow("select * from compliance_fact where kind = 'referral_declined'")
    assert (row["partner"], row["person"]) == (market.lender, market.person.user)
    sealer = await ground.key_store.sealer(row["person"])
    payload = facts.read_opening(*facts.open_sealed(row["sealed"], row["id"], sealer)).payload
    assert payload["what"]["reason"] == "income_not_verified"


async def test_the_same_state_again_is_fine(owner):
    market, referral = await delivered()
    for _ in range(2):
        assert await report(market, referral, State.IN_REVIEW) == "in_review"
    steps = await owner.fetchval("select count(*) from partners_referral_step where state = 'in_review'")
    assert steps == 1


async def test_a_decline_needs_a_reason():
    market, referral = await delivered()
    await report(market, referral, State.IN_REVIEW)
    with pytest.raises(Unacceptable) as refused:
        await report(market, referral, State.DECLINED)
    assert refused.value.faults[0].pointer == "/reason"


@pytest.mark.parametrize("state", [State.CREATED, State.DELIVERED])
async def test_delivery_is_ours_to_say(state):
    market, referral = await delivered()
    with pytest.raises(Unacceptable):
        await report(market, referral, state)


async def test_another_lenders_referral_does_not_exist():
    market, referral = await delivered()
    stranger = Market(market.person, await a_lender("beta"), market.bank, market.made)
    with pytest.raises(NotFound):
        await report(stranger, referral, State.IN_REVIEW)
    async with open_act(a_client(stranger.lender), PURPOSE) as act:
        assert await referrals.list_mine(act, None, 50) == []


async def test_after_withdrawal_only_id_and_state_are_shown(owner):
    market, referral = await delivered()
    async with open_act(a_client(market.lender), PURPOSE) as act:
        (before,) = await referrals.list_mine(act, None, 50)
    assert before.shown
    await withdraw(market, owner, referral)
    async with open_act(a_client(market.lender), PURPOSE) as act:
        (after,) = await referrals.list_mine(act, None, 50)
    assert (after.shown, after.row.state, after.row.reason) == (False, "withdrawn", "withdrawn")
    shown = await owner.fetchval("select count(*) from compliance_fact where kind = 'referral_shown'")
    listed = await owner.fetchval("select count(*) from compliance_fact where kind = 'referrals_listed'")
    assert (shown, listed) == (1, 2)
    with pytest.raises(StepForbidden):
        await report(market, referral, State.IN_REVIEW)


async def test_after_expiry_only_id_and_state_are_shown(owner):
    market, _ = await delivered()
    await owner.execute("update consent_grant set expires_at = now() where recipient = $1", market.lender)
    async with open_act(a_client(market.lender), PURPOSE) as act:
        (listed,) = await referrals.list_mine(act, None, 50)
    assert not listed.shown


async def test_pages_are_newest_first_and_whole():
    market, first = await delivered()
    made = [first]
    for _ in range(2):
        person = await lending.a_person()
        again = Market(person, market.lender, market.bank, await lending.apply(person))
        made.append((await again.pick()).referral.id)
    seen: list[UUID] = []
    before = None
    for _ in range(3):
        async with open_act(a_client(market.lender), PURPOSE) as act:
            page = await referrals.list_mine(act, before, 2)
        seen += [listed.row.id for listed in page]
        before = seen[-1]
    assert seen == sorted(made, reverse=True)


async def test_a_contract_outlives_the_consent(owner):
    market, referral = await delivered()
    for state in TO_CONTRACT:
        await report(market, referral, state)
    await withdraw(market, owner, referral)
    assert await report(market, referral, State.DISBURSED) == "disbursed"
