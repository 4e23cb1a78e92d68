"""Blind matching and ranking: which lenders' terms fit a wish, in the person's interest, before any lender learns of it.

Pure: no clock, no chance, no score, and no word of what a lender pays the operator. The same inputs give the same
order for ever, so that the receipt of a route can be checked years later.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from uuid import UUID

from compliance import canonical, criteria
from compliance.criteria import Attribute, Catalogue, Criteria, Scalar
from compliance.vocabulary import PartnerId, PartnerKind
from partners import loan_math
from partners.loan_math import Formula, Schedule
from partners.terms import (
    INSTALMENTS_CEILING,
    MONEY_CEILING_MINOR,
    Fee,
    Limits,
    Method,
    Terms,
    TermsUnacceptable,
)

METRIC = "total_cost_to_person@1"
LATE_DAYS = 30
AGE_MAX = 150


class ProductKind(StrEnum):
    """How the money is drawn."""

    INSTALMENT = "instalment"
    REVOLVING_DRAW = "revolving_draw"


class LeftOutCode(StrEnum):
    """Why a product is not offered, in the order in which it is asked; the first that applies is told."""

    AGE_NOT_ESTABLISHED = "age_not_established"
    PARTNER_SUSPENDED = "partner_suspended"
    LICENCE_NOT_VALID = "licence_not_valid"
    PRODUCT_NOT_OPEN = "product_not_open"
    CURRENCY_NOT_OFFERED = "currency_not_offered"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    TENOR_NOT_OFFERED = "tenor_not_offered"
    REGION_NOT_SERVED = "region_not_served"
    AGE_NOT_ACCEPTED = "age_not_accepted"
    STUDENT_NOT_ESTABLISHED = "student_not_established"
    STUDENT_NOT_SERVED = "student_not_served"
    CRITERIA_NOT_MET = "criteria_not_met"
    TERMS_UNACCEPTABLE = "terms_unacceptable"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for, and the few hard facts that lenders publish conditions on; `None` is not known."""

    amount_minor: int
    currency: str
    instalments: int
    region: str
    age: int | None
    is_student: bool | None
    use_of_funds: str
    jurisdiction: str
    as_of: date


@dataclass(frozen=True, slots=True)
class Period:
    """From a day on, and before another; open where that is `None`."""

    since: date
    until: date | None = None

    def covers(self, day: date) -> bool:
        """Tell whether a day lies in the period."""
        return self.since <= day and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True)
class Licence:
    """What allows a partner to lend in a jurisdiction."""

    number: str
    jurisdiction: str
    valid: Period


@dataclass(frozen=True, slots=True)
class Product:
    """A partner's published loan. What its partner pays the operator is not here, so it cannot be an input.

    `operator_stake` is shown on the offer and takes no part in the order.
    """

    id: UUID
    partner: PartnerId
    lender_class: PartnerKind
    kind: ProductKind
    currency: str
    limits: Limits
    daily_rate: Decimal
    method: Method
    repayment_day: int
    overdue_multiplier: Decimal
    fees: tuple[Fee, ...]
    regions: frozenset[str]
    age_min: int
    age_max: int
    serves_students: bool
    criteria: Criteria | None
    licence: Licence
    offered: Period
    partner_suspended: bool
    operator_stake: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """A lender's terms for a wish, in money and in named annual rates."""

    product: Product
    plan: Schedule
    rates: Mapping[Formula, Decimal]

    @property
    def total_cost_minor(self) -> int:
        """Interest and every fee, if all is paid on time."""
        return self.plan.total_cost_minor

    @property
    def monthly_minor(self) -> int:
        """The largest payment of any month."""
        return max(row.payment_minor for row in self.plan.instalments)

    @property
    def late_minor(self) -> int:
        """The worst case for lateness: the penalty when the dearest instalment is paid `LATE_DAYS` late."""
        late = timedelta(days=LATE_DAYS)
        return max(
            loan_math.penalty(
                self.plan.terms, row.principal_minor + row.interest_minor, row.due, row.due + late
            )
            for row in self.plan.instalments
        )

    @property
    def schedule_digest(self) -> str:
        """What the person was shown, bound by its hash."""
        return canonical.digest(loan_math.record(self.plan))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A product that is not offered, and why."""

    product: UUID
    partner: PartnerId
    code: LeftOutCode


@dataclass(frozen=True, slots=True)
class Route:
    """The ranked answer: best first, and everybody who is not in it."""

    application: UUID
    metric: str
    ranked: tuple[Offer, ...]
    left_out: tuple[LeftOut, ...]


METRICS: Mapping[str, Callable[[Offer], int]] = {METRIC: attrgetter("total_cost_minor")}
"""Published metrics, lowest first. An old version stays as it was, so that its routes can be recomputed."""


def hard_facts(regions: frozenset[str]) -> Catalogue:
    """List what a product's criteria may ask about: nothing that is inferred about the person."""
    facts = (
        Attribute("amount_minor", "integer", low=0, high=MONEY_CEILING_MINOR),
        Attribute("instalments", "integer", low=1, high=INSTALMENTS_CEILING),
        Attribute("region", "code", codes=regions),
        Attribute("age", "integer", low=0, high=AGE_MAX),
    )
    return {fact.name: fact for fact in facts}


