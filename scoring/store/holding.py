"""A person's own events: in their copy as they are kept, and gone with them from the waiting events and from the files."""

import asyncio
from collections.abc import Sequence
from typing import Any

from compliance.act import Act
from compliance.vocabulary import UserId
from consent import copies, holdings
from consent.permits import OwnPermit
from scoring.buckets import bucket_of
from scoring.store import locks, shelf

WAITING = """
select at, category, name, value, count, attributes, late, digest from scoring_behaviour
where user_id = $1 order by at limit $2
"""


@copies.adds("behaviour")
async def _copied(act: Act, own: OwnPermit, most: int) -> list[dict[str, Any]]:
    """Their events, each once, whether they wait or lie in files."""
    bucket = bucket_of(own.user)
    await locks.share(act, [bucket])
    waiting = await act.db.execute_query_dict(WAITING, [own.user, most])
    filed = await asyncio.to_thread(shelf.read, bucket, users=[str(own.user)])
    once = {bytes(row["digest"]): row for row in (*filed.iter_rows(named=True), *waiting)}
    return [_told(row) for row in sorted(once.values(), key=lambda row: (row["at"], bytes(row["digest"])))]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    said = ("category", "name", "value", "count", "attributes", "late")
    return {"at": row["at"].isoformat(), **{name: row[name] for name in said}}


@holdings.files("behaviour", part="events")
async def forget(act: Act, users: Sequence[UserId]) -> None:
    """Write the files of these people's buckets anew without them. Twice is fine."""
    of_bucket: dict[int, list[str]] = {}
    for user in users:
        of_bucket.setdefault(bucket_of(user), []).append(str(user))
    for bucket, gone in sorted(of_bucket.items()):
        await locks.alone(act, bucket)
        await asyncio.to_thread(shelf.merge, bucket, gone)
