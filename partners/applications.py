"""Applications: a person's wish is matched blind and ranked in their interest; the one lender they pick learns of it."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from compliance import ids
from compliance.act import Act, View
from compliance.canonical import Json, digest
from compliance.refusals import Fault, NotFound, Refusal, Unacceptable
from compliance.vocabulary import (
    OPERATOR,
    Categories,
    Category,
    Language,
    PartnerId,
    Person,
    Purpose,
    UserId,
)
from consent import grants, people, permits, receipts
from consent.grants import Ask
from consent.permits import BUSINESS_ZONE, ConsentExpired, ConsentMissing, ConsentWithdrawn, Permit
from partners import directory, handover, offers, products, ranking_receipt, referrals, routing, wishes
from partners.connectors.contract import Connector
from partners.products import Titles
from partners.routing import Wish
from partners.tables import ApplicationRow, OfferRow, PartnerRow, ReferralRow
from partners.wishes import Stated

PURPOSE = Purpose.LOAN_REFERRAL
DECLARED: Categories = frozenset({Category.DECLARED})
OFFERS_STAND_FOR = timedelta(hours=24)
"""Offers are computed for the day of the application; after a day they would cost something else."""
MINE_MAX = 50
NOT_LIVE = (ConsentMissing, ConsentWithdrawn, ConsentExpired)


class AlreadyPicked(Refusal):
    """One application leads to one lender."""

    status, code, title = 409, "already_picked", "Another offer of this application was picked before"


class ApplicationClosed(Refusal):
    """The consent to matching has ended, or the offers are too old."""

    status, code, title = 409, "application_closed", "This application can no longer lead to a lender"


class LenderNotReachable(Refusal):
    """The lender cannot take anybody at the moment."""

    status, code, title = 409, "lender_not_reachable", "This lender cannot take you over at the moment"


@dataclass(frozen=True, slots=True)
class Application:
    """An application with its ranked offers, best first, and what came of it."""

    row: ApplicationRow
    offers: list[OfferRow]
    titles: Mapping[UUID, Titles]
    referral: ReferralRow | None


@dataclass(frozen=True, slots=True)
class Picked:
    """What a pick led to: the referral, the receipt of the consent, and where the person goes on, once."""

    referral: ReferralRow
    receipt: str
    redirect_to: str


async def apply(
    act: Act,
    stated: Stated,
    language: Language,
    *,
    agree_to_matching: bool,
    offered: Categories,
    shown: str | None = None,
) -> Application:
    """Match a person's wish with every open product; no lender learns that anybody asked.

    Rests on a live grant to the operator; with `agree_to_matching` the person gives one here if there is none, to the
    notice whose hash was `shown`.
    Records `application_routed` in the operator's and the person's log alone.
    """
    user = _applicant(act)
    wishes.refuse_barred(stated)
    permit = await _matching_permit(
        act, user, language, agree=agree_to_matching, offered=offered, shown=shown
    )
    wish = await _wish(act, permit, stated)
    listed = await products.open_products(act)
    application = ids.ordered_id()
    route = routing.route(application, wish, listed)
    receipt = json.loads(ranking_receipt.write(route, wish, listed))
    row = await ApplicationRow.create(
        id=application,
        user_id=user,
        grant_id=permit.grant,
        wish=receipt["wish"],
        receipt=receipt,
        receipt_digest=digest(receipt),
        metric=route.metric,
        made_at=act.now,
        using_db=act.db,
    )
    await OfferRow.bulk_create(
        [
            OfferRow(
                id=ids.ordered_id(),
                application=application,
                user_id=user,
                product=offer.product.id,
                partner=offer.product.partner,
                rank=rank,
                terms=offers.write(offer),
            )
            for rank, offer in enumerate(route.ranked, start=1)
        ],
        using_db=act.db,
    )
    what: dict[str, Json] = {
        "application": ids.public("app", application),
        "metric": route.metric,
        "offers": len(route.ranked),
        "left_out": dict(Counter(str(out.code) for out in route.left_out)),
        "receipt": row.receipt_digest,
        "permit": permit.digest,
    }
    act.record("application_routed", what, person=user, grant=permit.grant)
    return await find(act, application)


async def find(at: Act | View, application: UUID) -> Application:
    """One of the person's own applications, or 404."""
    row = await ApplicationRow.filter(id=application).using_db(at.db).first()
    if row is None:
        raise NotFound
    ranked = await OfferRow.filter(application=application).using_db(at.db).order_by("rank")
    left_out = {ids.private("prd", out["product"]) for out in row.receipt["left_out"]}
    titles = await products.titles(at, left_out | {offer.product for offer in ranked})
    return Application(row, ranked, titles, await referrals.of_application(at, application))


async def mine(view: View, user: UserId) -> list[ApplicationRow]:
    """A person's applications, newest first."""
    return await ApplicationRow.filter(user_id=user).using_db(view.db).order_by("-id").limit(MINE_MAX)


