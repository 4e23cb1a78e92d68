"""Products: the loans that lenders publish, open to matching between two dates."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from tortoise.queryset import QuerySet

from compliance import criteria, criteria_json, ids
from compliance.act import Act, View
from compliance.canonical import Json
from compliance.criteria import Criteria
from compliance.refusals import Fault, NotFound, Unacceptable
from compliance.vocabulary import Language, PartnerId, PartnerKind
from consent.permits import BUSINESS_ZONE
from partners import directory, loan_math, routing
from partners.routing import Licence, Period, Product, ProductKind
from partners.tables import PartnerRow, ProductRow
from partners.terms import Charged, Fee, Limits, Method

PRODUCTS_MAX = 500
"""How many products one match looks at; more need an index by hard facts first."""

Names = Mapping[Language, str]


@dataclass(frozen=True, slots=True)
class ProductTerms:
    """What a lender lends, to whom and at what price. `criteria` ask about `routing.hard_facts` only.

    `jurisdiction` is where the lender's licence allows it to lend.
    """

    kind: ProductKind
    currency: str
    limits: Limits
    daily_rate: Decimal
    method: Method
    regions: frozenset[str]
    jurisdiction: str = "CN"
    repayment_day: int = 10
    overdue_multiplier: Decimal = Decimal("1.5")
    fees: tuple[Fee, ...] = ()
    age_min: int = 18
    age_max: int = 65
    serves_students: bool = False
    criteria: Criteria | None = None


@dataclass(frozen=True, slots=True)
class Titles:
    """What a product and its lender are called."""

    partner: PartnerId
    product: Names
    lender: Names


async def publish(
    act: Act, partner: PartnerId, terms: ProductTerms, names: Names, *, open_from: date, open_until: date
) -> ProductRow:
    """Publish a lender's product, open from a day on and before another. Records `product_published`.

    Raises `Unacceptable` for a partner that is no lender and for a period without a day.
    """
    lender = await directory.find(act, partner)
    if PartnerKind(lender.kind) not in directory.LENDERS:
        fault = Fault("/partner", "not_a_lender", "only a lender publishes products")
        raise Unacceptable("a credit bureau lends nothing", fault)
    if open_until <= open_from:
        fault = Fault("/open_until", "period_empty", f"a day after {open_from}")
        raise Unacceptable("the product would never be open", fault)
    row = await ProductRow.create(
        id=ids.ordered_id(),
        partner=partner,
        name_zh=names[Language.ZH_CN],
        name_en=names[Language.EN],
        terms=_write(terms),
        open_from=open_from,
        open_until=open_until,
        made_at=act.now,
        using_db=act.db,
    )
    act.record(
        "product_published", {"product": ids.public("prd", row.id), "terms": _write(terms)}, partner=partner
    )
    return row


async def open_products(at: Act | View) -> tuple[Product, ...]:
    """Every product whose period has not ended, with what its lender's entry in the directory says today."""
    return await _read_all(at, ProductRow.filter(open_until__gt=_today(at)))


async def open_of(at: Act | View, partner: PartnerId) -> tuple[Product, ...]:
    """The products of one lender that are open today."""
    today = _today(at)
    return await _read_all(at, ProductRow.filter(partner=partner, open_from__lte=today, open_until__gt=today))


async def _read_all(at: Act | View, query: QuerySet[ProductRow]) -> tuple[Product, ...]:
    rows = await query.using_db(at.db).order_by("id").limit(PRODUCTS_MAX)
    lenders = {p.id: p for p in await PartnerRow.filter(id__in={r.partner for r in rows}).using_db(at.db)}
    return tuple(_read(row, lenders[row.partner]) for row in rows)


def _today(at: Act | View) -> date:
    return at.now.astimezone(BUSINESS_ZONE).date()


async def owner(at: Act | View, product: UUID) -> PartnerId:
    """Whose product it is, or 404."""
    row = await ProductRow.filter(id=product).using_db(at.db).first()
    if row is None:
        raise NotFound
    return PartnerId(row.partner)


async def titles(at: Act | View, products: set[UUID]) -> dict[UUID, Titles]:
    """What these products and their lenders are called."""
    rows = await ProductRow.filter(id__in=products).using_db(at.db)
    lenders = {p.id: p for p in await PartnerRow.filter(id__in={r.partner for r in rows}).using_db(at.db)}
    return {row.id: Titles(PartnerId(row.partner), _names(row), _names(lenders[row.partner])) for row in rows}


def _names(row: ProductRow | PartnerRow) -> Names:
    return {Language.ZH_CN: row.name_zh, Language.EN: row.name_en}


def _write(terms: ProductTerms) -> dict[str, Json]:
    limits = terms.limits
    return {
        "kind": terms.kind,
        "currency": terms.currency,
        "principal_minor": [limits.principal_min_minor, limits.principal_max_minor],
        "instalments": [limits.instalments_min, limits.instalments_max],
        "daily_rate": loan_math.decimal_text(terms.daily_rate),
        "method": terms.method,
        "repayment_day": terms.repayment_day,
        "overdue_multiplier": loan_math.decimal_text(terms.overdue_multiplier),
        "fees": [[f.amount_minor, f.collector, f.charged] for f in terms.fees],
        "regions": sorted(terms.regions),
        "jurisdiction": terms.jurisdiction,
        "age": [terms.age_min, terms.age_max],
        "serves_students": terms.serves_students,
        "criteria": criteria.canonical(terms.criteria) if terms.criteria else None,
    }


def _read(row: ProductRow, lender: PartnerRow) -> Product:
    terms: dict[str, Any] = row.terms
    regions = frozenset(terms["regions"])
    asked = terms["criteria"]
    return Product(
        id=row.id,
        partner=PartnerId(row.partner),
        lender_class=PartnerKind(lender.kind),
        kind=ProductKind(terms["kind"]),
        currency=terms["currency"],
        limits=Limits(*terms["principal_minor"], *terms["instalments"]),
        daily_rate=Decimal(terms["daily_rate"]),
        method=Method(terms["method"]),
        repayment_day=terms["repayment_day"],
        overdue_multiplier=Decimal(terms["overdue_multiplier"]),
        fees=tuple(Fee(amount, collector, Charged(when)) for amount, collector, when in terms["fees"]),
        regions=regions,
        age_min=terms["age"][0],
        age_max=terms["age"][1],
        serves_students=terms["serves_students"],
        criteria=criteria_json.parse(asked, routing.hard_facts(regions)) if asked else None,
        licence=Licence(
            lender.licence, terms["jurisdiction"], Period(lender.licence_from, lender.licence_until)
        ),
        offered=Period(row.open_from, row.open_until),
        partner_suspended=lender.suspended_at is not None,
        operator_stake=lender.operator_stake,
    )
