"""What a loan costs, to the fen and to the day: schedule, annual rates, lateness, early repayment.

Interest counts the day of disbursement and not the day of repayment, on the principal outstanding, by actual days.
Money is whole minor units, rates are decimals; the same terms give the same bytes on every machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from enum import StrEnum
from itertools import pairwise

from compliance.canonical import Json
from compliance.refusals import Fault
from compliance.vocabulary import Language
from partners import terms as loan_terms
from partners.terms import EXACT, ORDINARY_LIMITS, Charged, Limits, Method, Terms, TermsUnacceptable

ROOT_STEPS = 200
ROOT_PRECISION = Decimal("1e-20")
ANNUAL_CEILING = 10**6


class Formula(StrEnum):
    """The named ways to state a cost as an annual rate (PBoC Announcement 2021 No. 3); never shown unnamed."""

    CN_SIMPLE_365 = "cn_simple_365"
    CN_SIMPLE_360 = "cn_simple_360"
    CN_IRR = "cn_irr"


LABELS: Mapping[Formula, Mapping[Language, str]] = {
    Formula.CN_SIMPLE_365: {
        Language.ZH_CN: "年化综合融资成本（单利，一年按365天计）",
        Language.EN: "Annual all-in cost (simple interest, 365-day year)",
    },
    Formula.CN_SIMPLE_360: {
        Language.ZH_CN: "年化综合融资成本（单利，一年按360天计）",
        Language.EN: "Annual all-in cost (simple interest, 360-day year)",
    },
    Formula.CN_IRR: {
        Language.ZH_CN: "年化综合融资成本（复利，内部收益率）",
        Language.EN: "Annual all-in cost (compound interest, internal rate of return)",
    },
}
"""A simple rate must be called simple (PBoC Announcement 2021 No. 3)."""


@dataclass(frozen=True, slots=True)
class Instalment:
    """One due date. `balance_minor` is the principal still owed once it is paid."""

    k: int
    due: date
    days: int
    principal_minor: int
    interest_minor: int
    fee_minor: int
    balance_minor: int

    @property
    def payment_minor(self) -> int:
        """All that is to be paid on the due date."""
        return self.principal_minor + self.interest_minor + self.fee_minor


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is paid when, if all is paid on time."""

    terms: Terms
    instalments: tuple[Instalment, ...]

    @property
    def total_interest_minor(self) -> int:
        """The sum of all interest."""
        return sum(row.interest_minor for row in self.instalments)

    @property
    def total_cost_minor(self) -> int:
        """Interest and every fee, whoever collects it."""
        fees = self.terms.fees_minor(Charged.UPFRONT) + sum(row.fee_minor for row in self.instalments)
        return self.total_interest_minor + fees


def schedule(terms: Terms, limits: Limits = ORDINARY_LIMITS) -> Schedule:
    """Lay out the instalments; what rounding leaves over falls into the last one.

    Equal principal: the principal divided by the number of instalments, rounded down. Equal instalment: the
    payment that the accrual over actual days repays exactly, rounded half up. Raises `TermsUnacceptable`.
    """
    loan_terms.check(terms, limits)
    dues = [_due(terms, k) for k in range(1, terms.instalments + 1)]
    days = [(later - earlier).days for earlier, later in pairwise([terms.disbursed, *dues])]
    with localcontext(EXACT):
        part = _principal_part(terms, days)
        balance, rows = terms.principal_minor, []
        for k, (due, span) in enumerate(zip(dues, days, strict=True), start=1):
            interest = _whole(balance * terms.daily_rate * span)
            principal = balance if k == terms.instalments else part(interest)
            balance -= principal
            fee = terms.fees_minor(Charged.EACH_INSTALMENT)
            rows.append(Instalment(k, due, span, principal, interest, fee, balance))
    if any(row.principal_minor <= 0 for row in rows):
        fault = Fault("/daily_rate", "principal_not_repaid", "lower the rate or the number of instalments")
        raise TermsUnacceptable("an instalment would repay no principal", fault)
    return Schedule(terms, tuple(rows))


def penalty(terms: Terms, unpaid_minor: int, due: date, paid: date) -> int:
    """Charge for principal and interest unpaid after `due`, in minor units; nothing on the due date itself.

    It replaces the normal interest on the overdue part and never stacks on it (银发〔2003〕251号).
    """
    days = max(0, (paid - due).days)
    with localcontext(EXACT):
        return _whole(unpaid_minor * terms.daily_rate * terms.overdue_multiplier * days)


