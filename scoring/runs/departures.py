"""Whoever took back a consent to lists leaves the runs of that recipient soon, not only with the next run."""

import asyncio
from contextlib import suppress

from compliance.act import Upkeep
from compliance.vocabulary import PartnerId, UserId
from scoring.runs import keeping
from scoring.runs.faults import RunBusy

RECIPIENTS = "select distinct recipient from scoring_departure"
WAITING = "select id, user_id from scoring_departure where recipient = $1 order by id limit $2"
DONE = "delete from scoring_departure where id = any($1::bigint[])"


async def take_out(upkeep: Upkeep, limit: int) -> int:
    """Take out who waits for it, so many of each recipient; how many. Whose recipient's run is busy waits on."""
    done = []
    for row in await upkeep.db.execute_query_dict(RECIPIENTS):
        recipient = PartnerId(row["recipient"])
        for waits in await upkeep.db.execute_query_dict(WAITING, [recipient, limit]):
            with suppress(RunBusy):
                user = UserId(waits["user_id"])
                await asyncio.to_thread(keeping.forget_towards, keeping.folder(), recipient, user)
                done.append(waits["id"])
    await upkeep.db.execute_query(DONE, [done])
    return len(done)
