"""The daily map of people is made here: gathered, padded and folded in bounded pieces, then told to the log.

Each piece is one transaction that also notes how far it came, so that a crash repeats nothing and skips nothing, and
the same map comes out. What is being made is finished first, whatever day it is.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, date
from enum import Enum, auto
from typing import Any
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from compliance import people_map
from compliance.act import Act, Upkeep
from compliance.completeness import Published
from compliance.database import ground
from compliance.log import HASH_BYTES, TileDamaged, leaf_hash
from compliance.people_map import Entry
from compliance.vocabulary import Worker

WORKER = Worker("cartographer")
LOCK = 7_000_003
BATCH = 1000
BUCKETS_AT_ONCE = 16
DAYS_KEPT = 3
"""Older maps are forgotten; their facts, with their roots, stay in the log."""

UNFINISHED = """
select day, size, after_person, people, padded, tops from compliance_person_map
where fact is null order by day limit 1
"""
BEGIN = """
insert into compliance_person_map (day, size, taken_at)
select $1, max(size), $2 from compliance_checkpoint having max(size) > 0 on conflict (day) do nothing returning day
"""
FORGET = """
delete from compliance_person_map where day not in (select day from compliance_person_map order by day desc limit $1)
"""
# Goes from person to person along an index, so that its cost is in people, however long the log is.
NEWEST = """
with recursive known (person) as (
    (select person from compliance_log where person > $1 order by person limit 1)
    union all
    select (select l.person from compliance_log l where l.person > known.person order by l.person limit 1)
    from known where known.person is not null
)
select k.person, newest.person_seq, newest.leaf_index, newest.leaf
from (select person from known where person is not null limit $3) k
left join lateral (
    select person_seq, leaf_index, leaf from compliance_log l
    where l.person = k.person and l.leaf_index < $2 order by person_seq desc limit 1
) newest on true
"""
ENTER = """
insert into compliance_person_map_entry (day, index, value)
select $1, * from unnest($2::bytea[], $3::bytea[])
"""
GATHERED = """
update compliance_person_map set after_person = $2, people = people + $3, keyless = keyless + $4 where day = $1
"""
PADDED = "update compliance_person_map set padded = padded + $2 where day = $1"
FOLDED = "update compliance_person_map set tops = $2 where day = $1"
BUCKETS = """
select index, value from compliance_person_map_entry
where day = $1 and index >= $2 and index <= $3 order by index
"""
READY = """
select day, size, tops, people + padded as entries from compliance_person_map
where fact is null and tops is not null order by day limit 1
"""
PUBLISHED = "update compliance_person_map set fact = $2, payload = $3, salt = $4 where day = $1"

Row = Mapping[str, Any]
ALL_PEOPLE = UUID(int=0)
"""Whoever is after this one is everybody."""


class Stage(Enum):
    """What is left to do."""

    NOTHING = auto()
    MORE = auto()
    PUBLISH = auto()


async def advance(upkeep: Upkeep) -> Stage:
    """Do one piece of the map of this day, or of an older one that is not finished."""
    db = upkeep.db
    await db.execute_query_dict("select pg_advisory_xact_lock($1)", [LOCK])
    rows = await db.execute_query_dict(UNFINISHED)
    if not rows:
        begun = await db.execute_query_dict(BEGIN, [upkeep.now.astimezone(UTC).date(), upkeep.now])
        await db.execute_query(FORGET, [DAYS_KEPT])
        return Stage.MORE if begun else Stage.NOTHING
    row = rows[0]
    missing = people_map.padded(row["people"]) - row["people"] - row["padded"]
    if row["after_person"] is not None:
        await _gather(db, row)
    elif missing:
        await _pad(db, row, min(missing, BATCH))
    elif row["tops"] is None:
        tops = await fold(db, row["day"], row["people"] + row["padded"])
        await db.execute_query(FOLDED, [row["day"], b"".join(tops)])
    else:
        return Stage.PUBLISH
    return Stage.MORE


async def publish(act: Act) -> None:
    """Tell the log the root of the map that is ready. Records `person_map_published`; nothing if it was told."""
    await act.db.execute_query_dict("select pg_advisory_xact_lock($1)", [LOCK])
    rows = await act.db.execute_query_dict(READY)
    if not rows:
        return
    row = rows[0]
    told = Published(row["day"], people_map.root(cut(row["tops"])), row["size"], row["entries"])
    fact = act.record("person_map_published", told.as_fact())
    await act.db.execute_query(PUBLISHED, [row["day"], fact.id, fact.payload, fact.salt])


async def newest_leaves(
    db: BaseDBAsyncClient, size: int, after: UUID = ALL_PEOPLE
) -> tuple[list[Row], UUID | None]:
    """The newest leaf of each of the next people whom the first `size` leaves are about, and whom to go on after."""
    rows = await db.execute_query_dict(NEWEST, [after, size, BATCH])
    return [r for r in rows if r["person_seq"]], rows[-1]["person"] if len(rows) == BATCH else None


async def entries_for(rows: Sequence[Row], day: date) -> dict[UUID, Entry]:
    """The entries of those people who still have a key."""
    sealers = await ground().key_store.sealers(r["person"] for r in rows)
    return {
        r["person"]: people_map.entry_of(
            people_map.map_key(sealers[r["person"]].key),
            day,
            r["person_seq"],
            leaf_hash(r["leaf"]),
        )
        for r in rows
        if r["person"] in sealers
    }


def of_nobody(day: date, first: int, count: int) -> list[Entry]:
    """The entries that fill a map up; whoever has the installation's key can make them again."""
    key = ground().keyring.derived("person-map-padding")
    return [people_map.padding(key, day, number) for number in range(first, first + count)]


