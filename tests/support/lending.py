"""A small market for the tests of routing: people, lenders with products, and their banks at the other end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx2

from api.demo.bank import BankConfig, create_bank
from compliance import ids
from compliance.act import open_act
from compliance.database import ground
from compliance.vocabulary import (
    OFFERED,
    Language,
    PartnerClient,
    PartnerId,
    PartnerKind,
    Person,
    Purpose,
    Staff,
    StaffId,
    StaffRole,
    UserId,
    Worker,
)
from consent import people
from consent.people import NewPerson
from partners import applications, directory, products
from partners.applications import Application, Picked
from partners.connectors.signed_http import SignedHttp
from partners.directory import Institution
from partners.products import ProductTerms
from partners.routing import ProductKind
from partners.terms import Limits, Method
from partners.wishes import Stated, UseOfFunds

PURPOSE = Purpose.LOAN_REFERRAL
MANAGER = Staff(StaffId(uuid4()), StaffRole.PARTNER_MANAGER)
DELIVERER = Worker("delivery")
SINCE, UNTIL = date(2020, 1, 1), date(2040, 1, 1)
TERMS = ProductTerms(
    kind=ProductKind.INSTALMENT,
    currency="CNY",
    limits=Limits(100_000, 5_000_000, 1, 12),
    daily_rate=Decimal("0.0004"),
    method=Method.EQUAL_PRINCIPAL,
    regions=frozenset({"CN-BJ", "CN-SH"}),
)
WISH = Stated(
    amount_minor=600_000,
    currency="CNY",
    instalments=6,
    region="CN-BJ",
    is_student=False,
    use_of_funds=UseOfFunds.EDUCATION,
    jurisdiction="CN",
)


async def a_person(born_on: date | None = date(1990, 5, 1)) -> Person:
    """Somebody in a session of their own."""
    reference = str(uuid4())
    async with open_act(DELIVERER, None) as act:
        user = (await people.bring(act, [NewPerson(reference, born_on, fictional=True)]))[reference]
    return Person(UserId(user), uuid4(), datetime.now(UTC), "one_time_link")


async def a_lender(code: str, **changes: Any) -> PartnerId:
    """A bank in the directory."""
    given: dict[str, Any] = {
        "code": code,
        "name_zh": f"{code}银行",
        "name_en": f"Bank {code}",
        "kind": PartnerKind.BANK,
        "licence": "B0001",
        "licence_from": SINCE,
        "licence_until": UNTIL,
        "owned_hosts": (f"{code}.example",),
    }
    async with open_act(MANAGER, None) as act:
        row = await directory.admit(act, Institution(**(given | changes)))
    return PartnerId(row.id)


async def a_product(lender: PartnerId, terms: ProductTerms = TERMS) -> UUID:
    """A product that is open."""
    names = {Language.ZH_CN: "分期", Language.EN: "Instalments"}
    async with open_act(MANAGER, None) as act:
        row = await products.publish(act, lender, terms, names, open_from=SINCE, open_until=UNTIL)
    return row.id


def a_client(lender: PartnerId) -> PartnerClient:
    return PartnerClient(lender, f"client-{lender}", frozenset({"referrals", "outcomes"}))


@dataclass
class Bank:
    """The other end: the demo's bank behind a wire that can be made to fail."""

    lender: PartnerId
    code: str
    calls: list[tuple[str, str]] = field(default_factory=list)
    plan: list[Any] = field(default_factory=list)
    """What happens to each call in turn: None (it works), a status, or an exception; `lost` reaches the bank first."""

    def __post_init__(self) -> None:
        key = ground().keyring.signing.as_dict(private=False)
        config = BankConfig(
            partner=ids.public("ptn", self.lender),
            origin=ground().origin,
            name_zh="甲银行",
            name_en="Bank A",
            jwks={"keys": [key]},
        )
        self.inner = httpx2.ASGITransport(create_bank(config))

    def connector(self, **changes: Any) -> SignedHttp:
        given = {"address": f"https://{self.code}.example", "landing": f"https://{self.code}.example/apply"}
        return SignedHttp(**(given | {"transport": Wire(self)} | changes))

    @property
    def posted(self) -> int:
        return sum(method == "POST" for method, _ in self.calls)


class Lost(Exception):
    """The bank gets the call; its answer is lost."""


class Wire(httpx2.AsyncBaseTransport):
    """What lies between us and a bank."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.bank.calls.append((request.method, request.url.path))
        happens = self.bank.plan.pop(0) if self.bank.plan else None
        if isinstance(happens, int):
            return httpx2.Response(happens, headers={"Location": "https://elsewhere.example/"})
        if isinstance(happens, httpx2.Response):
            return happens
        if isinstance(happens, Lost):
            await self.bank.inner.handle_async_request(request)
            raise httpx2.ReadTimeout("no answer", request=request)
        if happens is not None:
            await happens(request)
        return await self.bank.inner.handle_async_request(request)


async def apply(person: Person, wish: Stated = WISH, *, agree: bool = True) -> Application:
    async with open_act(person, PURPOSE) as act:
        return await applications.apply(act, wish, Language.ZH_CN, agree_to_matching=agree, offered=OFFERED)


async def pick(
    person: Person,
    made: Application,
    connectors: Mapping[str, SignedHttp],
    *,
    rank: int = 1,
    agree: bool = True,
) -> Picked:
    async with open_act(person, PURPOSE) as act:
        return await applications.pick(
            act,
            made.row.id,
            made.offers[rank - 1].id,
            Language.EN,
            agree=agree,
            offered=OFFERED,
            connectors=connectors,
        )


@dataclass(frozen=True)
class Market:
    """One lender with its bank and a person who has applied."""

    person: Person
    lender: PartnerId
    bank: Bank
    made: Application

    @property
    def connectors(self) -> dict[str, SignedHttp]:
        return {self.bank.code: self.bank.connector()}

    async def pick(self) -> Picked:
        return await pick(self.person, self.made, self.connectors)


async def a_market(code: str = "alpha") -> Market:
    lender = await a_lender(code)
    await a_product(lender)
    person = await a_person()
    return Market(person, lender, Bank(lender, code), await apply(person))
