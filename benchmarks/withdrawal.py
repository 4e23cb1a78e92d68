"""A withdrawing act with a person on 1,000 lists, in CPU of the application, beside a bare transaction of as many rows.

The peer updates the same number of rows of the same table through the same pool. PostgreSQL's own CPU counts on neither
side; the time that a person waits, which holds it, is told beside.
"""

import asyncio
import math
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg

from api import running, telemetry
from api.demo import catalogue, world
from api.running import Standing
from api.settings import from_environment
from compliance import database as databases
from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import OFFERED, GrantId, Person, Purpose, UserId, Worker
from consent import grants, people
from consent.people import NewPerson
from partners import endings  # noqa: F401 - declares what stops when a grant ends

WITHDRAWALS = {"small": 100, "full": 1_000}
LISTS = 1_000
TARGET_P99 = 20.0
STORY = Worker("benchmark")
LIST = """
insert into partners_prescreen (id, partner, state, criteria, criteria_digest, offer, cap, valid_until, made_at)
select gen_random_uuid(), $1, 'ready', '{}', '', '{}', 1, now() + interval '30 days', now() from generate_series(1, $2)
"""
ENTRIES = """
insert into partners_entry (id, prescreen, partner, user_id, grant_id, limit_minor, currency, daily_rate, valid_until)
select gen_random_uuid(), id, partner, $1, $2, 500000, 'CNY', '0.0004', valid_until from partners_prescreen
"""
BARE = "update partners_entry set limit_minor = limit_minor + 1 where grant_id = $1"
LIVE = "select user_id, id from consent_grant where state = 'active' order by id"


def run(size: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="xq-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ |= {"XINQIAO_HOME": folder, "XINQIAO_ISSUER": "http://127.0.0.1:8080"}
        telemetry.set_up(level=40)
        with running.standing(from_environment()) as found:
            ours, bare, waited = asyncio.run(_measure(found, WITHDRAWALS[size]))
    median, floor = statistics.median(ours), statistics.median(bare)
    return {
        "benchmark": "withdrawal",
        "ours": round(median, 3),
        "peer": round(floor, 3),
        "ratio": round(median / floor, 2),
        "unit": "ms CPU in process per withdrawal, median",
        "better": "lower",
        "p99": round(_p99(ours), 3),
        "target_p99": TARGET_P99,
        "waited": {"median": round(statistics.median(waited), 1), "p99": round(_p99(waited), 1)},
        "peer_is": f"a bare transaction that updates {LISTS} rows of the same table",
        "shape": f"{len(ours)} withdrawals of people on {LISTS} lists each, alternating with the peer",
    }


async def _measure(found: Standing, count: int) -> tuple[list[float], list[float], list[float]]:
    """CPU of each withdrawal and each bare transaction, and the time that each withdrawal took, in milliseconds."""
    ours, bare, waited = [], [], []
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        owner = await asyncpg.connect(**found.database.as_owner())
        subjects = await _planted(found, owner, count + 1)  # the first one warms
        for person, grant in subjects:
            await owner.execute(ENTRIES, person.user, grant)

            async def withdraw(person: Person = person, grant: GrantId = grant) -> None:
                async with open_act(person, None) as act:
                    await grants.withdraw(act, grant)

            async def update(grant: GrantId = grant) -> None:
                async with owner.transaction():
                    await owner.execute(BARE, grant)

            cpu, _ = await _spent(update)
            bare.append(cpu)
            cpu, seconds = await _spent(withdraw)
            ours.append(cpu)
            waited.append(seconds)
        await owner.close()
    return ours[1:], bare[1:], waited[1:]


async def _planted(
    found: Standing, owner: "asyncpg.Connection[asyncpg.Record]", count: int
) -> list[tuple[Person, GrantId]]:
    """People with a live grant each, and lists for them to be on."""
    partners, _ = await world._partners(found.settings, await world._team(), {}, "CNY")
    bank = partners[catalogue.HARBOUR]
    async with open_act(STORY, None) as act:
        brought = [NewPerson(f"person {n}", date(1990, 5, 1), fictional=True) for n in range(count)]
        known = await people.bring(act, brought)
        users = sorted(set(known.values()))
        await grants.give_fictional(act, users, bank, Purpose.PRESCREEN, OFFERED)
        for user in users:
            await people.pseudonym(act, user, bank)
    await owner.execute(LIST, bank, LISTS)
    now = datetime.now(UTC)
    return [
        (Person(UserId(r["user_id"]), ids.random_id(), now, "one_time_link"), GrantId(r["id"]))
        for r in await owner.fetch(LIVE)
    ]


async def _spent(call: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Milliseconds of CPU of this process, and of time."""
    cpu, began = time.process_time(), time.perf_counter()
    await call()
    return (time.process_time() - cpu) * 1000, (time.perf_counter() - began) * 1000


def _p99(values: list[float]) -> float:
    """By the nearest rank."""
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]
