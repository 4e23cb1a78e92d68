"""The fictional world of the story: partners, staff, products, a licence, a model, and people with stamped consents."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from joserfc.jwk import ECKey
from numpy.typing import NDArray

from api import staff as staff_of
from api.demo import catalogue, credentials
from api.demo.credentials import DEMO
from api.settings import Settings
from compliance.act import open_act, open_view
from compliance.database import ground
from compliance.vocabulary import Categories, PartnerId, Purpose, Staff, StaffRole, UserId
from consent import grants, notices, people, permits
from consent.people import NewPerson
from partners import directory, products
from scoring import behaviour, development, population, registry, release, synthetic, training
from scoring.behaviour import Behaviour
from scoring.development import Developed
from scoring.features import Matrix
from scoring.release import Relay
from scoring.scorer import InsufficientEvidence, Scorer

SYNTHETIC_USERS = 6_000
SYNTHETIC_SEED = 20_261_101
SYNTHETIC_CUTOFF = datetime(2026, 11, 1, tzinfo=UTC)
POPULATION_MAX = 1_500
SEED, THREADS = 7, 2
REGIONS = ("east", "central", "west", "northeast")
Tell = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Team:
    """Who does what: no step that needs two people is done by one."""

    developer: Staff
    validator: Staff
    officer: Staff
    manager: Staff
    auditor: Staff


@dataclass(frozen=True, slots=True)
class World:
    """What the story starts from."""

    team: Team
    partners: Mapping[str, PartnerId]
    hosts: Mapping[str, str]
    """Host and port at which each lender, and the reader's own client, is reached."""
    keys: Mapping[str, ECKey]
    people: tuple[UserId, ...]
    """Some whose data carry an answer, in an order that says nothing."""
    set_name: str
    read: int
    quarantined: int
    currency: str
    card: Mapping[str, Any]
    split: str
    categories: Categories


async def make(settings: Settings, data: Path | None, hosts: dict[str, str], tell: Tell) -> World:
    """Make the world, or find it as it was made before; every change is an act like any other."""
    team = await _team()
    folder = data or _synthetic(settings.home, tell)
    tell("reading", 0.0)
    read = behaviour.read(folder, settings.home / "quarantine" / folder.name)
    developed, scorer = await _model(settings, team, read, tell)
    partner_ids, keys = await _partners(settings, team, hosts, read.schema.currency or "CNY")
    tell("people", 0.0)
    users = await _people(settings, read, developed, scorer, partner_ids["harbour"])
    tell("people", 1.0)
    return World(
        team=team,
        partners=partner_ids,
        hosts=hosts,
        keys=keys,
        people=users,
        set_name=read.name,
        currency=read.schema.currency or "CNY",
        read=read.read,
        quarantined=read.quarantined,
        card=json.loads(developed.artifact.files["card.json"]),
        split=developed.split,
        categories=frozenset(scorer.categories) & settings.offered,
    )


def _synthetic(home: Path, tell: Tell) -> Path:
    """The stamped synthetic set, drawn once."""
    folder = home / "demo" / "synthetic"
    if not (folder / "schema.json").exists():
        tell("drawing a synthetic population", 0.0)
        synthetic.generate(folder, users=SYNTHETIC_USERS, seed=SYNTHETIC_SEED, cutoff=SYNTHETIC_CUTOFF)
    return folder


async def _team() -> Team:
    async with open_act(DEMO, None) as act:
        await notices.publish(act)
        return Team(
            developer=await staff_of.admit(act, "demo-developer", StaffRole.RISK_OFFICER),
            validator=await staff_of.admit(act, "demo-validator", StaffRole.RISK_OFFICER),
            officer=await staff_of.admit(act, "demo-officer", StaffRole.COMPLIANCE_OFFICER),
            manager=await staff_of.admit(act, "demo-manager", StaffRole.PARTNER_MANAGER),
            auditor=await staff_of.admit(act, "demo-auditor", StaffRole.AUDITOR),
        )


async def _model(settings: Settings, team: Team, read: Behaviour, tell: Tell) -> tuple[Developed, Scorer]:
    """Develop, register, validate, approve and put in use: three people."""
    async with open_act(team.developer, Purpose.MODEL_DEVELOPMENT) as act:
        permit = permits.research_permit(act, read.name, act.now)
    developed = development.develop(permit, read, settings.offered, seed=SEED, threads=THREADS, progress=tell)
    training.save(developed.artifact, ground().home / "models")
    async with open_act(team.developer, Purpose.MODEL_DEVELOPMENT) as act:
        row = await registry.register(act, developed.artifact.digest)
    if row.state == "candidate":
        async with open_act(team.validator, Purpose.MODEL_DEVELOPMENT) as act:
            row = await registry.validate(act, row.id)
    if row.state == "validated":
        async with open_act(team.officer, Purpose.MODEL_DEVELOPMENT) as act:
            row = await registry.approve(act, row.id)
    if row.state == "approved":
        async with open_act(team.officer, Purpose.MODEL_DEVELOPMENT) as act:
            await registry.promote(act, row.id)
    if row.state == "retired":  # another set was played since
        async with open_act(team.officer, Purpose.MODEL_DEVELOPMENT) as act:
            await registry.roll_back(act, row.id)
    return developed, registry.scorer(developed.artifact.digest)


