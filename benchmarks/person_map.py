"""The daily map of people: how long one takes to make, and to answer one person from.

Ours alone: there is no peer to measure against.
"""

import asyncio
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import asyncpg

from api import worker
from compliance import database as databases
from compliance import own_count, postgres, sequencer
from compliance.act import open_act, open_view
from compliance.database import Database, ground
from compliance.postgres import DISPOSABLE
from compliance.vocabulary import Person, UserId, Worker

PEOPLE = {"small": 10_000, "full": 100_000}
FACTS_EACH = 2
AT_ONCE = 1_000
LOOKS = 50
STORY = Worker("benchmark")


def run(size: str) -> dict[str, Any]:
    """Make one map of that many people, on a disposable server."""
    with TemporaryDirectory(prefix="xq-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with postgres.running(folder / "server", DISPOSABLE) as sockets:
            return asyncio.run(measured(databases.embedded(sockets), folder / "home", PEOPLE[size]))


async def measured(database: Database, home: Path, count: int) -> dict[str, Any]:
    """Seconds for the map, its size, and milliseconds for a person's look."""
    await databases.prepare(database)
    async with databases.opened(database, home, "log.bench.example"):
        people = [UserId(uuid4()) for _ in range(count)]
        await recorded(people)
        print(f"person_map: {count} people, {count * FACTS_EACH} facts about them", flush=True)
        begun = time.perf_counter()
        while await worker.map_people():
            pass
        seconds = time.perf_counter() - begun
        await signed()
        looks = [await look(user) for user in people[:: max(1, count // LOOKS)]]
        kept = await stored_bytes(database)
    looks.sort()
    return {
        "benchmark": "person_map",
        "people": count,
        "map_seconds": round(seconds, 2),
        "look_p50_ms": round(looks[len(looks) // 2] * 1000, 1),
        "stored_mb": round(kept / 1e6, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


async def recorded(people: list[UserId]) -> None:
    """Facts about everybody, in the log."""
    for first in range(0, len(people), AT_ONCE):
        part = people[first : first + AT_ONCE]
        await ground().key_store.make(part)
        async with open_act(STORY, None) as act:
            for user in part * FACTS_EACH:
                act.record("counted", {}, person=user)
    await signed()


async def signed() -> None:
    """What the sequencer does."""
    while await sequencer.sequence():
        pass
    await sequencer.publish()


async def look(user: UserId) -> float:
    """Seconds for one verified answer."""
    begun = time.perf_counter()
    async with open_view(Person(user, uuid4(), datetime.now(UTC), "one_time_link")) as view:
        count = await own_count.of(view, user)
    if (count.state, count.counted) != ("verified", FACTS_EACH):
        raise RuntimeError(f"the map says {count}")
    return time.perf_counter() - begun


async def stored_bytes(database: Database) -> int:
    """What one map takes on disk."""
    owner = await asyncpg.connect(**database.as_owner())
    try:
        taken: int = await owner.fetchval("select pg_total_relation_size('compliance_person_map_entry')")
    finally:
        await owner.close()
    return taken
