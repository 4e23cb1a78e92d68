"""Somebody who consents between two snapshots: their features are computed at once, up to the last snapshot's cut-off."""

import asyncio
from datetime import datetime, timedelta

import polars as pl

from compliance.act import Act, Upkeep
from compliance.vocabulary import Purpose, UserId
from scoring.buckets import bucket_of
from scoring.store import locks, retention, shelf, snapshot
from scoring.tables import SnapshotRow

OVERLAP = timedelta(hours=1)
"""A consent that was given just before a snapshot may have been written after its person's bucket was read."""
UNPREPARED = """
select g.id, g.user_id from consent_grant g join consent_person p on p.id = g.user_id
where g.state = 'active' and g.given_at > $1 and g.purpose <> $2 and p.born_on is not null
  and not exists (select 1 from scoring_prepared d where d.grant_id = g.id and d.snapshot = $4)
order by g.given_at limit $3
"""
NOTE = """
insert into scoring_prepared (grant_id, user_id, snapshot)
select d.grant_id, d.user_id, $3::uuid from unnest($1::uuid[], $2::uuid[]) d (grant_id, user_id)
join consent_person p on p.id = d.user_id and p.erased_at is null for share of p
on conflict (grant_id) do update set snapshot = excluded.snapshot
"""
"""Of who was deleted meanwhile nothing is noted; what was done for another snapshot is to be done for this one again."""


async def any_unprepared(upkeep: Upkeep) -> bool:
    """Whether somebody consented whose features are not computed."""
    last = await _last(upkeep)
    return last is not None and bool(await _unprepared(upkeep, last, 1))


async def prepare(act: Act, limit: int) -> int:
    """Compute the features of some people who consented since the last snapshot; how many consents that was.

    Which consents is read first: one that comes meanwhile is found the next time. Records as `snapshot.advance`.
    """
    last = await _last(act)
    found = await _unprepared(act, last, limit) if last else {}
    users = sorted(set(found.values()))
    if last:
        await snapshot.store(act, await _events(act, users, last.cutoff), users, last)
        await act.db.execute_query(NOTE, [list(found), list(found.values()), last.id])
    return len(found)


async def _last(at: Act | Upkeep) -> SnapshotRow | None:
    """The last snapshot, unless some of what its features look back to is deleted: then the next one is waited for."""
    last = await snapshot.last_finished(at)
    return last if last and await retention.is_whole(at, last.cutoff) else None


async def _unprepared(at: Act | Upkeep, last: SnapshotRow, limit: int) -> dict[object, UserId]:
    values = [last.started_at - OVERLAP, Purpose.MODEL_DEVELOPMENT, limit, last.id]
    rows = await at.db.execute_query_dict(UNPREPARED, values)
    return {row["id"]: UserId(row["user_id"]) for row in rows}


async def _events(act: Act, users: list[UserId], cutoff: datetime) -> pl.DataFrame:
    """Of whole buckets at once, in the order of their numbers, as everybody locks them."""
    found = [pl.DataFrame(schema=shelf.SCHEMA)]
    for bucket in sorted({bucket_of(user) for user in users}):
        await locks.share(act, [bucket])
        wanted = [str(user) for user in users if bucket_of(user) == bucket]
        found.append(await asyncio.to_thread(shelf.read, bucket, before=cutoff, users=wanted))
    return pl.concat(found)
