"""Behaviour comes in: what is right is kept in one act, once, before anybody is told that it is accepted."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import polars as pl

from compliance import ids
from compliance.act import Act
from compliance.refusals import Refusal
from consent import people
from scoring.store import incoming, locks, shelf
from scoring.store.incoming import Fault

EVENTS_MAX = 1_000
"""Of one call; a file has as many as it has, and is taken in pieces."""
BACKLOG_MAX = 200_000
"""Events that wait to be moved into files; while there are more nothing is taken."""
BACKLOG = "select count(*) as waiting from (select 1 from scoring_behaviour limit $1) b"
LATEST_CUTOFF = "select max(cutoff) as cutoff from scoring_snapshot"
KEEP = """
insert into scoring_behaviour (user_id, digest, bucket, at, category, name, value, count, attributes, late, received_at)
select *, $11::timestamptz from unnest($1::uuid[], $2::bytea[], $3::int[], $4::timestamptz[], $5::text[], $6::text[],
    $7::float8[], $8::int[], $9::text[], $10::bool[])
on conflict (user_id, digest) do nothing returning digest
"""
KEPT = ("user", "digest", "bucket", "at", "category", "name", "value", "count", "attributes", "late")


class BehaviourBacklog(Refusal):
    """More has come in than was moved into files so far."""

    status, code, title = 429, "behaviour_backlog", "Too much behaviour waits to be filed"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "30"}


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a batch. `late` events are among the accepted; `quarantined` were set aside, each with its fault."""

    batch: UUID
    accepted: int
    duplicate: int
    late: int
    quarantined: tuple[Fault, ...]


async def receive(act: Act, cells: pl.DataFrame) -> Received:
    """Keep events that an operator brings, each once; records `behaviour_received`, with numbers and no content.

    `cells` are as they came (`incoming.raw`, `behaviour.events_of`). People are named by the operator's own
    references; whoever is found cannot be deleted before this is kept. Raises `BehaviourBacklog`.
    """
    await _refuse_backlog(act)
    good, faults = incoming.sorted_out(cells, act.now)
    known = await people.of_operator(act, good["user"].unique().to_list())
    await locks.keep_cutoff(act)
    ready, strange = incoming.of_people(good, known, await latest_cutoff(act))
    faults += strange
    fresh = await _kept(act, ready) if ready.height else ready
    duplicate = cells.height - len(faults) - fresh.height
    return record(act, "events", fresh.height, duplicate, int(fresh["late"].sum()), faults)


async def latest_cutoff(act: Act) -> datetime | None:
    """The cut-off of the last snapshot that was begun: what happened before it comes late."""
    rows = await act.db.execute_query_dict(LATEST_CUTOFF)
    cutoff: datetime | None = rows[0]["cutoff"]
    return cutoff


def record(
    act: Act, table: str, accepted: int, duplicate: int, late: int, faults: Sequence[Fault]
) -> Received:
    """What became of a batch of a table. Records `behaviour_received`: how much came in, and no content."""
    quarantined = tuple(sorted(faults, key=lambda fault: fault.line))
    received = Received(ids.ordered_id(), accepted, duplicate, late, quarantined)
    act.record(
        "behaviour_received",
        {
            "batch": ids.public("bhv", received.batch),
            "table": table,
            "accepted": received.accepted,
            "duplicate": received.duplicate,
            "late": received.late,
            "quarantined": len(received.quarantined),
        },
    )
    return received


async def _refuse_backlog(act: Act) -> None:
    rows = await act.db.execute_query_dict(BACKLOG, [BACKLOG_MAX])
    if rows[0]["waiting"] >= BACKLOG_MAX:
        raise BehaviourBacklog("wait half a minute, then send the same batch again with the same key")


async def _kept(act: Act, ready: pl.DataFrame) -> pl.DataFrame:
    """Keep what neither the files nor the waiting events hold already; what was kept."""
    buckets = sorted(ready["bucket"].unique().to_list())
    await locks.share(act, buckets)
    since, until = ready["at"].min(), ready["at"].max()
    filed = await asyncio.to_thread(_filed, buckets, ready["digest"], since, until)
    # In one order everywhere: two batches with the same events wait for each other in turn.
    new = ready.filter(~pl.col("digest").is_in(list(filed))).sort("user", "digest")
    columns = [new[name].to_list() for name in KEPT]
    kept = {bytes(row["digest"]) for row in await act.db.execute_query_dict(KEEP, [*columns, act.now])}
    return new.filter(pl.col("digest").is_in(list(kept)))


def _filed(buckets: Collection[int], digests: pl.Series, since: object, until: object) -> set[bytes]:
    if not isinstance(since, datetime) or not isinstance(until, datetime):
        return set()
    return shelf.known(buckets, digests, since, until)