async def pick(
    act: Act,
    application: UUID,
    offer: UUID,
    language: Language,
    *,
    agree: bool,
    offered: Categories,
    connectors: Mapping[str, Connector],
    shown: str | None = None,
) -> Picked:
    """The person picks one lender and says yes to it by name; from now on that lender may know who they are.

    Gives a grant to that lender (to the notice whose hash was `shown`), queues the referral and signs the one-hop
    address. The same pick again leads to the same referral, with a fresh address. Records `offer_picked`, and
    `referral_queued` in the lender's log.
    """
    user = _applicant(act)
    if not agree:
        fault = Fault("/agree_to_hand_over", "yes_needed", "say yes to this lender by name")
        raise Unacceptable("without your yes nobody learns of you", fault)
    row = await ApplicationRow.filter(id=application).using_db(act.db).select_for_update().first()
    chosen = await OfferRow.filter(id=offer, application=application).using_db(act.db).first()
    if row is None or chosen is None:
        raise NotFound
    lender = await directory.find(act, PartnerId(chosen.partner))
    landing = _landing(lender, connectors)
    if row.picked:
        return await _picked_before(act, row, chosen, landing)
    if row.closed_at or row.made_at + OFFERS_STAND_FOR < act.now:
        raise ApplicationClosed("apply again to see what is offered today")
    ask = _ask(user, PartnerId(lender.id))
    _, receipt = await grants.give(act, ask, language, offered=offered, shown=shown)
    permit = await permits.permit(act, user, PURPOSE, DECLARED, recipient=PartnerId(lender.id))
    referral = await referrals.queue(act, permit, application, offer, _told(row, chosen))
    row.picked = offer
    await row.save(using_db=act.db, update_fields=["picked"])
    what: dict[str, Json] = {
        "application": ids.public("app", application),
        "offer": ids.public("off", offer),
        "rank": chosen.rank,
        "referral": ids.public("ref", referral.id),
    }
    act.record("offer_picked", what, person=user, grant=permit.grant)
    return Picked(referral, receipt, handover.address(referral, landing, act.now))


async def _picked_before(act: Act, row: ApplicationRow, chosen: OfferRow, landing: str) -> Picked:
    """The same pick again; refuses another one, and one whose consent has ended since."""
    referral = await referrals.of_application(act, row.id)
    if referral is None or row.picked != chosen.id:
        raise AlreadyPicked("apply again to pick another lender")
    user, partner = UserId(row.user_id), PartnerId(chosen.partner)
    permit = await permits.permit(act, user, PURPOSE, DECLARED, recipient=partner, count=False)
    if permit.grant != referral.grant_id:
        raise ApplicationClosed("you have given this lender a newer consent, for another application")
    kept = await receipts.newest(act, permit.grant)
    if kept is None:
        raise NotFound
    act.record("offer_picked_again", {"referral": ids.public("ref", referral.id)}, person=user)
    return Picked(referral, kept.signed, handover.address(referral, landing, act.now))


def _landing(lender: PartnerRow, connectors: Mapping[str, Connector]) -> str:
    """Where the lender takes a person over; refuses what it does not own."""
    connector = connectors.get(lender.code)
    if connector is None or lender.suspended_at is not None:
        raise LenderNotReachable("pick another offer, or try again later")
    handover.refuse_foreign_host(connector.landing, lender.owned_hosts)
    return connector.landing


async def _matching_permit(
    act: Act, user: UserId, language: Language, *, agree: bool, offered: Categories, shown: str | None
) -> Permit:
    try:
        return await permits.permit(act, user, PURPOSE, DECLARED)
    except NOT_LIVE:
        if not agree:
            raise
    await grants.give(act, _ask(user, OPERATOR), language, offered=offered, shown=shown)
    return await permits.permit(act, user, PURPOSE, DECLARED)


def _ask(user: UserId, recipient: PartnerId) -> Ask:
    bounds = grants.TEMPLATES[PURPOSE]
    return Ask(
        recipient=recipient,
        bureau=None,
        user=user,
        purpose=PURPOSE,
        categories=DECLARED,
        period_days=bounds.period_days_max,
        data_life_days=bounds.data_life_days_max,
        calls_per_month=bounds.calls_per_month_max,
        channel="portal",
    )


async def _wish(act: Act, permit: Permit, stated: Stated) -> Wish:
    """Add the two hard facts that are not stated: the day, and the person's own age on it."""
    rows = await act.db.execute_query_dict("select born_on from consent_person where id = $1", [permit.user])
    today = act.now.astimezone(BUSINESS_ZONE).date()
    return Wish(
        amount_minor=stated.amount_minor,
        currency=stated.currency,
        instalments=stated.instalments,
        region=stated.region,
        age=people.age_on(rows[0]["born_on"], today),
        is_student=stated.is_student,
        use_of_funds=stated.use_of_funds,
        jurisdiction=stated.jurisdiction,
        as_of=today,
    )


def _told(row: ApplicationRow, chosen: OfferRow) -> dict[str, Json]:
    """All that the picked lender is told of the wish; the person types the rest on its own pages."""
    return {
        "product": ids.public("prd", chosen.product),
        "amount_minor": row.wish["amount_minor"],
        "currency": row.wish["currency"],
        "instalments": row.wish["instalments"],
        "terms_digest": chosen.terms["schedule_digest"],
    }


def _applicant(act: Act) -> UserId:
    """The person whose own act it is, named first, so that they also see what is refused to them."""
    if not isinstance(act.principal, Person):
        raise NotFound
    act.concern(act.principal.user, None)
    return act.principal.user
