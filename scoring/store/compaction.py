"""Events that were accepted move from the database into the files of their bucket: a union, so twice does no harm."""

import asyncio
from datetime import timedelta

import polars as pl

from compliance.act import Upkeep
from scoring.store import locks, shelf

ROWS_DUE = 500
"""So many waiting events of a bucket are moved at once; when all buckets are full this is reached somewhere."""
DUE_AFTER = timedelta(minutes=10)
AT_ONCE = 100_000
DUE = """
select bucket from scoring_behaviour group by bucket having count(*) >= $1 or min(received_at) < $2
order by count(*) desc
"""
TAKE = """
with taken as (select user_id, digest from scoring_behaviour where bucket = $1 order by received_at limit $2
              for update skip locked)
delete from scoring_behaviour b using taken s where b.user_id = s.user_id and b.digest = s.digest
returning b.user_id::text as user, b.at, b.category, b.name, b.value, b.count, b.attributes, b.late, b.digest, b.received_at
"""


async def due(upkeep: Upkeep) -> list[int]:
    """The buckets that need it, most of all first."""
    rows = await upkeep.db.execute_query_dict(DUE, [ROWS_DUE, upkeep.now - DUE_AFTER])
    return [int(row["bucket"]) for row in rows]


async def waiting(upkeep: Upkeep) -> list[int]:
    """Every bucket of which events wait."""
    rows = await upkeep.db.execute_query_dict("select distinct bucket from scoring_behaviour order by 1")
    return [int(row["bucket"]) for row in rows]


async def compact(upkeep: Upkeep, bucket: int) -> bool:
    """Move the waiting events of a bucket into its files; whether that was possible, for nobody else used it.

    They are on the disk before they leave the database. A crash in between leaves them in both, where they count once.
    Nothing of record changes, so no fact tells of it.
    """
    if not await locks.alone_now(upkeep, bucket):
        return False
    rows = await upkeep.db.execute_query_dict(TAKE, [bucket, AT_ONCE])
    if rows:
        await asyncio.to_thread(shelf.add, bucket, pl.DataFrame(rows, schema=shelf.SCHEMA))
    return True
