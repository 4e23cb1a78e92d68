"""The terms of a loan: what was agreed, and what can be agreed at all."""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum

from compliance.refusals import Fault, Refusal

EXACT = Context(prec=34, rounding=ROUND_HALF_UP)
"""IEEE 754 decimal128 precision; set here, so that a caller's own context cannot change a price."""
MONEY_CEILING_MINOR = 10**12
RATE_DECIMALS = 12
INSTALMENTS_CEILING = 60
LAST_REPAYMENT_DAY = 28  # every month has one
MULTIPLIER_CEILING = 10
FEES_MAX = 10
YEARS = range(2000, 2101)


class Method(StrEnum):
    """How principal is spread: the same principal each month, or the same payment each month."""

    EQUAL_PRINCIPAL = "equal_principal"
    EQUAL_INSTALMENT = "equal_instalment"


class Charged(StrEnum):
    """When a fee is taken."""

    UPFRONT = "upfront"
    EACH_INSTALMENT = "each_instalment"


class TermsUnacceptable(Refusal):
    """No schedule exists for these terms; `faults` name the fields."""

    status, code, title = 422, "terms_unacceptable", "No repayment schedule exists for these terms"


@dataclass(frozen=True, slots=True)
class Fee:
    """A fixed sum that somebody other than the interest account collects; part of the total cost."""

    amount_minor: int
    collector: str
    charged: Charged


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a product, both ends included. The defaults: at least 100.00 and at most six instalments."""

    principal_min_minor: int = 10_000
    principal_max_minor: int = MONEY_CEILING_MINOR
    instalments_min: int = 1
    instalments_max: int = 6

    def __post_init__(self) -> None:
        if not 1 <= self.principal_min_minor <= self.principal_max_minor <= MONEY_CEILING_MINOR:
            fault = Fault("/principal_min_minor", "range_empty", f"from 1 to {MONEY_CEILING_MINOR}")
            raise TermsUnacceptable("no amount lies within the limits", fault)
        if not 1 <= self.instalments_min <= self.instalments_max <= INSTALMENTS_CEILING:
            fault = Fault("/instalments_min", "range_empty", f"from 1 to {INSTALMENTS_CEILING}")
            raise TermsUnacceptable("no number of instalments lies within the limits", fault)

    def takes_principal(self, amount_minor: int) -> bool:
        """Tell whether an amount lies within the limits."""
        return self.principal_min_minor <= amount_minor <= self.principal_max_minor

    def takes_instalments(self, instalments: int) -> bool:
        """Tell whether a number of instalments lies within the limits."""
        return self.instalments_min <= instalments <= self.instalments_max


ORDINARY_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed. `disbursed` is the local date; `daily_rate` is a fraction of the outstanding principal."""

    principal_minor: int
    disbursed: date
    instalments: int
    daily_rate: Decimal
    method: Method
    repayment_day: int = 10
    overdue_multiplier: Decimal = Decimal("1.5")
    fees: tuple[Fee, ...] = ()

    def fees_minor(self, charged: Charged) -> int:
        """Add up the fees taken at one occasion."""
        return sum(fee.amount_minor for fee in self.fees if fee.charged is charged)


def check(terms: Terms, limits: Limits) -> None:
    """Refuse terms (`TermsUnacceptable`) outside the product or outside arithmetic, naming every field at once."""
    multiplier, upfront = terms.overdue_multiplier, terms.fees_minor(Charged.UPFRONT)
    demands = (
        (
            limits.takes_principal(terms.principal_minor),
            Fault(
                "/principal_minor",
                "amount_out_of_range",
                f"from {limits.principal_min_minor} to {limits.principal_max_minor}",
            ),
        ),
        (
            limits.takes_instalments(terms.instalments),
            Fault(
                "/instalments",
                "tenor_not_offered",
                f"from {limits.instalments_min} to {limits.instalments_max}",
            ),
        ),
        (
            _is_rate(terms.daily_rate),
            Fault("/daily_rate", "rate_out_of_range", "above 0 and below 1, with 12 decimals at most"),
        ),
        (
            1 <= terms.repayment_day <= LAST_REPAYMENT_DAY,
            Fault("/repayment_day", "day_out_of_range", f"from 1 to {LAST_REPAYMENT_DAY}"),
        ),
        (
            multiplier.is_finite() and 0 <= multiplier <= MULTIPLIER_CEILING,
            Fault("/overdue_multiplier", "multiplier_out_of_range", f"from 0 to {MULTIPLIER_CEILING}"),
        ),
        (
            terms.disbursed.year in YEARS,
            Fault("/disbursed", "date_out_of_range", f"a year from {YEARS[0]} to {YEARS[-1]}"),
        ),
        (
            len(terms.fees) <= FEES_MAX
            and all(0 <= f.amount_minor <= MONEY_CEILING_MINOR for f in terms.fees),
            Fault("/fees", "fee_out_of_range", f"at most {FEES_MAX} fees, none negative"),
        ),
        (
            upfront < terms.principal_minor,
            Fault("/fees", "nothing_disbursed", "upfront fees must leave something of the principal"),
        ),
    )
    faults = [fault for holds, fault in demands if not holds]
    if faults:
        raise TermsUnacceptable("the terms are outside what can be lent", *faults)


def _is_rate(rate: Decimal) -> bool:
    """Tell whether a rate is a fraction that the arithmetic takes exactly."""
    if not rate.is_finite() or not 0 < rate < 1:
        return False
    return rate == rate.quantize(Decimal(1).scaleb(-RATE_DECIMALS), context=EXACT)
