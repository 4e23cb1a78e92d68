"""The sequencer: gives every committed fact its place in the log, and signs the head of the log for outsiders.

Facts commit with their act and without a place, so that writers never wait for hashing. One sequencer at a time
(an advisory lock) then takes the facts that have no place yet: never "those after the last one seen", because a
fact with a lower number may commit later. A crash at any point leaves nothing half done: the next run continues.
"""

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from compliance import facts, log
from compliance.act import open_upkeep
from compliance.database import Ground, ground
from compliance.keys import Sealer
from compliance.log import Checkpoint, LogKey, NoteRefused
from compliance.vocabulary import Worker

WORKER = Worker("sequencer")
BATCH = 1000
LOCK = 7_000_002
TAG_BYTES = 16
SEEN = Path("log/last-checkpoint")
"""Under the installation's home: the last checkpoint that anybody can have seen."""

UNPLACED = """
select f.id, f.recorded_at, f.kind, f.partner, f.person, f.commitment, f.sealed
from compliance_unplaced u join compliance_fact f on f.id = u.fact order by u.seq limit $1
"""
FORGET = "delete from compliance_unplaced where fact = any($1::uuid[])"
SIZE = "select coalesce(max(leaf_index) + 1, 0) as size from compliance_log"
SIGNED = """
select coalesce((select max(leaf_index) + 1 from compliance_log), 0)
     = coalesce((select max(size) from compliance_checkpoint), 0) as signed
"""
LAST_TENANT_SEQ = """
select key, coalesce((select max(tenant_seq) from compliance_log where tenant = key), 0) as seq
from unnest($1::uuid[]) as key
"""
LAST_PERSON_SEQ = """
select key, coalesce((select max(person_seq) from compliance_log where person = key), 0) as seq
from unnest($1::uuid[]) as key
"""
NEW_TAGS = """
insert into compliance_tenant_tag (tenant, month, tag) select * from unnest($1::uuid[], $2::date[], $3::text[])
on conflict (tenant, month) do nothing
"""
TAGS = """
select t.tenant, t.month, t.tag from compliance_tenant_tag t
join unnest($1::uuid[], $2::date[]) as wanted (tenant, month) using (tenant, month)
"""
PLACE = """
insert into compliance_log (leaf_index, fact, leaf, tenant, tenant_seq, person, person_seq)
select * from unnest($1::bigint[], $2::uuid[], $3::bytea[], $4::uuid[], $5::bigint[], $6::uuid[], $7::bigint[])
"""
TILES = """
select t.level, t.index, t.hashes from compliance_tile t
join unnest($1::int[], $2::bigint[]) as wanted (level, index) using (level, index)
"""
KEEP_TILES = """
insert into compliance_tile (level, index, hashes) select * from unnest($1::int[], $2::bigint[], $3::bytea[])
on conflict (level, index) do update set hashes = excluded.hashes
"""
LAST_CHECKPOINT = "select size, root from compliance_checkpoint order by size desc limit 1"
KEEP_CHECKPOINT = """
insert into compliance_checkpoint (size, root, note, signed_at) values ($1, $2, $3, $4)
on conflict (size) do nothing
"""

Row = Mapping[str, Any]


class LogForked(Exception):
    """The database does not continue what was signed before: usually a back-up was restored.

    Signing on would show different people different histories (C2SP tlog-checkpoint, "Signatures"). Bring back the
    lost facts, or open a new log under another name and say so in public.
    """


class Opened(NamedTuple):
    """A fact's payload and its salt, and the salt of its person's sequence number."""

    payload: bytes
    salt: bytes
    person_salt: bytes


class Placed(NamedTuple):
    """A row of the log: a fact in its place.

    `tenant_seq` and `person_seq` count from 1, so that the last one is the number of all.
    """

    leaf_index: int
    fact: UUID
    leaf: bytes
    tenant: UUID
    tenant_seq: int
    person: UUID | None
    person_seq: int | None


async def sequence(limit: int = BATCH) -> int:
    """Place up to `limit` facts: index, numbers, leaf and tiles in one transaction; return how many."""
    async with open_upkeep(WORKER) as upkeep:
        db = upkeep.db
        await _lock(db)
        rows = await db.execute_query_dict(UNPLACED, [limit])
        if not rows:
            return 0
        size = await read_size(db)
        placed = await _place(db, rows, size)
        tile = await read_tiles(db, log.places(size - 1, size))
        changed = log.append(tile, size, [log.leaf_hash(p.leaf) for p in placed])
        await db.execute_query(PLACE, _columns(placed))
        await db.execute_query(FORGET, [[p.fact for p in placed]])
        await db.execute_query(KEEP_TILES, _columns((*place, hashes) for place, hashes in changed.items()))
    return len(placed)


async def publish() -> Checkpoint:
    """Sign the head and store it; raises `LogForked` rather than sign what denies an earlier signature.

    The note is put outside the database before it can be read inside: whatever was ever served is outside, where
    no restored back-up reaches it. A crash between the two leaves a signed head of facts that are durable.
    """
    here = ground()
    async with open_upkeep(WORKER) as upkeep:
        db = upkeep.db
        await _lock(db)
        size = await read_size(db)
        earlier = await _earlier(db, here)
        wanted = log.places(size - 1, size).union(*(log.places(e.size - 1, e.size) for e in earlier))
        tile = await read_tiles(db, wanted)
        for signed in earlier:
            if signed.size > size or log.root(tile, signed.size) != signed.root:
                raise LogForked(
                    f"a head of {signed.size} facts was signed; the database holds {size}, not of it"
                )
        head = Checkpoint(here.origin, size, log.root(tile, size))
        note = log.sign(head, here.keyring.log)
        await db.execute_query(KEEP_CHECKPOINT, [size, head.root, note, upkeep.now])
        _remember(here.home / SEEN, note)
    return head