def prepayment(plan: Schedule, on: date) -> int:
    """Settle the loan on a date, in minor units, all instalments due by then being paid; there is no fee.

    Raises `TermsUnacceptable` for a date before the disbursement.
    """
    terms = plan.terms
    if on < terms.disbursed:
        fault = Fault("/on", "before_disbursement", f"give {terms.disbursed} or a later date")
        raise TermsUnacceptable("the loan does not exist on that date", fault)
    last, balance = terms.disbursed, terms.principal_minor
    for row in plan.instalments:
        if row.due <= on:
            last, balance = row.due, row.balance_minor
    with localcontext(EXACT):
        return balance + _whole(balance * terms.daily_rate * (on - last).days)


def rates(plan: Schedule) -> Mapping[Formula, Decimal]:
    """State the cost as an annual fraction by each named formula, unrounded."""
    return {
        Formula.CN_SIMPLE_365: simple(plan, 365),
        Formula.CN_SIMPLE_360: simple(plan, 360),
        Formula.CN_IRR: xirr_365(plan),
    }


def simple(plan: Schedule, basis: int = 365) -> Decimal:
    """`CN_SIMPLE`: total cost over the principal actually outstanding, times the days of a year."""
    balance, used = plan.terms.principal_minor, 0
    for row in plan.instalments:
        used += balance * row.days
        balance = row.balance_minor
    with localcontext(EXACT):
        return Decimal(basis * plan.total_cost_minor) / used


def xirr_365(plan: Schedule) -> Decimal:
    """`CN_IRR`: the effective annual rate at which all payments are worth what was received, by actual days / 365.

    Newton's method on the daily growth factor. The worth is convex and falls as the factor grows, so from 1 upwards
    every step stays on one side of the root and cannot overshoot. Raises `TermsUnacceptable` when absurdly high.
    """
    terms = plan.terms
    received = terms.principal_minor - terms.fees_minor(Charged.UPFRONT)
    flows = [((row.due - terms.disbursed).days, row.payment_minor) for row in plan.instalments]
    growth = Decimal(1)
    with localcontext(EXACT):
        for _ in range(ROOT_STEPS):
            worths = [(days, paid / growth**days) for days, paid in flows]
            excess = sum(worth for _, worth in worths) - received
            step = excess * growth / sum(days * worth for days, worth in worths)
            growth += step
            if step <= ROOT_PRECISION:
                return _measurable(growth**365 - 1)
    raise ArithmeticError("the internal rate of return did not settle")


def record(plan: Schedule) -> Json:
    """Write the schedule as JSON without fractions, for digests and receipts."""
    return [
        {
            "k": row.k,
            "due": row.due.isoformat(),
            "days": row.days,
            "principal_minor": row.principal_minor,
            "interest_minor": row.interest_minor,
            "fee_minor": row.fee_minor,
            "balance_minor": row.balance_minor,
        }
        for row in plan.instalments
    ]


def decimal_text(value: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros."""
    return format(EXACT.normalize(value), "f")


def _measurable(annual: Decimal) -> Decimal:
    if annual > ANNUAL_CEILING:
        fault = Fault("/daily_rate", "cost_beyond_measure", "lower the rate or the fees")
        raise TermsUnacceptable("the annual cost is beyond measure", fault)
    return annual


def _due(terms: Terms, k: int) -> date:
    """Find the repayment day of the k-th month after the disbursement; never in its own month."""
    months = terms.disbursed.year * 12 + terms.disbursed.month - 1 + k
    return date(months // 12, months % 12 + 1, terms.repayment_day)


def _principal_part(terms: Terms, days: list[int]) -> Callable[[int], int]:
    """How much principal an instalment repays, given its interest."""
    if terms.method is Method.EQUAL_PRINCIPAL:
        part = terms.principal_minor // terms.instalments
        return lambda _interest: part
    owed, paid = Decimal(terms.principal_minor), Decimal(0)
    for span in days:  # the growth of the debt, and of one unit paid at each due date
        growth = 1 + terms.daily_rate * span
        owed, paid = owed * growth, paid * growth + 1
    payment = _whole(owed / paid)
    return lambda interest: payment - interest


def _whole(amount: Decimal) -> int:
    """Round half up to whole minor units."""
    return int(amount.to_integral_value(ROUND_HALF_UP))
