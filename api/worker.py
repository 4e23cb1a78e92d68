"""The worker: puts facts into the log, makes lists, delivers referrals, clears what has expired."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from api import telemetry
from api.oauth import authorizations
from api.oauth.checks import single_use
from api.settings import Settings
from compliance import sequencer
from compliance.act import open_act, open_upkeep
from compliance.replies import KEPT_FOR
from compliance.vocabulary import Purpose, Worker
from consent import effects, grants
from partners import (
    delivery,
    endings,  # noqa: F401 - declares what stops when a grant expires
    prescreens,
)
from partners.connectors import registry as connectors

IDLE_SECONDS = 0.1
REST_AFTER_ERROR_SECONDS = 2.0
PURGE_EVERY_SECONDS = 60.0
EXPIRY_EVERY_SECONDS = 5.0
EXPIRED_AT_ONCE = 100
OVERDUE_EVERY_SECONDS = 60.0
OVERDUE_AT_ONCE = 100
DELIVERIES_AT_ONCE = 10
LIST_MAKER, COURIER, CLERK = Worker("list_maker"), Worker("courier"), Worker("clerk")


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of work: done again and again, resting while there is none."""

    name: str
    step: Callable[[], Awaitable[bool]]
    """Do one piece; say whether there was any."""
    idle_seconds: float = IDLE_SECONDS


async def run(settings: Settings) -> None:
    """Work until told to stop; each job goes on by itself, and a crash loses nothing that was committed."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        for job in jobs(settings):
            group.create_task(keep_on(job, stop))


def jobs(settings: Settings) -> list[Job]:
    """Everything that is done without anybody waiting for it."""
    known = connectors.read(settings.home)

    async def deliver() -> bool:
        return await delivery.deliver_due(COURIER, known, DELIVERIES_AT_ONCE) > 0

    async def make_list() -> bool:
        return await make_next_list(settings.prescreen_entries_min)

    return [
        Job("log", extend_log),
        Job("lists", make_list),
        Job("delivery", deliver),
        Job("expiry", end_expired, EXPIRY_EVERY_SECONDS),
        Job("overdue", escalate_overdue, OVERDUE_EVERY_SECONDS),
        Job("purge", purge, PURGE_EVERY_SECONDS),
    ]


async def keep_on(job: Job, stop: asyncio.Event) -> None:
    """Do a job until told to stop; an error is logged by its type and tried again after a rest."""
    while not stop.is_set():
        pause = job.idle_seconds
        try:
            if await job.step():
                continue
        except sequencer.LogForked:
            telemetry.log.error("log_forked", worker=job.name)
            pause = REST_AFTER_ERROR_SECONDS
        except Exception as error:  # noqa: BLE001 - one failing job must not stop the others
            telemetry.log.error("job_failed", worker=job.name, error_type=type(error).__name__)
            pause = REST_AFTER_ERROR_SECONDS
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)


async def extend_log() -> bool:
    """Give committed facts their place in the log, and sign the head where nobody has.

    The head may be another's to sign, who placed the facts and was killed: whoever finds it unsigned signs it.
    """
    placed = await sequencer.sequence()
    if placed or not await sequencer.is_signed():
        await sequencer.publish()
    return placed > 0


async def make_next_list(entries_min: int) -> bool:
    """Make one list that waits."""
    async with open_upkeep(LIST_MAKER) as upkeep:
        waiting = await upkeep.db.execute_query_dict(
            "select 1 from partners_prescreen where state = 'approved' limit 1"
        )
    if not waiting:
        return False
    async with open_act(LIST_MAKER, Purpose.PRESCREEN) as act:
        await prescreens.run_next(act, entries_min=entries_min)
    return True


async def end_expired() -> bool:
    """Take back what rests on grants whose period is over."""
    async with open_upkeep(CLERK) as upkeep:
        overdue = await grants.any_expired(upkeep)
    if not overdue:
        return False
    async with open_act(CLERK, None) as act:
        return await grants.end_expired(act, EXPIRED_AT_ONCE) > 0


async def escalate_overdue() -> bool:
    """Record which recipients did not confirm or delete in time."""
    async with open_upkeep(CLERK) as upkeep:
        overdue = await effects.any_overdue(upkeep)
    if not overdue:
        return False
    async with open_act(CLERK, None) as act:
        return await effects.escalate_overdue(act, OVERDUE_AT_ONCE) > 0


async def purge() -> bool:
    """Forget spent proofs, requests nobody answered, old answers, links and sessions that are over; never a fact."""
    await single_use.forget()
    await authorizations.forget()
    async with open_upkeep() as upkeep:
        await upkeep.db.execute_query(
            "delete from compliance_reply where made_at < $1", [upkeep.now - KEPT_FOR]
        )
        await upkeep.db.execute_query("delete from api_link where expires_at < $1", [upkeep.now])
        await upkeep.db.execute_query("delete from api_session where expires_at < $1", [upkeep.now])
    return False
