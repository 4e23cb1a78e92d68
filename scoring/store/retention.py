"""How long events are kept: what no feature looks back to any more leaves the files, a bucket at a time, so that it can go on."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import polars as pl

from compliance import ids
from compliance.act import Act, Upkeep
from compliance.canonical import Json
from scoring.buckets import BUCKETS
from scoring.feature_terms import OPENING
from scoring.measures.definition import LONGEST_DAYS
from scoring.store import locks, shelf
from scoring.tables import RetentionRow

LONGEST_WINDOW = timedelta(days=LONGEST_DAYS)
KEPT = LONGEST_WINDOW + timedelta(days=60)
"""Published: no feature reads further back than 365 days from a cut-off, and a snapshot may be 60 days behind."""
EVERY = timedelta(days=30)
"""Published: so much later at the latest they are gone. Each run writes the files anew, so there are not many."""
OPENINGS_KEPT = timedelta(days=5 * 365)
"""Published: what was agreed when a loan was opened is read with each of its repayments."""
RUNNING = "select id from scoring_retention where finished_at is null for update skip locked"
BEGIN = """
insert into scoring_retention (id, before, started_at) select $1, $2::timestamptz, $3::timestamptz
where not exists (select 1 from scoring_retention where finished_at is null or started_at > $4) on conflict do nothing
returning id
"""
FINISH = """
update scoring_retention set finished_at = $1 where finished_at is null and buckets_done = $2 returning before, events
"""
PERIODS: Mapping[str, int] = {"days": KEPT.days, "years": OPENINGS_KEPT.days // 365, "more": EVERY.days}
"""As pages say them."""


class Stage(StrEnum):
    """What is to be done next."""

    NOTHING = "nothing"
    GOING_ON = "going_on"
    TELL = "tell"
    """Every bucket is done, and the log is to be told (`finish`)."""


def is_over(before: datetime) -> pl.Expr:
    """Whether an event's time is over: it lies before this moment, and it opens no loan that may still be repaid."""
    opening_before = before - (OPENINGS_KEPT - KEPT)
    opens = (pl.col("name") == OPENING) & (pl.col("at") >= opening_before)
    return (pl.col("at") < before) & ~opens


async def is_whole(at: Act | Upkeep, cutoff: datetime) -> bool:
    """Whether all that features of this moment may look back to is still there."""
    last = await RetentionRow.all().using_db(at.db).order_by("-before").first()
    return last is None or cutoff - LONGEST_WINDOW >= last.before


async def advance(upkeep: Upkeep) -> Stage:
    """Begin a run where one is due, or write the files of its next bucket anew without what is over.

    A bucket that somebody uses just then is tried again later. A crash leaves a bucket as it was, or done.
    """
    if not shelf.folder().is_dir():
        return Stage.NOTHING
    values = [ids.ordered_id(), upkeep.now - KEPT, upkeep.now, upkeep.now - EVERY]
    await upkeep.db.execute_query_dict(BEGIN, values)
    rows = await upkeep.db.execute_query_dict(RUNNING)
    if not rows:
        return Stage.NOTHING
    row = await RetentionRow.get(id=rows[0]["id"], using_db=upkeep.db)
    if row.buckets_done == BUCKETS:
        return Stage.TELL
    if not await locks.alone_now(upkeep, row.buckets_done):
        return Stage.NOTHING
    row.events += await asyncio.to_thread(shelf.drop, row.buckets_done, is_over(row.before))
    row.buckets_done += 1
    await row.save(using_db=upkeep.db, update_fields=["events", "buckets_done"])
    return Stage.GOING_ON


async def finish(act: Act) -> None:
    """End a run whose buckets are all done. Records `behaviour_forgotten`, with how many events went."""
    rows = await act.db.execute_query_dict(FINISH, [act.now, BUCKETS])
    for row in rows:
        told: dict[str, Json] = {"before": row["before"].isoformat(), "events": row["events"]}
        act.record("behaviour_forgotten", told)
