"""The receipt of a route: everything that went in and the order that came out, so that anybody can check the ranking."""

from collections.abc import Iterable
from decimal import Decimal

from compliance import canonical, criteria, ids
from compliance.canonical import Json
from partners import loan_math, routing
from partners.routing import LATE_DAYS, Offer, Period, Product, Route, Wish
from partners.terms import EXACT

RATE_PLACES = Decimal("1e-6")


def write(route: Route, wish: Wish, products: Iterable[Product]) -> bytes:
    """Write a route as canonical JSON (RFC 8785): metric version, all inputs, the order, and who was left out.

    Money is in minor units, rates are decimal text. The same route gives the same bytes, however its products came.
    """
    left_out: list[Json] = [
        {"product": ids.public("prd", out.product), "code": out.code.value} for out in route.left_out
    ]
    return canonical.canonical(
        {
            "application": ids.public("app", route.application),
            "metric": route.metric,
            "wish": _wish(wish),
            "products": [_product(product) for product in routing.in_order(products)],
            "offers": [_offer(offer) for offer in route.ranked],
            "left_out": left_out,
        }
    )


def _wish(wish: Wish) -> Json:
    return {
        "amount_minor": wish.amount_minor,
        "currency": wish.currency,
        "instalments": wish.instalments,
        "region": wish.region,
        "age": wish.age,
        "is_student": wish.is_student,
        "use_of_funds": wish.use_of_funds,
        "jurisdiction": wish.jurisdiction,
        "as_of": wish.as_of.isoformat(),
    }


def _product(product: Product) -> Json:
    """Write what the route read of a product; the operator's stake is not among it."""
    limits, licence = product.limits, product.licence
    fees: list[Json] = [
        {"amount_minor": fee.amount_minor, "collector": fee.collector, "charged": fee.charged.value}
        for fee in product.fees
    ]
    return {
        "id": ids.public("prd", product.id),
        "partner": ids.public("ptn", product.partner),
        "lender_class": product.lender_class.value,
        "kind": product.kind.value,
        "currency": product.currency,
        "principal_minor": [limits.principal_min_minor, limits.principal_max_minor],
        "instalments": [limits.instalments_min, limits.instalments_max],
        "daily_rate": loan_math.decimal_text(product.daily_rate),
        "method": product.method.value,
        "repayment_day": product.repayment_day,
        "overdue_multiplier": loan_math.decimal_text(product.overdue_multiplier),
        "fees": fees,
        "regions": sorted(product.regions),
        "age": [product.age_min, product.age_max],
        "serves_students": product.serves_students,
        "criteria": None if product.criteria is None else criteria.canonical(product.criteria),
        "licence": {
            "number": licence.number,
            "jurisdiction": licence.jurisdiction,
            "valid": _period(licence.valid),
        },
        "offered": _period(product.offered),
        "partner_suspended": product.partner_suspended,
    }


def _period(period: Period) -> Json:
    return [period.since.isoformat(), None if period.until is None else period.until.isoformat()]


def _offer(offer: Offer) -> Json:
    return {
        "product": ids.public("prd", offer.product.id),
        "total_cost_minor": offer.total_cost_minor,
        "monthly_minor": offer.monthly_minor,
        f"late_{LATE_DAYS}_days_minor": offer.late_minor,
        "rates": {formula.value: _rate(rate) for formula, rate in offer.rates.items()},
        "schedule_digest": offer.schedule_digest,
        "operator_stake": offer.product.operator_stake,
    }


def _rate(rate: Decimal) -> str:
    return loan_math.decimal_text(EXACT.quantize(rate, RATE_PLACES))
