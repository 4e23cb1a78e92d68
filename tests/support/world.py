"""A small world in a test's own database: a model in use, a licence, people with data, banks, and callers over HTTP."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import numpy as np
from litestar import Litestar
from support import apps, oauth_app, small_incomes, small_models
from support.lending import a_lender, a_product
from support.oauth_client import OAuthClient

from api import sessions, staff
from api.oauth.scopes import OPERATORS, Scope
from api.settings import Settings
from compliance import ids
from compliance.act import open_act, open_view
from compliance.database import Database, ground
from compliance.vocabulary import (
    OFFERED,
    OPERATOR,
    AnswerForm,
    Categories,
    Category,
    GrantId,
    Language,
    PartnerClient,
    PartnerId,
    PartnerKind,
    Person,
    Purpose,
    Staff,
    StaffId,
    StaffRole,
    Worker,
)
from consent import deletion, grants, people
from consent.grants import Ask
from consent.people import NewPerson
from consent.tables import GrantRow
from partners import directory, prescreens, products
from partners.prescreens import Offer, Wanted
from scoring import population, registry, release, scores, training
from scoring.answers import incomes
from scoring.answers.income import IncomeModel
from scoring.release import Relay
from scoring.scorer import InsufficientEvidence, Scorer
from scoring.training import Artifact

ISSUER = "https://xinqiao.example"
BANKS = tuple(scope for scope in Scope if scope not in OPERATORS)
SCORING, LISTING = Purpose.CREDIT_ASSESSMENT, Purpose.PRESCREEN
ALL: Categories = frozenset(small_models.REASONS)
DEVELOPER, VALIDATOR, OFFICER, MANAGER = (
    Staff(StaffId(uuid4()), role)
    for role in (
        StaffRole.RISK_OFFICER,
        StaffRole.RISK_OFFICER,
        StaffRole.COMPLIANCE_OFFICER,
        StaffRole.PARTNER_MANAGER,
    )
)
STORY = Worker("story")
ORDINARY: dict[str, str | int | bool | None] = {
    "region": "east",
    "income_band": "4500_7999",
    "is_student": False,
}


@cache
def rich_rows() -> tuple[int, ...]:
    """Rows of the small model's people who have enough data of every category."""
    matrix, _ = small_models.people()
    enough = [
        (matrix.events[c] >= 30) & (matrix.active_days[c] >= 10) & ~np.isnan(matrix.values[:, n])
        for n, c in zip((0, 2, 4, 6), small_models.REASONS, strict=True)
    ]
    return tuple(int(n) for n in np.flatnonzero(np.logical_and.reduce(enough)))


async def put_model_in_use(made: Artifact | None = None) -> Scorer:
    """Register, validate, approve and promote the small model, or another one: three people."""
    artifact = made or small_models.trained()
    training.save(artifact, ground().home / "models")
    async with open_act(DEVELOPER, Purpose.MODEL_DEVELOPMENT) as act:
        row = await registry.register(act, artifact.digest)
    async with open_act(VALIDATOR, Purpose.MODEL_DEVELOPMENT) as act:
        await registry.validate(act, row.id)
    async with open_act(OFFICER, Purpose.MODEL_DEVELOPMENT) as act:
        await registry.approve(act, row.id)
        await registry.promote(act, row.id)
    return registry.scorer(artifact.digest)


async def put_income_model_in_use() -> IncomeModel:
    """The same three people, for the small income model."""
    artifact = small_incomes.trained()
    training.save(artifact, ground().home / "models")
    async with open_act(DEVELOPER, Purpose.MODEL_DEVELOPMENT) as act:
        row = await registry.register(act, artifact.digest)
    async with open_act(VALIDATOR, Purpose.MODEL_DEVELOPMENT) as act:
        await registry.validate(act, row.id)
    async with open_act(OFFICER, Purpose.MODEL_DEVELOPMENT) as act:
        await registry.approve(act, row.id)
        await registry.promote(act, row.id)
    return incomes.model(artifact.digest)


async def open_channel(bureau: PartnerId | None = None, lender: PartnerId | None = None) -> None:
    """Record a licence (or a bureau's relay to a lender), and have it approved."""
    relay = Relay(bureau, lender) if bureau and lender else None
    async with open_act(MANAGER, None) as act:
        licence = await release.record_licence(
            act, text_zh="虚构", text_en="fictional", fictional=True, relay=relay
        )
    async with open_act(OFFICER, None) as act:
        await release.approve_licence(act, licence)


