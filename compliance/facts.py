"""Facts: what happened, committed to in the act that made it happen, readable only with the right key."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from compliance import ids
from compliance.canonical import Json, canonical
from compliance.database import ground
from compliance.keys import Sealer
from compliance.vocabulary import (
    FactId,
    GrantId,
    PartnerClient,
    PartnerId,
    Person,
    Principal,
    Purpose,
    Staff,
    UserId,
)

SALT_BYTES = 32
MERGE_DELAY = timedelta(seconds=60)
"""The longest time between a fact's commit and its inclusion in a signed checkpoint that we promise."""
PROMISE_TYPE = "fact-promise+jwt"
INSERT = """
with written as (
    insert into compliance_fact
        (id, recorded_at, kind, partner, person, grant_id, principal, purpose, commitment, sealed)
    select * from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
                         $8::text[], $9::bytea[], $10::bytea[])
    returning id, seq
)
insert into compliance_unplaced (fact, seq) select id, seq from written
"""


@dataclass(frozen=True, slots=True)
class Fact:
    """One past-tense entry, before it is sealed. `payload` holds no floats and no names of people."""

    id: FactId
    kind: str
    recorded_at: datetime
    partner: PartnerId
    person: UserId | None
    grant: GrantId | None
    principal: str
    purpose: Purpose | None
    payload: bytes
    salt: bytes
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a commitment: the canonical payload and its salt."""

    payload: Mapping[str, Json]
    salt: bytes


def make(
    kind: str,
    payload: Mapping[str, Json],
    *,
    at: datetime,
    by: Principal,
    partner: PartnerId,
    person: UserId | None = None,
    grant: GrantId | None = None,
    purpose: Purpose | None = None,
) -> Fact:
    """Commit to a fact: `commitment = HMAC-SHA256(salt32, canonical payload)`.

    The payload that is committed to also names the kind, the time, the tenant and, by their inner ids, the person
    and the grant, so that none of them can be swapped without breaking the commitment.
    """
    fact = FactId(ids.ordered_id())
    whole: dict[str, Json] = {
        "at": at.isoformat(),
        "fact": str(fact),
        "grant": str(grant) if grant else None,
        "kind": kind,
        "partner": str(partner),
        "person": str(person) if person else None,
        "principal": describe(by),
        "purpose": purpose,
        "what": dict(payload),
    }
    body, salt = canonical(whole), secrets.token_bytes(SALT_BYTES)
    return Fact(
        fact, kind, at, partner, person, grant, describe(by), purpose, body, salt, commit_to(body, salt)
    )


def commit_to(payload: bytes, salt: bytes) -> bytes:
    """HMAC-SHA256(salt32, canonical payload): hides the payload, and binds us to it."""
    return hmac.digest(salt, payload, hashlib.sha256)


def describe(principal: Principal) -> str:
    """The caller as a fact names it."""
    if isinstance(principal, PartnerClient):
        return f"client:{principal.client_id}"
    if isinstance(principal, Person):
        return "person"
    if isinstance(principal, Staff):
        return f"{principal.role}:{ids.public('stf', principal.staff)}"
    return f"worker:{principal.name}"


def same_hands(before: str | None, principal: Principal) -> bool:
    """Whether the caller is who did the step before, whatever roles they acted in (four eyes)."""
    return before is not None and before.rpartition(":")[2] == describe(principal).rpartition(":")[2]


async def write(db: BaseDBAsyncClient, facts: list[Fact], sealers: Mapping[UUID, Sealer]) -> None:
    """Seal and insert facts, in their order, inside the caller's transaction.

    The insert is the last statement of an act: a fact's `seq` is drawn while the act holds its locks, so the order
    of `seq` is the order of effect.
    """
    rows = [
        (
            f.id,
            f.recorded_at,
            f.kind,
            f.partner,
            f.person,
            f.grant,
            f.principal,
            f.purpose,
            f.commitment,
            sealer_of(f.person, sealers).seal(f.salt + f.payload, f.id.bytes),
        )
        for f in facts
    ]
    await db.execute_query(INSERT, [list(column) for column in zip(*rows, strict=True)])


def sealer_of(person: UUID | None, sealers: Mapping[UUID, Sealer]) -> Sealer:
    """The person's key; the installation's where there is no person, or none any more."""
    store = ground().key_store
    return sealers.get(person, store.installation) if person else store.installation


def open_sealed(sealed: bytes, fact: UUID, sealer: Sealer) -> tuple[bytes, bytes]:
    """The canonical payload and the salt of a sealed fact; raises `InvalidTag` if it was changed."""
    return taken_apart(sealer.open(sealed, fact.bytes))


def taken_apart(plain: bytes) -> tuple[bytes, bytes]:
    """The canonical payload and the salt of an opened fact."""
    return plain[SALT_BYTES:], plain[:SALT_BYTES]


def person_salt(sealer: Sealer, fact: UUID) -> bytes:
    """The salt of a person's sequence number: another one than the payload's.

    Whoever is given the opening of one fact could otherwise try out numbers, and learn how often others used the
    person's data.
    """
    return hmac.digest(sealer.key, b"person_seq" + fact.bytes, hashlib.sha256)


def read_opening(payload: bytes, salt: bytes) -> Opening:
    """An opening whose payload can be looked into."""
    return Opening(json.loads(payload), salt)


def promise(fact: Fact) -> str:
    """A signed promise that the fact will stand in the log by a latest time (compact JWS, ES256).

    A partner that keeps it can prove, with nobody's help, that a fact was left out.
    """
    claims = {
        "iss": ground().origin,
        "fact": ids.public("fct", fact.id),
        "commitment": fact.commitment.hex(),
        "by": int((fact.recorded_at + MERGE_DELAY).timestamp()),
    }
    return ground().keyring.sign(PROMISE_TYPE, claims)
