"""The fictional institutions of the demo and what they offer. None of them exists."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from compliance.vocabulary import Language, PartnerKind
from partners.directory import Institution
from partners.products import Names, ProductTerms
from partners.routing import ProductKind
from partners.terms import Charged, Fee, Limits, Method

LICENCE_ZH = "虚构许可：仅供演示，不代表任何真实的征信业务许可"
LICENCE_EN = "Fictional licence: for the demonstration only, it stands for no real credit-reporting licence"
RELAY_ZH = "虚构的转接安排：仅供演示"
RELAY_EN = "Fictional relay arrangement: for the demonstration only"
EVERYWHERE = frozenset({"east", "central", "west", "northeast"})
SINCE, UNTIL = date(2020, 1, 1), date(2040, 1, 1)
HARBOUR, MEADOW, BROOK, RIDGE, BEACON = "harbour", "meadow", "brook", "ridge", "beacon"
OUTSIDE = "outside"
"""No institution: the reader's own client, for which Harbour Bank answers."""


NAMES = {
    HARBOUR: ("港湾银行", "Harbour Bank"),
    MEADOW: ("草原消费金融", "Meadow Consumer Finance"),
    BROOK: ("小溪小额贷款", "Brook Microloans"),
    RIDGE: ("山脊银行", "Ridge Bank"),
    BEACON: ("灯塔征信", "Beacon Credit Bureau"),
}


def names(code: str) -> Names:
    """What an institution is called: always as fictional."""
    zh, en = NAMES[code]
    return {Language.ZH_CN: f"{zh}（虚构）", Language.EN: f"{en} (fictional)"}


def institutions(hosts: dict[str, str]) -> tuple[Institution, ...]:
    """The partners; `hosts` says at which host and port each lender's own pages are."""

    def one(code: str, kind: PartnerKind, *, stake: bool = False) -> Institution:
        return Institution(
            code=code,
            name_zh=names(code)[Language.ZH_CN],
            name_en=names(code)[Language.EN],
            kind=kind,
            licence=f"DEMO-{code.upper()}",
            licence_from=SINCE,
            licence_until=UNTIL,
            owned_hosts=(hosts[code],) if code in hosts else (),
            operator_stake=stake,
        )

    return (
        one(HARBOUR, PartnerKind.BANK),
        one(MEADOW, PartnerKind.CONSUMER_FINANCE, stake=True),
        one(BROOK, PartnerKind.MICROLENDER),
        one(RIDGE, PartnerKind.BANK),
        one(BEACON, PartnerKind.CREDIT_BUREAU),
    )


@dataclass(frozen=True, slots=True)
class DemoProduct:
    """One fictional product and whose it is."""

    partner: str
    terms: ProductTerms
    names: Names


def products(currency: str) -> tuple[DemoProduct, ...]:
    """What is offered: two lenders that fit the story's wish, and two that do not, for a reason each."""

    def terms(
        low: int, high: int, rate: str, *, regions: frozenset[str] = EVERYWHERE, fees: tuple[Fee, ...] = ()
    ) -> ProductTerms:
        return ProductTerms(
            kind=ProductKind.INSTALMENT,
            currency=currency,
            limits=Limits(low, high, 1, 12),
            daily_rate=Decimal(rate),
            method=Method.EQUAL_PRINCIPAL,
            regions=regions,
            fees=fees,
        )

    def named(zh: str, en: str) -> Names:
        return {Language.ZH_CN: zh, Language.EN: en}

    handling = Fee(1_000, "Meadow Consumer Finance (fictional)", Charged.UPFRONT)
    return (
        DemoProduct(HARBOUR, terms(10_000, 5_000_000, "0.0004"), named("港湾分期", "Harbour instalments")),
        DemoProduct(
            MEADOW,
            terms(10_000, 2_000_000, "0.0004", fees=(handling,)),
            named("草原易分期", "Meadow instalments"),
        ),
        DemoProduct(BROOK, terms(10_000, 300_000, "0.0003"), named("小溪周转", "Brook short loan")),
        DemoProduct(
            RIDGE,
            terms(10_000, 5_000_000, "0.00035", regions=frozenset({"west"})),
            named("山脊西部贷", "Ridge western loan"),
        ),
    )