async def persons(
    count: int,
    *,
    born_on: date | None = date(1990, 5, 1),
    attributes: dict[str, str | int | bool | None] = ORDINARY,
    rows: Sequence[int] | None = None,
) -> list[Person]:
    """People in sessions of their own, with data that carry a score where a model is in use."""
    matrix, _ = small_models.people()
    scorer = small_models.loaded()
    names = [str(uuid4()) for _ in range(count)]
    chosen = np.resize(rows or rich_rows(), count)
    part = replace(
        matrix,
        users=tuple(names),
        cutoffs=tuple(matrix.cutoffs[n] for n in chosen),
        values=matrix.values[chosen],
        events={c: v[chosen] for c, v in matrix.events.items()},
        active_days={c: v[chosen] for c, v in matrix.active_days.items()},
    )
    async with open_act(STORY, None) as act:
        known = await people.bring(act, [NewPerson(name, born_on, fictional=True) for name in names])
        users = tuple(known[name] for name in names)
        await population.store(act, scorer, part, users, (attributes,) * count)
    return [Person(user, uuid4(), datetime.now(UTC), "one_time_link") for user in users]


def answerable(number: int, shared: Categories) -> bool:
    """Whether the model, asked directly, has an answer about the nth of `persons`."""
    matrix, _ = small_models.people()
    row = rich_rows()[number]
    try:
        small_models.loaded().evaluate(matrix.values[row], small_models.evidence(matrix, row), shared)
    except InsufficientEvidence:
        return False
    return True


def an_ask(recipient: PartnerId, purpose: Purpose = SCORING, **changes: Any) -> Ask:
    """What a bank asks for, unless something is changed."""
    given: dict[str, Any] = {
        "bureau": None,
        "user": None,
        "categories": ALL,
        "period_days": 30,
        "data_life_days": 30,
        "calls_per_month": 30,
        "channel": "portal",
    }
    return Ask(recipient=recipient, purpose=purpose, **(given | changes))


async def asked(client: PartnerClient, purpose: Purpose = SCORING, **changes: Any) -> GrantRow:
    """The bank asks; nobody has answered."""
    wanted = an_ask(changes.pop("recipient", client.partner), purpose, **changes)
    async with open_act(client, purpose) as act:
        return await grants.ask(act, wanted, offered=OFFERED)


async def said_yes(
    person: Person, row: GrantRow, categories: Categories | None = None, language: Language = Language.ZH_CN
) -> tuple[GrantRow, str]:
    """The person approves; returns the grant and its receipt."""
    chosen = frozenset(Category(c) for c in row.asked) if categories is None else categories
    async with open_act(person, None) as act:
        return await grants.approve(act, GrantId(row.id), chosen, language)


async def granted(
    person: Person, client: PartnerClient, purpose: Purpose = SCORING, **changes: Any
) -> GrantRow:
    """Asked for by the bank, and given by the person."""
    return (await said_yes(person, await asked(client, purpose, **changes)))[0]


async def withdrawn(person: Person, grant: UUID) -> GrantRow:
    async with open_act(person, None) as act:
        return await grants.withdraw(act, GrantId(grant))


async def deleted(person: Person) -> UUID:
    """The person deletes everything about themselves; the deletion's id."""
    async with open_act(person, None) as act:
        made = await deletion.delete_person(act)
    await deletion.destroy_key(person.user)
    return made.id


async def scored(
    client: PartnerClient,
    person: Person,
    wanted: Categories = ALL,
    answer: AnswerForm = AnswerForm.FULL,
    recipient: PartnerId | None = None,
) -> Any:
    """The bank asks for a score; returns its row."""
    async with open_act(client, SCORING) as act:
        released = await scores.issue(act, person.user, wanted, answer=answer, recipient=recipient)
        return released.value.row


async def a_bank(code: str = "alpha", kind: PartnerKind = PartnerKind.BANK) -> PartnerClient:
    """A bank in the directory, as its client."""
    partner = await a_lender(code, kind=kind)
    return PartnerClient(partner, f"client-{code}", frozenset(BANKS))


async def pseudonym_of(person: Person, client: PartnerClient) -> str:
    """What the bank knows the person by."""
    async with open_act(person, None) as act:
        known = await people.pseudonym(act, person.user, client.partner)
        act.record("pseudonym_read", {}, person=person.user)
    return ids.public("usr", known)


CRITERIA = {"op": "in", "args": [{"property": "band"}, ["A", "B", "C", "D", "E"]]}


async def product_of(client: PartnerClient) -> str:
    """The public id of an open product of the bank's, which is published where there is none."""
    async with open_view(client) as view:
        own = await products.open_of(view, client.partner)
    return ids.public("prd", own[0].id if own else await a_product(client.partner))


async def list_wanted(client: PartnerClient, criteria: object = CRITERIA, **changes: Any) -> UUID:
    """The bank asks for a list."""
    offer = Offer(await product_of(client), 500_000, "CNY", "0.0004")
    async with open_act(client, LISTING) as act:
        wanted: dict[str, Any] = {
            "criteria": criteria,
            "offer": offer,
            "cap": 1_000,
            "valid_until": act.now + prescreens.VALID_MAX / 2,
        }
        return (await prescreens.request(act, Wanted(**(wanted | changes)))).id


async def list_made(entries_min: int = 1) -> Any:
    """The worker makes the list that waits."""
    async with open_act(Worker("list_maker"), LISTING) as act:
        return await prescreens.run_next(act, entries_min=entries_min)