async def is_signed() -> bool:
    """Whether the newest checkpoint covers every placed fact."""
    async with open_upkeep(WORKER) as upkeep:
        rows = await upkeep.db.execute_query_dict(SIGNED)
    signed: bool = rows[0]["signed"]
    return signed


async def read_size(db: BaseDBAsyncClient) -> int:
    """The number of facts in the log."""
    size: int = (await db.execute_query_dict(SIZE))[0]["size"]
    return size


async def read_tiles(db: BaseDBAsyncClient, places: Iterable[log.Place]) -> log.Tile:
    """Fetch tiles for the pure functions of `log`; asking for another one raises `TileDamaged`."""
    rows = await db.execute_query_dict(TILES, _columns(places) or [[], []])
    hashes: dict[log.Place, bytes] = {(r["level"], r["index"]): r["hashes"] for r in rows}

    def tile(level: int, index: int) -> bytes:
        return hashes.get((level, index), b"")

    return tile


def unseal(row: Row, sealers: Mapping[UUID, Sealer]) -> Opened | None:
    """What a fact's row holds; None when no key that exists opens it.

    Where a fact was recorded before its person had a key, or after the key was erased, it is the installation's.
    """
    found = ground().key_store.opened(sealers.get(row["person"]), row["sealed"], row["id"].bytes)
    if found is None:
        return None
    sealer, plain = found
    return Opened(*facts.taken_apart(plain), facts.person_salt(sealer, row["id"]))


def month_of(at: datetime) -> date:
    """The month (UTC) whose random tag stands for the tenant in the leaf of a fact of that time."""
    return at.astimezone(UTC).date().replace(day=1)


def seal_person_seq(person_seq: int | None, salt: bytes) -> bytes | None:
    """HMAC-SHA256(`facts.person_salt`, decimal person_seq): a person can later show that no number is missing."""
    return None if person_seq is None else facts.commit_to(str(person_seq).encode(), salt)


async def _lock(db: BaseDBAsyncClient) -> None:
    """Be the only sequencer until the transaction ends; the next statement sees what the last one committed."""
    await db.execute_query_dict("select pg_advisory_xact_lock($1)", [LOCK])


async def _place(db: BaseDBAsyncClient, rows: Sequence[Row], size: int) -> list[Placed]:
    sealers = await ground().key_store.sealers({r["person"] for r in rows if r["person"]})
    tags = await _tags(db, {(r["partner"], month_of(r["recorded_at"])) for r in rows})
    tenants = await _last(db, LAST_TENANT_SEQ, {r["partner"] for r in rows})
    people = await _last(db, LAST_PERSON_SEQ, {r["person"] for r in rows if r["person"]})
    placed = []
    for index, row in enumerate(rows, start=size):
        tenant, person = row["partner"], row["person"]
        tenants[tenant] += 1
        if person:
            people[person] += 1
        person_seq = people[person] if person else None
        opened = unseal(row, sealers)
        # Erased before it was placed: it gets its place, and a salt that nobody knows, as if erased just after.
        salt = opened.person_salt if opened else secrets.token_bytes(facts.SALT_BYTES)
        entry = log.leaf(
            kind=row["kind"],
            at=row["recorded_at"],
            tenant_tag=tags[tenant, month_of(row["recorded_at"])],
            tenant_seq=tenants[tenant],
            commitment=row["commitment"],
            person_seq_commitment=seal_person_seq(person_seq, salt),
        )
        placed.append(Placed(index, row["id"], entry, tenant, tenants[tenant], person, person_seq))
    return placed


async def _tags(db: BaseDBAsyncClient, wanted: set[tuple[UUID, date]]) -> dict[tuple[UUID, date], str]:
    """The random tags that stand for tenants, each for one month, so that leaves cannot be linked for longer."""
    new = _columns((tenant, month, secrets.token_hex(TAG_BYTES)) for tenant, month in wanted)
    await db.execute_query(NEW_TAGS, new)
    rows = await db.execute_query_dict(TAGS, new[:2])
    return {(r["tenant"], r["month"]): r["tag"] for r in rows}


async def _last(db: BaseDBAsyncClient, query: str, keys: set[UUID]) -> dict[UUID, int]:
    rows = await db.execute_query_dict(query, [list(keys)])
    return {r["key"]: r["seq"] for r in rows}


async def _earlier(db: BaseDBAsyncClient, here: Ground) -> list[Checkpoint]:
    """The heads that were signed last, as far as the outside and the database remember."""
    rows = await db.execute_query_dict(LAST_CHECKPOINT)
    earlier = [Checkpoint(here.origin, r["size"], r["root"]) for r in rows]
    seen = here.home / SEEN
    if seen.exists():
        key = LogKey(here.origin, here.keyring.log_public_bytes())
        try:
            earlier.append(log.read_note(seen.read_text(), key))
        except NoteRefused as refused:
            raise LogForked(f"the checkpoint outside the database is not this log's: {refused}") from None
    return earlier


def _remember(file: Path, note: str) -> None:
    """Replace the file at one stroke, durably."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".new")
    with unfinished.open("w", encoding="utf-8") as out:
        out.write(note)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
