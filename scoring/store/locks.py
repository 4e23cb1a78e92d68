"""Who reads and who writes the files of a bucket: advisory locks, which end with the act."""

from collections.abc import Sequence

from compliance.act import Act, Upkeep

CLASS = 7_003
"""Advisory locks of this class: one for each bucket."""
SHARED = "select pg_advisory_xact_lock_shared($1, b) from (select unnest($2::int[]) as b order by 1) s"
ALONE = "select pg_advisory_xact_lock($1, $2)"


async def share(act: Act, buckets: Sequence[int]) -> None:
    """Nobody writes the files of these buckets until the act ends; always taken in the order of their numbers."""
    await act.db.execute_query_dict(SHARED, [CLASS, list(buckets)])


async def alone(at: Act | Upkeep, bucket: int) -> None:
    """Nobody else reads or writes the files of this bucket, nor takes events for it, until the act ends."""
    await at.db.execute_query_dict(ALONE, [CLASS, bucket])