async def kinds(owner: "asyncpg.Connection[asyncpg.Record]", **where: object) -> list[str]:
    """The kinds of facts in the order of their effect, of those that match (`grant_id=...`)."""
    rows = await owner.fetch("select * from compliance_fact order by seq")
    return [r["kind"] for r in rows if all(r[name] == value for name, value in where.items())]


@dataclass
class Software:
    """A partner's software over HTTP; one token lasts for the whole test."""

    http: httpx2.AsyncClient
    client: PartnerClient
    oauth: OAuthClient
    token: str = field(init=False, default="")

    async def headers(self, method: str, path: str, key: str | None = None) -> dict[str, str]:
        """A valid caller's headers; the proof names no query (RFC 9449 section 4.2)."""
        self.token = self.token or await oauth_app.a_token(self.http, self.oauth)
        said = self.oauth.call_headers(method, f"{ISSUER}{path.split('?', maxsplit=1)[0]}", self.token)
        return said | ({"Idempotency-Key": key or str(uuid4())} if method == "POST" else {})

    async def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> httpx2.Response:
        headers = await self.headers(method, path, key)
        return await self.http.request(method, path, json=body, headers=headers)

    def attestation(self, grant: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A signed word on what became of a person's data: deleted, unless something is changed."""
        return self.oauth.statement(
            {"typ": "purge-attestation+jwt"} | (header or {}),
            {"grant_id": grant, "outcome": "purged"} | claims,
        )


@dataclass
class Browser:
    """A session over HTTP."""

    http: httpx2.AsyncClient
    cookie: str

    async def headers(self, method: str, path: str, key: str | None = None) -> dict[str, str]:
        said = {"Cookie": self.cookie, "Origin": ISSUER}
        return said | ({"Idempotency-Key": key or str(uuid4())} if method == "POST" else {})

    async def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> httpx2.Response:
        headers = await self.headers(method, path, key)
        return await self.http.request(method, path, json=body, headers=headers)

    @property
    def form_token(self) -> str:
        """What the session's own pages put into their forms."""
        key, token = ground().keyring.derived("csrf"), self.cookie.partition("=")[2]
        return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()

    async def send_form(self, path: str, **fields: str) -> httpx2.Response:
        """A form as a page of ours sends it."""
        said = {"Cookie": self.cookie, "Origin": ISSUER}
        return await self.http.post(path, data={"_csrf_token": self.form_token} | fields, headers=said)


@dataclass
class World:
    """The running application."""

    http: httpx2.AsyncClient
    settings: Settings

    async def software(
        self,
        code: str = "alpha",
        kind: PartnerKind = PartnerKind.BANK,
        scopes: Sequence[Scope] = BANKS,
    ) -> Software:
        """A bank with a registered client."""
        bank = await a_bank(code, kind)
        registered = await oauth_app.a_client(bank.partner, scopes=tuple(scopes))
        known = replace(bank, client_id=registered.client_id, scopes=frozenset(scopes))
        return Software(self.http, known, registered)

    async def operators_software(self) -> Software:
        """The operator's own client, which brings behaviour."""
        async with open_act(STORY, None) as act:
            await directory.operator(act)
        registered = await oauth_app.a_client(OPERATOR, scopes=tuple(OPERATORS))
        return Software(self.http, PartnerClient(OPERATOR, registered.client_id, OPERATORS), registered)

    async def browser(self, person: Person) -> Browser:
        """The person signs in."""
        link = await sessions.make_link(STORY, self.settings, user=person.user)
        return await self._signed_in(link)

    async def console(self, role: StaffRole, name: str = "") -> Browser:
        """A member of staff signs in."""
        async with open_act(STORY, None) as act:
            admitted = await staff.admit(act, name or role, role)
        return await self._signed_in(
            await sessions.make_link(STORY, self.settings, staff=StaffId(admitted.staff))
        )

    async def _signed_in(self, link: str) -> Browser:
        token = (await sessions.sign_in(self.settings, link)).token
        return Browser(self.http, f"{sessions.cookie_name(self.settings)}={token}")


@asynccontextmanager
async def opened(database: Database, home: Path, **changes: Any) -> AsyncIterator[World]:
    """The whole application, its lifespan running, called without a network."""
    given: dict[str, Any] = {
        "home": home,
        "installation": "development",
        "issuer": ISSUER,
        "database": None,
        "offered": OFFERED,
        "prescreen_entries_min": 1,
    }
    settings = Settings(**(given | changes))
    with apps.built(settings, database) as app:
        async with running(settings, app) as made:
            yield made


@asynccontextmanager
async def running(settings: Settings, app: Litestar) -> AsyncIterator[World]:
    """An application, its lifespan running, called without a network; no address is derived from the Host header."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with (
        oauth_app.alive(app),
        httpx2.AsyncClient(transport=transport, base_url="http://inner.invalid") as http,
    ):
        yield World(http, settings)


def told(answer: httpx2.Response, status: int) -> Any:
    """The JSON of an answer that has the status."""
    assert answer.status_code == status, answer.text
    return answer.json()
