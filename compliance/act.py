"""An act: one transaction, one caller, one tenant, one purpose, and at least one recorded fact.

Functions that change something take an `Act`. Nobody can make one except `open_act`, so nobody can forget the
transaction, the tenant or the log. `open_view` reads a caller's own things and can write nothing. `open_upkeep` is
for bookkeeping that concerns nobody's data; an architecture test lists the files that may call it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import asyncpg
from tortoise import connections
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.transactions import in_transaction

from compliance import facts, replies
from compliance.canonical import Json
from compliance.database import ORDINARY, RESERVED, ground
from compliance.facts import Fact
from compliance.refusals import Refusal
from compliance.replies import Once, Replayed, Reply
from compliance.vocabulary import (
    OPERATOR,
    GrantId,
    PartnerClient,
    PartnerId,
    Person,
    Principal,
    Purpose,
    UserId,
    Worker,
)

ENTER = """
select set_config('role', $1, true), set_config('app.partner', $2, true), set_config('app.person', $3, true),
       set_config('transaction_read_only', $4, true), clock_timestamp() as now
"""


PEOPLE = 7_001
"""Advisory locks of this class: one for each person."""
_inside: ContextVar[bool] = ContextVar("inside", default=False)


_turns: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()


class Busy(Refusal):
    """Another act held what this one needs for longer than anybody should wait; nothing was changed."""

    status, code, title = 503, "busy", "Somebody else is using this right now"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


@asynccontextmanager
async def _alone(*, reserved: bool) -> AsyncGenerator[BaseDBAsyncClient]:
    """One transaction that stands in no other: a nested one would keep the inner role for the outer act."""
    _refuse_inside()
    token = _inside.set(True)
    try:
        async with in_transaction(RESERVED if reserved else ORDINARY) as db:
            yield db
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        raise Busy("try again; nothing was changed") from None
    finally:
        _inside.reset(token)


def _refuse_inside() -> None:
    if _inside.get():
        raise RuntimeError("acts, views and upkeep do not nest")


@dataclass(slots=True)
class Act:
    """The open act: what a function that changes something may use."""

    principal: Principal
    purpose: Purpose | None
    db: BaseDBAsyncClient
    now: datetime
    concerning: UserId | None = None
    grant: GrantId | None = None
    recorded: list[Fact] = field(default_factory=list)
    reply: Reply | None = None

    @property
    def tenant(self) -> PartnerId:
        """The partner in whose name the act is done; the operator's own id for everybody else."""
        return self.principal.partner if isinstance(self.principal, PartnerClient) else OPERATOR

    def concern(self, person: UserId, grant: GrantId | None) -> None:
        """Name the person (and grant) this act is about, so that also its refusal can be shown to them."""
        self.concerning, self.grant = person, grant

    def record(
        self,
        kind: str,
        payload: Mapping[str, Json],
        *,
        person: UserId | None = None,
        grant: GrantId | None = None,
        partner: PartnerId | None = None,
    ) -> Fact:
        """Note a fact; it is in the log if and only if the act commits."""
        fact = facts.make(
            kind,
            payload,
            at=self.now,
            by=self.principal,
            partner=partner or self.tenant,
            person=person,
            grant=grant,
            purpose=self.purpose,
        )
        self.recorded.append(fact)
        return fact

    async def tick(self) -> None:
        """Read the clock again, after waiting for a lock: what is recorded now happened after what held it."""
        self.now = (await self.db.execute_query_dict("select clock_timestamp() as now"))[0]["now"]

    def answer(self, status: int, body: bytes) -> Reply:
        """Say what the caller will be answered, so that a repeat of the call can be answered the same."""
        self.reply = Reply(status, body, replayed=False)
        return self.reply


OwnCheck = Callable[[Act], Awaitable[None]]
_own_checks: list[OwnCheck] = []


@dataclass(frozen=True, slots=True)
class View:
    """A read-only look at the caller's own things."""

    principal: Principal | None
    db: BaseDBAsyncClient
    now: datetime


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Bookkeeping: no personal data, no fact."""

    db: BaseDBAsyncClient
    now: datetime


@asynccontextmanager
async def open_act(
    principal: Principal, purpose: Purpose | None, once: Once | None = None, *, reserved: bool = False
) -> AsyncGenerator[Act]:
    """Open an act; it commits when the block ends well and recorded something.

    A refusal rolls everything back and is itself recorded. With `once` (idempotency), a call that was answered
    before raises `Replayed` with the same answer, after what it rests on was checked again. `reserved`: on one of
    the connections that only stopping a use may take.
    """
    _refuse_inside()
    async with _turn(principal), _opened(principal, purpose, once, reserved=reserved) as act:
        yield act


@asynccontextmanager
async def _turn(principal: Principal) -> AsyncGenerator[None]:
    """A person's acts wait for each other in the process before any takes a connection: nobody holds several by waiting."""
    if not isinstance(principal, Person):
        yield
        return
    turn = _turns.get(principal.user) or _turns.setdefault(principal.user, asyncio.Lock())
    async with turn:
        yield


