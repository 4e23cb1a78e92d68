"""Who reads and who writes the files of a bucket: advisory locks, which end with the act."""

from collections.abc import Sequence

from compliance.act import Act, Upkeep
from scoring.buckets import BUCKETS

CLASS = 7_003
"""Advisory locks of this class: one for each bucket, and one for the cut-off that decides what comes late."""
THE_CUTOFF = BUCKETS
SHARED = "select pg_advisory_xact_lock_shared($1, b) from (select unnest($2::int[]) as b order by 1) s"
ALONE = "select pg_advisory_xact_lock($1, $2)"
ALONE_NOW = "select pg_try_advisory_xact_lock($1, $2) as is_alone"


async def share(act: Act, buckets: Sequence[int]) -> None:
    """Nobody writes the files of these buckets until the act ends; always taken in the order of their numbers."""
    await act.db.execute_query_dict(SHARED, [CLASS, list(buckets)])


async def alone(at: Act | Upkeep, bucket: int) -> None:
    """Nobody else reads or writes the files of this bucket, nor takes events for it, until the act ends."""
    await at.db.execute_query_dict(ALONE, [CLASS, bucket])


async def alone_now(upkeep: Upkeep, bucket: int) -> bool:
    """As `alone`, where nobody else is there at this moment: whoever stood in line would have others wait behind them."""
    rows = await upkeep.db.execute_query_dict(ALONE_NOW, [CLASS, bucket])
    return bool(rows[0]["is_alone"])


async def keep_cutoff(act: Act) -> None:
    """No snapshot begins until the act ends; taken before any bucket. One that was waited for began before `act.now`."""
    await share(act, [THE_CUTOFF])
    await act.tick()


async def move_cutoff(act: Act) -> None:
    """What is on its way in is in, and nothing else comes in until the act ends: it will find the new cut-off."""
    await alone(act, THE_CUTOFF)
