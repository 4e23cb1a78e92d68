"""Applications: blind before the pick, ranked for the person, one lender after it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import pytest
from joserfc import jwt
from support import lending
from support.lending import TERMS, WISH, Bank, a_client, a_lender, a_market, a_person, a_product
from tortoise.exceptions import OperationalError

from compliance import ids
from compliance.act import open_act, open_view
from compliance.canonical import digest
from compliance.criteria import Compare
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import OPERATOR, GrantId, PartnerKind
from consent import grants
from consent.permits import AgeNotEstablished, ConsentMissing, ConsentWithdrawn
from partners import applications, products, referrals
from partners.applications import AlreadyPicked, ApplicationClosed, LenderNotReachable
from partners.handover import HostNotOwned
from partners.wishes import BARRED

pytestmark = pytest.mark.usefixtures("ground")


async def kinds(owner: asyncpg.Connection, **where: UUID) -> list[str]:
    ((column, value),) = where.items()
    rows = await owner.fetch(f"select kind from compliance_fact where {column} = $1 order by seq", value)
    return [r["kind"] for r in rows]


async def withdraw(person, grant: UUID) -> None:
    async with open_act(person, None) as act:
        await grants.withdraw(act, GrantId(grant))


async def test_a_product_is_read_as_it_was_published():
    lender = await a_lender("alpha", operator_stake=True)
    terms = replace(TERMS, criteria=Compare("age", ">=", 21), age_max=60)
    product = await a_product(lender, terms)
    async with open_view(None) as view:
        (read,) = await products.open_products(view)
    assert (read.id, read.partner, read.lender_class) == (product, lender, PartnerKind.BANK)
    assert (read.limits, read.daily_rate, read.criteria) == (terms.limits, terms.daily_rate, terms.criteria)
    assert (read.regions, read.age_max, read.operator_stake) == (terms.regions, 60, True)


async def test_a_bureau_publishes_no_product():
    bureau = await a_lender("beta", kind=PartnerKind.CREDIT_BUREAU)
    with pytest.raises(Unacceptable):
        await a_product(bureau)


async def test_the_cheapest_comes_first_and_who_does_not_fit_is_named(owner):
    dear, cheap, far = [await a_lender(code) for code in ("dear", "cheap", "far")]
    await a_product(dear, replace(TERMS, daily_rate=Decimal("0.0005")))
    await a_product(cheap)
    elsewhere = await a_product(far, replace(TERMS, regions=frozenset({"CN-GD"})))
    person = await a_person()
    made = await lending.apply(person)
    assert [offer.partner for offer in made.offers] == [cheap, dear]
    assert made.row.receipt["left_out"] == [
        {"product": ids.public("prd", elsewhere), "code": "region_not_served"}
    ]
    assert digest(made.row.receipt) == made.row.receipt_digest
    assert made.offers[0].terms["total_cost_minor"] < made.offers[1].terms["total_cost_minor"]
    assert await kinds(owner, person=person.user) == [
        "grant_requested",
        "grant_given",
        "application_routed",
    ]


async def test_no_lender_learns_that_anybody_asked(owner):
    market = await a_market()
    facts = await owner.fetch("select kind from compliance_fact where partner = $1", market.lender)
    assert {f["kind"] for f in facts} == {"partner_admitted", "product_published"}
    for table in ("partners_application", "partners_offer"):
        with pytest.raises(OperationalError, match="permission denied"):
            async with open_view(a_client(market.lender)) as view:
                await view.db.execute_query_dict(f"select * from {table}")
    assert market.bank.calls == []
    assert await owner.fetchval("select count(*) from consent_pseudonym") == 0


async def test_matching_needs_the_persons_yes():
    person = await a_person()
    with pytest.raises(ConsentMissing):
        await lending.apply(person, agree=False)
    await lending.apply(person)
    again = await lending.apply(person, agree=False)
    async with open_view(person) as view:
        (only,) = await grants.mine(view, person.user)
    assert (only.recipient, only.id) == (OPERATOR, again.row.grant_id)


@pytest.mark.parametrize("born_on", [None, datetime.now(UTC).date() - timedelta(days=17 * 365)])
async def test_who_is_not_known_to_be_an_adult_is_refused(born_on):
    with pytest.raises(AgeNotEstablished):
        await lending.apply(await a_person(born_on))


@pytest.mark.parametrize("use", sorted(BARRED))
async def test_a_barred_use_is_refused(use):
    person = await a_person()
    with pytest.raises(Unacceptable) as refused:
        await lending.apply(person, replace(WISH, use_of_funds=use))
    assert refused.value.faults[0].pointer == "/use_of_funds"


async def test_only_the_person_sees_and_picks():
    market, other = await a_market(), await a_person()
    with pytest.raises(NotFound):
        async with open_view(other) as view:
            await applications.find(view, market.made.row.id)
    with pytest.raises(NotFound):
        await lending.pick(other, market.made, market.connectors)


async def test_a_pick_hands_over_to_that_lender_and_no_other(owner, ground):
    market = await a_market()
    other = await a_lender("other")
    picked = await market.pick()
    row = picked.referral
    assert (row.partner, row.state, row.delivery) == (market.lender, "created", "queued")
    facts = await kinds(owner, partner=market.lender)
    assert facts[-2:] == ["grant_given", "referral_queued"]
    assert await kinds(owner, partner=other) == ["partner_admitted"]
    assert (
        await owner.fetchval("select count(*) from consent_pseudonym where partner <> $1", market.lender) == 0
    )

    parts = urlsplit(picked.redirect_to)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "alpha.example", "/apply")
    token = jwt.decode(parse_qs(parts.query)["handover"][0], ground.keyring.signing, algorithms=["ES256"])
    assert token.header["typ"] == "handover+jwt"
    assert token.claims["aud"] == ids.public("ptn", market.lender)
    assert token.claims["sub"] == ids.public("usr", row.pseudonym)
    assert token.claims["ref"] == ids.public("ref", row.id)
    assert token.claims["terms"] == market.made.offers[0].terms["schedule_digest"]
    assert token.claims["exp"] - token.claims["iat"] == 600
    assert str(market.person.user) not in picked.redirect_to
    receipt = jwt.decode(picked.receipt, ground.keyring.signing, algorithms=["ES256"])
    assert receipt.claims["parties"]["recipient"] == ids.public("ptn", market.lender)


async def test_the_same_pick_again_is_the_same_referral(owner):
    market = await a_market()
    first, again = await market.pick(), await market.pick()
    assert first.referral.id == again.referral.id
    assert first.receipt == again.receipt
    assert first.redirect_to != again.redirect_to  # each address works once
    assert await owner.fetchval("select count(*) from partners_referral") == 1


async def test_one_application_leads_to_one_lender():
    lender = await a_lender("beta")
    await a_product(lender, replace(TERMS, daily_rate=Decimal("0.0005")))
    market = await a_market()
    connectors = market.connectors | {"beta": Bank(lender, "beta").connector()}
    await market.pick()
    with pytest.raises(AlreadyPicked):
        await lending.pick(market.person, market.made, connectors, rank=2)


async def test_a_pick_needs_the_persons_yes(owner):
    market = await a_market()
    with pytest.raises(Unacceptable):
        await lending.pick(market.person, market.made, market.connectors, agree=False)
    assert await owner.fetchval("select count(*) from partners_referral") == 0


async def test_a_pick_ends_with_the_consent():
    market = await a_market()
    picked = await market.pick()
    await withdraw(market.person, picked.referral.grant_id)
    with pytest.raises(ConsentWithdrawn):
        await market.pick()


async def test_without_the_consent_to_matching_an_application_is_closed(owner):
    market = await a_market()
    await withdraw(market.person, market.made.row.grant_id)
    with pytest.raises(ApplicationClosed):
        await market.pick()
    assert (await kinds(owner, person=market.person.user))[-2:] == ["application_closed", "refused"]


async def test_old_offers_stand_no_longer(owner):
    market = await a_market()
    await owner.execute("update partners_application set made_at = made_at - interval '25 hours'")
    with pytest.raises(ApplicationClosed):
        await market.pick()


@pytest.mark.parametrize(
    "landing",
    [
        "https://elsewhere.example/apply",
        "https://alpha.example@elsewhere.example/apply",
        "https://alpha.example.elsewhere.example/apply",
        "https://alpha.example:8443/apply",
        "http://alpha.example/apply",
    ],
)
async def test_a_host_that_the_lender_does_not_own_is_refused(owner, landing):
    market = await a_market()
    connectors = {"alpha": market.bank.connector(landing=landing)}
    with pytest.raises(HostNotOwned):
        await lending.pick(market.person, market.made, connectors)
    assert await owner.fetchval("select count(*) from partners_referral") == 0


async def test_a_suspended_or_unconnected_lender_takes_nobody(owner):
    market = await a_market()
    with pytest.raises(LenderNotReachable):
        await lending.pick(market.person, market.made, {})
    await owner.execute("update partners_partner set suspended_at = now()")
    with pytest.raises(LenderNotReachable):
        await market.pick()
    assert (await lending.apply(market.person)).row.receipt["left_out"][0]["code"] == "partner_suspended"


async def test_a_second_application_may_go_to_the_same_lender():
    market = await a_market()
    first = await market.pick()
    again = replace(market, made=await lending.apply(market.person))
    second = await again.pick()
    async with open_view(market.person) as view:
        before = await referrals.of_application(view, market.made.row.id)
    assert before is not None
    assert (before.state, before.reason, before.delivery) == ("withdrawn", "superseded", "stopped")
    assert second.referral.id != first.referral.id
    with pytest.raises(ApplicationClosed):
        await market.pick()
