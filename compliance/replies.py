"""Idempotency: the same call, made again, is answered the same, and changes nothing twice."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tortoise.backends.base.client import BaseDBAsyncClient

from compliance.database import ground
from compliance.keys import KeyErased, Sealer
from compliance.refusals import Refusal
from compliance.vocabulary import GrantId, PartnerClient, Person, Principal, UserId

if TYPE_CHECKING:
    from compliance.act import Act

KEPT_FOR = timedelta(hours=24)
KEY_LENGTH_MAX = 128


class CallInFlight(Refusal):
    """The same call is being answered at this moment."""

    status, code, title = 409, "call_in_flight", "The same call is still being answered"


class KeyReused(Refusal):
    """The idempotency key came with another input."""

    status, code, title = 422, "idempotency_key_reused", "This idempotency key was used for another call"


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a call the same call: caller, route and key; and what was in it."""

    key: bytes
    fingerprint: bytes
    owner: Principal

    @staticmethod
    def of(principal: Principal, route: str, key: str, content: bytes) -> "Once":
        """From the caller, the route's template, the `Idempotency-Key` and the raw content."""
        who = principal.client_id if isinstance(principal, PartnerClient) else repr(principal)
        if isinstance(principal, Person):
            who = str(principal.user)
        named = "\x00".join((type(principal).__name__, who, route, key))
        return Once(hashlib.sha256(named.encode()).digest(), hashlib.sha256(content).digest(), principal)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it goes over the wire."""

    status: int
    body: bytes
    replayed: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer given before, and what it rested on."""

    reply: Reply
    person: UserId | None
    grant: GrantId | None


class Replayed(Exception):
    """The call was answered before; this is that answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("answered before")
        self.reply = reply


Check = Callable[["Act", Stored], Awaitable[None]]
_checks: list[Check] = []


def check_on_replay(check: Check) -> Check:
    """Declare a check that must hold again before an old answer is given again (consent declares its permits)."""
    _checks.append(check)
    return check


async def check_again(act: "Act", stored: Stored) -> None:
    """Run every declared check; any may refuse."""
    for check in _checks:
        await check(act, stored)


async def find(db: BaseDBAsyncClient, once: Once, now: datetime) -> Stored | None:
    """The answer given before, if any; holds the call's lock until the act ends."""
    number = int.from_bytes(once.key[:8], "big", signed=True)
    locked = await db.execute_query_dict("select pg_try_advisory_xact_lock($1) as gained", [number])
    if not locked[0]["gained"]:
        raise CallInFlight("wait for the first call to be answered, then repeat it with the same key")
    rows = await db.execute_query_dict(
        "select fingerprint, status, sealed, person, grant_id from compliance_reply where key = $1 and made_at > $2",
        [once.key, now - KEPT_FOR],
    )
    if not rows:
        return None
    row = rows[0]
    if not hmac.compare_digest(row["fingerprint"], once.fingerprint):
        raise KeyReused("use a new Idempotency-Key for a call with another content")
    body = await _opened(row, once)
    return Stored(Reply(row["status"], body, replayed=True), row["person"], row["grant_id"])


async def _opened(row: Mapping[str, Any], once: Once) -> bytes:
    store, person = ground().key_store, row["person"]
    sealers = await store.sealers([person] if person else [])
    found = store.opened(sealers.get(person), row["sealed"], once.key)
    if found is None:
        raise KeyErased("the data were deleted and cannot be read again")
    return found[1]


async def keep(
    db: BaseDBAsyncClient,
    once: Once,
    reply: Reply,
    sealer: Sealer,
    *,
    person: UserId | None,
    grant: GrantId | None,
    now: datetime,
) -> None:
    """Keep an answer for 24 hours, sealed under the key of the person it is about."""
    partner = once.owner.partner if isinstance(once.owner, PartnerClient) else None
    await db.execute_query(
        """insert into compliance_reply (key, partner, person, grant_id, fingerprint, status, sealed, made_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (key) do update set fingerprint = excluded.fingerprint, status = excluded.status,
               sealed = excluded.sealed, made_at = excluded.made_at, person = excluded.person,
               grant_id = excluded.grant_id""",
        [
            once.key,
            partner,
            person,
            grant,
            once.fingerprint,
            reply.status,
            sealer.seal(reply.body, once.key),
            now,
        ],
    )
