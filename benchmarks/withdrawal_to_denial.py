"""How soon after a withdrawal the first score is refused, and whether any is issued later than that.

Two server processes on one database. Four people at a time are each scored by two clients, one at each server, call
after call until they are refused; meanwhile the person withdraws. Afterwards the log is read: a score that stands
behind its grant's withdrawal is a violation, and so is one whose call began after the withdrawal was answered.
"""

import asyncio
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx2

from api import running, sessions, telemetry
from api.demo import catalogue, world
from api.demo.callers import expect
from api.demo.play import _until_up
from api.running import Standing
from api.settings import from_environment
from benchmarks.prepared import Client
from compliance import database as databases
from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import Categories, PartnerId, Purpose, UserId, Worker
from consent import grants

WITHDRAWALS = {"small": 100, "full": 10_000}
PORTS = (18_433, 18_434)
AT_ONCE = 4
"""People whose consents are used and withdrawn at the same time, by one client at each server."""
WITHDRAWN_WITHIN_SECONDS = 0.05
CALLS_MAX = 1_000
TOKEN_SECONDS = 200.0
LOGGED_SECONDS = 300.0
STORY = Worker("benchmark")
LIVE = """
select g.id as grant_id, g.user_id, p.id as known_as
from consent_grant g join consent_pseudonym p on p.user_id = g.user_id and p.partner = g.recipient
where g.recipient = $1 and g.purpose = 'credit_assessment' and g.state = 'active' order by g.id
"""
UNPLACED = "select count(*) from compliance_unplaced"
ENDS = "select grant_id, recorded_at from compliance_fact where kind = 'grant_withdrawn'"
LATE = """
with placed as (
    select f.kind, f.grant_id, l.leaf_index from compliance_fact f join compliance_log l on l.fact = f.id
    where f.kind in ('grant_withdrawn', 'score_issued')
)
select count(*) from placed w join placed s on s.grant_id = w.grant_id and s.leaf_index > w.leaf_index
where w.kind = 'grant_withdrawn' and s.kind = 'score_issued'
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A call for a score, in seconds since 1970."""

    began: float
    ended: float
    status: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A person with a live grant, and what the bank calls them."""

    user: UserId
    grant: UUID
    known_as: str


@dataclass(frozen=True, slots=True)
class Round:
    """One withdrawal, and the calls around it."""

    grant: UUID
    began: float
    answered: float
    calls: tuple[Call, ...]

    @property
    def overlapping(self) -> list[Call]:
        """The calls that were under way while the person was withdrawing."""
        return [call for call in self.calls if call.began < self.answered and call.ended > self.began]

    @property
    def scored_late(self) -> int:
        """Scores of calls that began after the withdrawal was answered."""
        return sum(call.status == 201 and call.began > self.answered for call in self.calls)

    @property
    def refused_first(self) -> float:
        """When a client first saw a refusal."""
        return min(call.ended for call in self.calls if call.status == 403)


@dataclass
class Bench:
    """What stands while it is measured."""

    found: Standing
    owner: "asyncpg.Connection[asyncpg.Record]"
    servers: tuple[httpx2.AsyncClient, ...]
    client: Client
    bank: PartnerId
    categories: Categories
    token: str = ""
    token_until: float = 0.0

    async def renew_token(self) -> None:
        """Ask for an access token long before the one in use expires."""
        if time.monotonic() > self.token_until:
            self.token = await self.client.token(self.servers[0])
            self.token_until = time.monotonic() + TOKEN_SECONDS

    async def score(self, server: httpx2.AsyncClient, who: Subject) -> Call:
        """Ask for a score."""
        headers = self.client.call("POST", "/v1/scores", self.token).headers
        headers["Idempotency-Key"] = secrets.token_hex(8)
        body = {
            "user": who.known_as,
            "purpose": "credit_assessment",
            "categories": sorted(self.categories),
        }
        began = time.time()
        answer = await server.post("/v1/scores", json=body, headers=headers)
        return Call(began, time.time(), answer.status_code)

    async def withdraw(self, server: httpx2.AsyncClient, who: Subject) -> tuple[float, float]:
        """The person withdraws, in a session of their own; when that began and when it was answered."""
        settings = self.found.settings
        link = await sessions.make_link(STORY, settings, user=who.user)
        token = (await sessions.sign_in(settings, link)).token
        headers = {"Cookie": f"{sessions.cookie_name(settings)}={token}", "Origin": settings.issuer}
        began = time.time()
        answer = await server.post(f"/v1/me/grants/{ids.public('gnt', who.grant)}/withdraw", headers=headers)
        expect(answer, 200)
        return began, time.time()


def run(size: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="xq-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ |= {
            "XINQIAO_HOME": folder,
            "XINQIAO_ISSUER": f"http://127.0.0.1:{PORTS[0]}",
            "XINQIAO_CLIENT_CALLS_PER_MINUTE": "1000000",
        }
        telemetry.set_up(level=40)
        with running.standing(from_environment()) as found:
            return asyncio.run(_measure(found, WITHDRAWALS[size]))


async def _measure(found: Standing, withdrawals: int) -> dict[str, Any]:
    async with _bench(found) as bench:
        began = time.monotonic()
        rounds = [each async for each in _rounds(bench, withdrawals)]
        seconds = time.monotonic() - began
        late, ends = await _log(bench)
    if len(ends) != withdrawals or len(rounds) != withdrawals:
        raise RuntimeError(f"{len(rounds)} rounds and {len(ends)} withdrawals in the log, not {withdrawals}")
    # The fact's time is read before the commit: the delay from the commit itself is shorter.
    delays = sorted((each.refused_first - ends[each.grant]) * 1000 for each in rounds)
    calls = [call for each in rounds for call in each.calls]
    took = statistics.median((call.ended - call.began) * 1000 for call in calls if call.status == 201)
    overlapping = [call for each in rounds for call in each.overlapping]
    ours = statistics.median(delays)
    return {
        "benchmark": "withdrawal_to_denial",
        "ours": round(ours, 2),
        "peer": round(took, 2),
        "ratio": round(ours / took, 2),
        "unit": "ms from the withdrawal's own time to the first refusal that a client sees, median",
        "better": "lower",
        "peer_is": "a whole score call at the same time: nobody sees a refusal sooner than a call takes",
        "p99": round(delays[int(len(delays) * 0.99)], 2),
        "max": round(delays[-1], 2),
        "withdrawals": withdrawals,
        "violations": late + sum(each.scored_late for each in rounds),
        "upper_bound_95": f"3/{withdrawals}",
        "calls": len(calls),
        "scores": sum(call.status == 201 for call in calls),
        "overlapping": {
            "calls": len(overlapping),
            "scored": sum(call.status == 201 for call in overlapping),
            "refused": sum(call.status == 403 for call in overlapping),
        },
        "seconds": round(seconds, 1),
        "shape": f"2 server processes, {2 * AT_ONCE} score clients",
    }


@asynccontextmanager
async def _bench(found: Standing) -> AsyncIterator[Bench]:
    settings = found.settings
    async with databases.opened(found.database, settings.home, settings.origin), AsyncExitStack() as stack:
        made = await world.make(settings, None, {}, lambda _what, _share: None)
        for port in PORTS:
            log = settings.home / f"serve-{port}.log"
            stack.enter_context(running.child("serve", "--port", str(port), log=log))
        servers = []
        for port in PORTS:
            http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
            servers.append(await stack.enter_async_context(http))
            await _until_up(http, f"http://127.0.0.1:{port}")
        owner = await asyncpg.connect(**found.database.as_owner())
        stack.push_async_callback(owner.close)
        code = catalogue.HARBOUR
        client = Client(settings.issuer, f"{code}-client", made.keys[code])
        yield Bench(found, owner, tuple(servers), client, made.partners[code], made.categories)


async def _rounds(bench: Bench, wanted: int) -> AsyncIterator[Round]:
    """Give everybody a grant and let them withdraw it, again and again; whose data carry no score, once."""
    users = {UserId(r["user_id"]) for r in await bench.owner.fetch("select user_id from consent_pseudonym")}
    done = 0
    while done < wanted and users:
        async with open_act(STORY, None) as act:
            await grants.give_fictional(
                act, sorted(users), bench.bank, Purpose.CREDIT_ASSESSMENT, bench.categories
            )
        found = await bench.owner.fetch(LIVE, bench.bank)
        subjects = [
            Subject(UserId(r["user_id"]), r["grant_id"], ids.public("usr", r["known_as"])) for r in found
        ]
        waiting = iter([who for who in subjects if who.user in users])
        while done < wanted and (batch := await _batch(bench, waiting, min(AT_ONCE * 25, wanted - done))):
            for who, made in batch:
                if made is None:
                    users.remove(who.user)
                    continue
                done += 1
                yield made


async def _batch(bench: Bench, waiting: Iterator[Subject], size: int) -> list[tuple[Subject, Round | None]]:
    """Up to `size` people, a few at a time."""
    await bench.renew_token()
    mine = list(islice(waiting, size))
    queue = iter(mine)
    made: list[tuple[Subject, Round | None]] = []

    async def lane() -> None:
        for who in queue:
            one = await _round(bench, who)
            made.append((who, one))

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    return made


async def _round(bench: Bench, who: Subject) -> Round | None:
    """Both clients ask until they are refused, the person withdraws meanwhile; None if their data carry no score."""
    if (await bench.score(secrets.choice(bench.servers), who)).status != 201:
        return None

    async def until_refused(server: httpx2.AsyncClient) -> Sequence[Call]:
        calls: list[Call] = []
        while len(calls) < CALLS_MAX and (not calls or calls[-1].status == 201):
            calls.append(await bench.score(server, who))
        return calls

    asking = [asyncio.create_task(until_refused(server)) for server in bench.servers]
    await asyncio.sleep(secrets.randbelow(1_000) / 1_000 * WITHDRAWN_WITHIN_SECONDS)
    began, answered = await bench.withdraw(secrets.choice(bench.servers), who)
    calls = [call for each in await asyncio.gather(*asking) for call in each]
    return Round(who.grant, began, answered, tuple(calls))


async def _log(bench: Bench) -> tuple[int, dict[UUID, float]]:
    """How many scores stand in the log behind their grant's withdrawal, once all is in it; when each withdrawal was."""
    deadline = time.monotonic() + LOGGED_SECONDS
    while await bench.owner.fetchval(UNPLACED):
        if time.monotonic() > deadline:
            raise RuntimeError("not everything was logged")
        await asyncio.sleep(0.2)
    late = int(await bench.owner.fetchval(LATE))
    return late, {r["grant_id"]: r["recorded_at"].timestamp() for r in await bench.owner.fetch(ENDS)}
