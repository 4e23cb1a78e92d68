"""A loan quoted for reading: the schedule, the totals and the annual rates, as one JSON object."""

from decimal import Decimal

from partners import loan_math
from partners.loan_math import Formula, Instalment
from partners.terms import EXACT, ORDINARY_LIMITS, Fee, Limits, Terms


def quote(terms: Terms, limits: Limits = ORDINARY_LIMITS) -> dict[str, object]:
    """Quote a loan: money as text with two decimals, rates as annual fractions with six.

    Fees, where there are any, appear in each row, as a list and in `total_cost`. Raises `TermsUnacceptable`.
    """
    plan = loan_math.schedule(terms, limits)
    rates = loan_math.rates(plan)
    fees = {"fees": [_fee(fee) for fee in terms.fees]} if terms.fees else {}
    total_cost = {"total_cost": money(plan.total_cost_minor)} if terms.fees else {}
    return {
        "principal": money(terms.principal_minor),
        "disbursed": terms.disbursed.isoformat(),
        "instalments": terms.instalments,
        "daily_rate": loan_math.decimal_text(terms.daily_rate),
        "method": terms.method.value,
        **fees,
        "schedule": [_row(row, with_fee=bool(terms.fees)) for row in plan.instalments],
        "total_interest": money(plan.total_interest_minor),
        **total_cost,
        "simple_365": _fraction(rates[Formula.CN_SIMPLE_365]),
        "simple_360": _fraction(rates[Formula.CN_SIMPLE_360]),
        "xirr_365": _fraction(rates[Formula.CN_IRR]),
    }


def money(amount_minor: int) -> str:
    """Write hundredths, none of them negative, as text with two decimals."""
    whole, hundredths = divmod(amount_minor, 100)
    return f"{whole}.{hundredths:02}"


def _row(row: Instalment, *, with_fee: bool) -> dict[str, object]:
    fee = {"fee": money(row.fee_minor)} if with_fee else {}
    return {
        "k": row.k,
        "due": row.due.isoformat(),
        "days": row.days,
        "principal": money(row.principal_minor),
        "interest": money(row.interest_minor),
        **fee,
        "payment": money(row.payment_minor),
        "balance": money(row.balance_minor),
    }


def _fee(fee: Fee) -> dict[str, object]:
    return {"amount": money(fee.amount_minor), "collector": fee.collector, "charged": fee.charged.value}


def _fraction(rate: Decimal) -> float:
    return float(EXACT.quantize(rate, Decimal("1e-6")))