@asynccontextmanager
async def _opened(
    principal: Principal, purpose: Purpose | None, once: Once | None, *, reserved: bool
) -> AsyncGenerator[Act]:
    act: Act | None = None
    try:
        async with _alone(reserved=reserved) as db:
            act = Act(principal, purpose, db, await _enter(db, principal), concerning=_self(principal))
            if isinstance(principal, Person):
                for check in _own_checks:
                    await check(act)
            stored = await replies.find(db, once, act.now) if once else None
            if stored is None:
                yield act
                await _close(act, once)
                return
            act.concerning, act.grant = stored.person or act.concerning, stored.grant
            await replies.check_again(act, stored)
            act.record(
                "answer_replayed", {"status": stored.reply.status}, person=stored.person, grant=stored.grant
            )
            await _close(act, None)
    except Busy:
        raise  # to record it would wait for the same lock again
    except Refusal as refusal:
        await record_refusal(principal, purpose, refusal, act, reserved=reserved)
        raise
    raise Replayed(stored.reply)


def before_own_acts(check: OwnCheck) -> OwnCheck:
    """Declare what must hold before anything else in each act of a person (consent declares that they exist)."""
    _own_checks.append(check)
    return check


async def _close(act: Act, once: Once | None) -> None:
    if not act.recorded:
        raise RuntimeError("an act must record at least one fact")
    # One look into the key store for all that the act seals.
    named = {fact.person for fact in act.recorded if fact.person} | (
        {act.concerning} if act.concerning else set()
    )
    sealers = await ground().key_store.sealers(named)
    if once:
        if act.reply is None:
            raise RuntimeError("an idempotent call must say what it answers")
        sealer = facts.sealer_of(act.concerning, sealers)
        await replies.keep(
            act.db, once, act.reply, sealer, person=act.concerning, grant=act.grant, now=act.now
        )
    await facts.write(act.db, act.recorded, sealers)


async def record_refusal(
    principal: Principal,
    purpose: Purpose | None,
    refusal: Refusal,
    act: Act | None = None,
    *,
    reserved: bool = False,
) -> None:
    """Record a refusal in a transaction of its own, so that it outlives the rollback."""
    person = act.concerning if act else _self(principal)
    async with _alone(reserved=reserved) as db:
        now = await _enter(db, principal)
        told = Act(principal, purpose, db, now)
        told.record("refused", {"code": refusal.code}, person=person, grant=act.grant if act else None)
        await _close(told, None)


@asynccontextmanager
async def open_view(principal: Principal | None, *, reserved: bool = False) -> AsyncGenerator[View]:
    """Look at one's own things, read-only; `None` sees only what is public."""
    async with _alone(reserved=reserved) as db:
        yield View(principal, db, await _enter(db, principal, read_only=True))


@asynccontextmanager
async def open_upkeep(worker: Worker | None = None, *, reserved: bool = False) -> AsyncGenerator[Upkeep]:
    """Do bookkeeping; a worker (the sequencer) does it with the platform's rights."""
    async with _alone(reserved=reserved) as db:
        role = "xinqiao_platform" if worker else "xinqiao_upkeep"
        yield Upkeep(db, await _set(db, role, None, None, read_only=False))


async def upkeep_statement(query: str, values: Sequence[object]) -> list[dict[str, Any]]:
    """Bookkeeping in one statement that enters its role itself: a transaction of its own in a single round trip."""
    rows: list[dict[str, Any]] = await connections.get(ORDINARY).execute_query_dict(query, list(values))
    return rows


async def _enter(db: BaseDBAsyncClient, principal: Principal | None, *, read_only: bool = False) -> datetime:
    if principal is None:
        return await _set(db, "xinqiao_partner", None, None, read_only=read_only)
    if isinstance(principal, PartnerClient):
        return await _set(db, "xinqiao_partner", principal.partner, None, read_only=read_only)
    if isinstance(principal, Person):
        if not read_only:
            # A person's own acts happen one after the other: two answers at once can neither clash nor deadlock.
            await db.execute_query_dict(
                "select pg_advisory_xact_lock($1, hashtext($2))", [PEOPLE, str(principal.user)]
            )
        return await _set(db, "xinqiao_person", None, principal.user, read_only=read_only)
    return await _set(db, "xinqiao_platform", None, None, read_only=read_only)


def _self(principal: Principal) -> UserId | None:
    """The person whom a person's own act is about before it says otherwise."""
    return principal.user if isinstance(principal, Person) else None


async def _set(
    db: BaseDBAsyncClient, role: str, partner: PartnerId | None, person: UserId | None, *, read_only: bool
) -> datetime:
    """Enter a role and read the act's one clock, in one statement."""
    rows = await db.execute_query_dict(
        ENTER, [role, str(partner or ""), str(person or ""), "on" if read_only else "off"]
    )
    now: datetime = rows[0]["now"]
    return now