async def _partners(
    settings: Settings, team: Team, hosts: dict[str, str], currency: str
) -> tuple[dict[str, PartnerId], dict[str, ECKey]]:
    """Admit the fictional institutions, publish their products, register a client of each with its own key."""
    found: dict[str, PartnerId] = {}
    keys = {}
    for institution in catalogue.institutions(hosts):
        async with open_act(team.manager, None) as act:
            row = await directory.admit(act, institution)
        found[institution.code] = PartnerId(row.id)
        keys[institution.code] = await credentials.client(
            settings, institution.code, PartnerId(row.id), hosts
        )
    async with open_view(team.manager) as view:
        known = {(product.partner, product.currency) for product in await products.open_products(view)}
    for offered in catalogue.products(currency):
        if (found[offered.partner], currency) not in known:
            async with open_act(team.manager, None) as act:
                period = {"open_from": catalogue.SINCE, "open_until": catalogue.UNTIL}
                await products.publish(act, found[offered.partner], offered.terms, offered.names, **period)
    await record_licence(team, found[catalogue.HARBOUR])
    return found, keys


async def record_licence(team: Team, lender: PartnerId, bureau: PartnerId | None = None) -> None:
    """Record the plainly fictional licence (or a bureau's relay) by one person, and approve it by another."""
    relay = Relay(bureau, lender) if bureau else None
    zh, en = (
        (catalogue.RELAY_ZH, catalogue.RELAY_EN) if relay else (catalogue.LICENCE_ZH, catalogue.LICENCE_EN)
    )
    async with open_view(team.manager) as view:
        if await release.is_open(view, lender, bureau):
            return
    async with open_act(team.manager, None) as act:
        licence = await release.record_licence(act, text_zh=zh, text_en=en, fictional=True, relay=relay)
    async with open_act(team.officer, None) as act:
        await release.approve_licence(act, licence)


async def _people(
    settings: Settings, read: Behaviour, developed: Developed, scorer: Scorer, lister: PartnerId
) -> tuple[UserId, ...]:
    """Bring the people of the set that training never saw, with fictional ages and stamped consents to be listed."""
    rows = np.flatnonzero(developed.held_back)[:POPULATION_MAX]
    names = [developed.matrix.users[i] for i in rows]
    attributes = _attributes(read, names)
    brought = [NewPerson(name, _fictional_birthday(name), fictional=True) for name in names]
    async with open_act(DEMO, None) as act:
        known = await people.bring(act, brought)
        users = tuple(known[name] for name in names)
        part = _rows(developed, rows)
        await population.store(act, scorer, part, users, attributes)
    async with open_act(DEMO, Purpose.PRESCREEN) as act:
        live = await permits.population_permit(act, Purpose.PRESCREEN, lister, act.now)
        fresh = [user for user in dict.fromkeys(users) if user not in live.grants]
        categories = frozenset(scorer.categories) & settings.offered
        await grants.give_fictional(act, fresh, lister, Purpose.PRESCREEN, categories)
        # As with a yes of their own: without a pseudonym the lister may look at nobody, not even at their age.
        for user in fresh:
            await people.pseudonym(act, user, lister)
    return _answerable(scorer, part, users, categories)


def _rows(developed: Developed, rows: NDArray[np.intp]) -> Matrix:
    matrix = developed.matrix
    return replace(
        matrix,
        users=tuple(matrix.users[i] for i in rows),
        cutoffs=tuple(matrix.cutoffs[i] for i in rows),
        values=matrix.values[rows],
        events={c: v[rows] for c, v in matrix.events.items()},
        active_days={c: v[rows] for c, v in matrix.active_days.items()},
    )


def _attributes(read: Behaviour, names: list[str]) -> tuple[Mapping[str, str | int | bool | None], ...]:
    """What lists may ask by: from the profiles where they are there, else fictional.

    Who may be a student is on no list, so an unknown `is_student` stays unknown. A set without that column says it of
    nobody: there it is fictional, and False.
    """
    told = {c for c in ("region", "income_band", "is_student") if c in read.profiles.columns}
    stated: dict[str, dict[str, Any]] = (
        {row["user"]: row for row in read.profiles.filter(pl.col("user").is_in(names)).to_dicts()}
        if told
        else {}
    )

    def one(name: str) -> dict[str, str | int | bool | None]:
        row = stated.get(name, {})
        return {
            "region": row.get("region") or REGIONS[_lot(name) % len(REGIONS)],
            "income_band": row.get("income_band"),
            "is_student": row.get("is_student") if "is_student" in told else False,
        }

    return tuple(one(name) for name in names)


def _answerable(
    scorer: Scorer, part: Matrix, users: tuple[UserId, ...], categories: Categories
) -> tuple[UserId, ...]:
    """Those whose data carry an answer with several reasons: the story needs a few of them."""
    found = []
    for i, user in enumerate(users):
        evidence = population.evidence_of(
            scorer,
            [int(part.events[c][i]) if c in part.events else 0 for c in scorer.categories],
            [int(part.active_days[c][i]) if c in part.active_days else 0 for c in scorer.categories],
            categories,
        )
        try:
            evaluation = scorer.evaluate(np.asarray(part.values[i]), evidence, categories)
        except InsufficientEvidence:
            continue
        if len(evaluation.reasons) >= 2:
            found.append(user)
        if len(found) == 8:
            break
    return tuple(found)


def _lot(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def _fictional_birthday(name: str) -> date:
    """An adult's age, drawn from a hash: the set's own ages are not used."""
    return date(1970, 1, 1) + timedelta(days=_lot(name) % (365 * 30))
