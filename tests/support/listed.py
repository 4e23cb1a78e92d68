"""Somebody on a bank's list, and what the bank reports of their application upon it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from support import world
from support.world import LISTING

from compliance.act import open_act
from compliance.vocabulary import PartnerClient
from consent.permits import BUSINESS_ZONE
from partners import outcomes, prescreens
from partners.outcomes import About, Decision, Outcome
from partners.tables import PrescreenRow

LIMIT, RATE = 500_000, "0.0004"
TODAY = datetime.now(UTC).astimezone(BUSINESS_ZONE).date()
DAY = timedelta(days=1)
READY_BEFORE = 40 * DAY
KEPT = Outcome(
    decision=Decision.APPROVED,
    applied_on=TODAY - 31 * DAY,
    decided_on=TODAY - 25 * DAY,
    currency="CNY",
    approved_minor=LIMIT,
    daily_rate=RATE,
)


async def an_entry(bank: PartnerClient, ready_before: timedelta = READY_BEFORE) -> Any:
    """Of a new list, about somebody new, read by its bank; it was ready so long ago, before anybody applied."""
    (person,) = await world.persons(1)
    await world.granted(person, bank, LISTING)
    prescreen = await world.list_wanted(bank)
    await world.list_made()
    await _ready_earlier(prescreen, ready_before)
    async with open_act(bank, LISTING) as act:
        entries = await prescreens.entries(act, prescreen, after=None, limit=10)
    return next(entry for entry in entries if entry.user_id == person.user)


async def _ready_earlier(prescreen: UUID, before: timedelta) -> None:
    async with open_act(world.STORY, None) as act:
        row = await PrescreenRow.get(id=prescreen, using_db=act.db)
        row.ready_at -= before
        await row.save(using_db=act.db, update_fields=["ready_at"])
        act.record("score_replayed", {})


async def report(bank: PartnerClient, entry: Any, *told: Outcome) -> None:
    """By its bank, one after the other."""
    for each in told:
        async with open_act(bank, None) as act:
            await outcomes.report(act, each, About(entry=entry.id))


async def an_application_upon_a_list(bank: PartnerClient) -> None:
    """Approved as the entry promised."""
    await report(bank, await an_entry(bank), KEPT)
