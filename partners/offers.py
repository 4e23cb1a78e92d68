"""Offers as people are shown them: every cost in money, every annual rate by its name, the whole schedule."""

from decimal import Decimal

from compliance.canonical import Json
from partners import loan_math
from partners.routing import LATE_DAYS, Offer
from partners.terms import EXACT

RATE_PLACES = Decimal("1e-6")


def write(offer: Offer) -> dict[str, Json]:
    """What the person is shown, kept as it was: money in minor units, rates as decimal text with six places."""
    return {
        "currency": offer.product.currency,
        "monthly_minor": offer.monthly_minor,
        "total_cost_minor": offer.total_cost_minor,
        "late_days": LATE_DAYS,
        "late_minor": offer.late_minor,
        "rates": {formula.value: _rate(rate) for formula, rate in offer.rates.items()},
        "fees": [
            {"amount_minor": fee.amount_minor, "collector": fee.collector, "charged": fee.charged.value}
            for fee in offer.product.fees
        ],
        "schedule": loan_math.record(offer.plan),
        "schedule_digest": offer.schedule_digest,
        "operator_stake": offer.product.operator_stake,
    }


def _rate(rate: Decimal) -> str:
    return loan_math.decimal_text(EXACT.quantize(rate, RATE_PLACES))