async def fold(db: BaseDBAsyncClient, day: date, entries: int) -> list[bytes]:
    """The hashes of all buckets, from the stored entries."""
    bits = people_map.top_bits(entries)
    return [people_map.subtree(bucket, bits) async for bucket in _buckets(db, day, bits)]


async def bucket(db: BaseDBAsyncClient, day: date, number: int, bits: int) -> list[Entry]:
    """The entries of one bucket, in order."""
    rows = await db.execute_query_dict(BUCKETS, [day, *people_map.bounds(number, 1, bits)])
    return [Entry(r["index"], r["value"]) for r in rows]


def cut(tops: bytes) -> list[bytes]:
    """The hashes of the buckets as they are stored, one by one; raises `TileDamaged` where some are missing."""
    if not tops or (len(tops) // HASH_BYTES).bit_count() != 1 or len(tops) % HASH_BYTES:
        raise TileDamaged("the hashes of the map's buckets are not whole")
    return [tops[at : at + HASH_BYTES] for at in range(0, len(tops), HASH_BYTES)]


async def _buckets(db: BaseDBAsyncClient, day: date, bits: int) -> AsyncGenerator[list[Entry]]:
    """Every bucket in order; a few are read at once."""
    for first in range(0, 1 << bits, BUCKETS_AT_ONCE):
        count = min(BUCKETS_AT_ONCE, 1 << bits)
        rows = await db.execute_query_dict(BUCKETS, [day, *people_map.bounds(first, count, bits)])
        found: list[list[Entry]] = [[] for _ in range(count)]
        for r in rows:
            found[people_map.bucket_of(r["index"], bits) - first].append(Entry(r["index"], r["value"]))
        for entries in found:
            yield entries


async def _gather(db: BaseDBAsyncClient, row: Row) -> None:
    people, after = await newest_leaves(db, row["size"], row["after_person"])
    entries = await entries_for(people, row["day"])
    await _enter(db, row["day"], list(entries.values()))
    await db.execute_query(GATHERED, [row["day"], after, len(entries), len(people) - len(entries)])


async def _pad(db: BaseDBAsyncClient, row: Row, count: int) -> None:
    await _enter(db, row["day"], of_nobody(row["day"], row["padded"], count))
    await db.execute_query(PADDED, [row["day"], count])


async def _enter(db: BaseDBAsyncClient, day: date, entries: Sequence[Entry]) -> None:
    await db.execute_query(ENTER, [day, [e.index for e in entries], [e.value for e in entries]])