def route(application: UUID, wish: Wish, products: Iterable[Product], *, metric: str = METRIC) -> Route:
    """Match a wish with products and rank the offers by a published metric.

    Equal offers are ordered by SHA-256 of the application's and the product's id, so that no lender is first by habit.
    """
    offers: list[Offer] = []
    left_out: list[LeftOut] = []
    for product in in_order(products):
        answer = _offer(wish, product)
        if isinstance(answer, Offer):
            offers.append(answer)
        else:
            left_out.append(LeftOut(product.id, product.partner, answer))
    cost = METRICS[metric]
    offers.sort(key=lambda offer: (cost(offer), _lot(application, offer.product.id)))
    return Route(application, metric, tuple(offers), tuple(left_out))


def in_order(products: Iterable[Product]) -> Sequence[Product]:
    """Sort by id, so that the order in which products were read means nothing; an id comes once."""
    ordered = sorted(products, key=lambda product: product.id)
    if len({product.id for product in ordered}) != len(ordered):
        raise ValueError("a product was given twice")
    return ordered


def _offer(wish: Wish, product: Product) -> Offer | LeftOutCode:
    code = _left_out(wish, product)
    if code is not None:
        return code
    try:
        plan = loan_math.schedule(_terms(wish, product), product.limits)
        return Offer(product, plan, loan_math.rates(plan))
    except TermsUnacceptable:
        return LeftOutCode.TERMS_UNACCEPTABLE


def _left_out(wish: Wish, product: Product) -> LeftOutCode | None:
    """Ask the gates in their published order; what is unknown keeps a product out."""
    if wish.age is None:
        return LeftOutCode.AGE_NOT_ESTABLISHED
    limits, licence, day = product.limits, product.licence, wish.as_of
    licensed = licence.jurisdiction == wish.jurisdiction and licence.valid.covers(day)
    student_known = product.serves_students or wish.is_student is not None
    gates = (
        (not product.partner_suspended, LeftOutCode.PARTNER_SUSPENDED),
        (licensed, LeftOutCode.LICENCE_NOT_VALID),
        (product.offered.covers(day), LeftOutCode.PRODUCT_NOT_OPEN),
        (product.currency == wish.currency, LeftOutCode.CURRENCY_NOT_OFFERED),
        (limits.takes_principal(wish.amount_minor), LeftOutCode.AMOUNT_OUT_OF_RANGE),
        (limits.takes_instalments(wish.instalments), LeftOutCode.TENOR_NOT_OFFERED),
        (wish.region in product.regions, LeftOutCode.REGION_NOT_SERVED),
        (product.age_min <= wish.age <= product.age_max, LeftOutCode.AGE_NOT_ACCEPTED),
        (student_known, LeftOutCode.STUDENT_NOT_ESTABLISHED),
        (product.serves_students or not wish.is_student, LeftOutCode.STUDENT_NOT_SERVED),
        (_criteria_met(wish, product), LeftOutCode.CRITERIA_NOT_MET),
    )
    return next((code for passed, code in gates if not passed), None)


def _criteria_met(wish: Wish, product: Product) -> bool:
    """Match on hard facts alone: criteria that ask about anything else are never met."""
    if product.criteria is None:
        return True
    facts: dict[str, Scalar | None] = {
        "amount_minor": wish.amount_minor,
        "instalments": wish.instalments,
        "region": wish.region,
        "age": wish.age,
    }
    return criteria.attributes(product.criteria) <= facts.keys() and criteria.matches(product.criteria, facts)


def _terms(wish: Wish, product: Product) -> Terms:
    return Terms(
        principal_minor=wish.amount_minor,
        disbursed=wish.as_of,
        instalments=wish.instalments,
        daily_rate=product.daily_rate,
        method=product.method,
        repayment_day=product.repayment_day,
        overdue_multiplier=product.overdue_multiplier,
        fees=product.fees,
    )


def _lot(application: UUID, product: UUID) -> bytes:
    return hashlib.sha256(application.bytes + product.bytes).digest()
