"""The worker: puts facts into the log, maps whom they are about, makes lists, delivers referrals, clears what has expired."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from api import telemetry
from api.oauth import authorizations
from api.oauth.checks import single_use
from api.settings import Settings
from compliance import map_making, sequencer
from compliance.act import Act, Upkeep, open_act, open_upkeep
from compliance.map_making import Stage
from compliance.replies import KEPT_FOR
from compliance.vocabulary import Purpose, Worker
from consent import capsules, deletion, disputes, effects, grants
from partners import (
    delivery,
    endings,  # noqa: F401 - declares what stops when a grant expires
    monitoring,
    prescreens,
)
from partners.connectors import registry as connectors
from partners.monitoring import Report
from scoring import budget, previews, reviews
from scoring.monitoring import shadow
from scoring.runs import departures, keeping
from scoring.runs import holding as runs  # noqa: F401 - declares that a deletion reaches population runs
from scoring.store import (
    catching_up,
    compaction,
    holding,  # noqa: F401 - declares that a deletion reaches the files
    parting,
    retention,
)

IDLE_SECONDS = 0.1
REST_AFTER_ERROR_SECONDS = 2.0
PURGE_EVERY_SECONDS = 60.0
EXPIRY_EVERY_SECONDS = 5.0
OVERDUE_EVERY_SECONDS = 60.0
DELETIONS_EVERY_SECONDS = 2.0
DEPARTURES_EVERY_SECONDS = 5.0
CONTACTS_EVERY_SECONDS = 2.0
CAPSULES_EVERY_SECONDS = 3_600.0
FILING_EVERY_SECONDS = 5.0
RETENTION_EVERY_SECONDS = 60.0
FEATURES_EVERY_SECONDS = 1.0
MAP_EVERY_SECONDS = 60.0
SHADOW_EVERY_SECONDS = 2.0
MONITORING_LOOKED_AT_EVERY_SECONDS = 300.0
DELIVERIES_AT_ONCE = 10
DONE_AT_ONCE = 100
LIST_MAKER, COURIER, CLERK, FILER, WATCHMAN = (
    Worker(name) for name in ("list_maker", "courier", "clerk", "filer", "watchman")
)


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
        Job("person_map", map_people, MAP_EVERY_SECONDS),
        Job("lists", make_list),
        Job("delivery", deliver),
        Job("expiry", end_expired, EXPIRY_EVERY_SECONDS),
        Job("deletions", finish_deletions, DELETIONS_EVERY_SECONDS),
        Job("departures", take_out_departed, DEPARTURES_EVERY_SECONDS),
        Job("contacts", hide_contacts, CONTACTS_EVERY_SECONDS),
        Job("behaviour", file_behaviour, FILING_EVERY_SECONDS),
        Job("retention", forget_old_behaviour, RETENTION_EVERY_SECONDS),
        Job("features", prepare_features, FEATURES_EVERY_SECONDS),
        Job("capsules", destroy_capsules, CAPSULES_EVERY_SECONDS),
        Job("overdue", escalate_overdue, OVERDUE_EVERY_SECONDS),
        Job("late answers", note_late_answers, OVERDUE_EVERY_SECONDS),
        Job("shadow", follow_in_shadow, SHADOW_EVERY_SECONDS),
        Job("monitoring", watch_daily, MONITORING_LOOKED_AT_EVERY_SECONDS),
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


async def map_people() -> bool:
    """Go on with the map of people of this day; when it is whole, tell the log its root."""
    async with open_upkeep(map_making.WORKER) as upkeep:
        stage = await map_making.advance(upkeep)
    if stage is Stage.PUBLISH:
        async with open_act(map_making.WORKER, None) as act:
            await map_making.publish(act)
    return stage is not Stage.NOTHING


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
    return await _clerk(grants.any_expired, grants.end_expired)


async def finish_deletions() -> bool:
    """Do what deletions of people leave to be done: keys, sign-ins, pseudonyms."""
    return await _clerk(deletion.any_unfinished, deletion.finish)


async def take_out_departed() -> bool:
    """Take people out of population runs whose consent to lists has ended."""
    async with open_upkeep(FILER) as upkeep:
        return await departures.take_out(upkeep, DONE_AT_ONCE) > 0


async def hide_contacts() -> bool:
    """Hide the contacts that count somebody who took their consent back, or who is gone."""
    async with open_upkeep(FILER) as upkeep:
        return await parting.hide(upkeep, DONE_AT_ONCE) > 0


async def file_behaviour() -> bool:
    """Move the events of one bucket that wait into its files: of the first that nobody uses just now."""
    async with open_upkeep(FILER) as upkeep:
        for bucket in await compaction.due(upkeep):
            if await compaction.compact(upkeep, bucket):
                return True
    return False


async def forget_old_behaviour() -> bool:
    """Write the files of the next bucket anew without the events whose time is over; tell the log at the end of a run."""
    async with open_upkeep(FILER) as upkeep:
        stage = await retention.advance(upkeep)
    if stage is retention.Stage.TELL:
        async with open_act(FILER, None) as act:
            await retention.finish(act)
    return stage is retention.Stage.GOING_ON


async def prepare_features() -> bool:
    """Compute the features of people who consented since the last snapshot: a bank may ask within seconds."""
    return await _clerk(catching_up.any_unprepared, catching_up.prepare, Purpose.CREDIT_ASSESSMENT)


async def destroy_capsules() -> bool:
    """Destroy evidence whose time is over."""
    return await _clerk(capsules.any_due, capsules.destroy_due)


async def escalate_overdue() -> bool:
    """Record which recipients did not confirm or delete in time."""
    return await _clerk(effects.any_overdue, effects.escalate_overdue)


async def note_late_answers() -> bool:
    """Record which disputes and reviews staff did not answer in time."""
    late = [await _clerk(each.any_overdue, each.note_overdue) for each in (disputes, reviews)]
    return any(late)


async def follow_in_shadow() -> bool:
    """Let the challenger answer what the model in use answered."""
    return await _clerk(shadow.any_waiting, shadow.follow)


async def watch_daily() -> bool:
    """Once a day: the figures of the model in use, and an alert for each that changed its state."""
    async with open_upkeep(WATCHMAN) as upkeep:
        due = await monitoring.is_due(upkeep)
    if due:
        await watch_now()
    return False


async def watch_now() -> Report:
    """Read, work the figures out beside the other jobs, and keep them."""
    async with open_act(WATCHMAN, None) as act:
        seen = await monitoring.gather(act)
    made = await asyncio.to_thread(monitoring.report, seen)
    async with open_act(WATCHMAN, None) as act:
        return await monitoring.keep(act, made)


async def _clerk(
    look: Callable[[Upkeep], Awaitable[bool]],
    do: Callable[[Act, int], Awaitable[int]],
    purpose: Purpose | None = None,
) -> bool:
    """Do some of what waits, in one act, if anything does: an act must have something to record."""
    async with open_upkeep(CLERK) as upkeep:
        waiting = await look(upkeep)
    if not waiting:
        return False
    async with open_act(CLERK, purpose) as act:
        return await do(act, DONE_AT_ONCE) > 0


async def purge() -> bool:
    """Forget what is over: proofs, requests, old answers, links, sessions, previews, disclosures, population runs; never a fact."""
    await single_use.forget()
    await authorizations.forget()
    async with open_upkeep() as upkeep:
        await upkeep.db.execute_query(
            "delete from compliance_reply where made_at < $1", [upkeep.now - KEPT_FOR]
        )
        await upkeep.db.execute_query("delete from api_link where expires_at < $1", [upkeep.now])
        await upkeep.db.execute_query("delete from api_session where expires_at < $1", [upkeep.now])
    async with open_upkeep(CLERK) as upkeep:
        await previews.forget_old(upkeep)
        await budget.forget_old(upkeep)
    keeping.clear(keeping.folder(), upkeep.now)
    return False
