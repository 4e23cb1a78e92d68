"""Delivery of referrals: each leaves once, only while its consent lives, and what is unclear is asked for, not sent again."""

import random
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from compliance import ids
from compliance.act import Act, open_act, open_upkeep
from compliance.canonical import Json
from compliance.refusals import Refusal
from compliance.vocabulary import Category, GrantId, PartnerId, Purpose, UserId, Worker
from consent import permits
from consent.permits import ConsentPaused, ConsentWithdrawn
from partners import directory, handover, referrals
from partners.connectors.contract import Connector, Rejected, Standing, Unclear
from partners.referrals import Delivery, State
from partners.tables import ReferralRow

LEASE = timedelta(seconds=60)
"""Longer than any connector's deadline: who still holds it cannot be in the middle of a call."""
ATTEMPTS_MAX = 8
BACKOFF_BASE_SECONDS = 5
BACKOFF_CAP_SECONDS = 900
HELD_FOR = timedelta(hours=1)
PURPOSE = Purpose.LOAN_REFERRAL
# A crash between sending and recording leaves `sending` behind; its lease runs out and it counts as unknown.
CLAIM = """
with due as (
    select id, delivery as was from partners_referral
    where delivery in ('queued', 'sending', 'unknown') and next_try_at <= $1
      and (lease_until is null or lease_until <= $1)
    order by next_try_at limit 1 for update skip locked
)
update partners_referral r set delivery = 'sending', attempts = attempts + 1, lease_until = $2
from due, partners_partner p where r.id = due.id and p.id = r.partner
returning r.id, due.was, p.code as lender
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """One referral that is ours until the lease ends, and its lender's code. `sent_before`: it may have arrived."""

    referral: UUID
    lender: str
    sent_before: bool
    lease_until: datetime

    @property
    def reference(self) -> str:
        """What the lender knows the referral by."""
        return ids.public("ref", self.referral)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one attempt: how the delivery stands now, and a code that says why."""

    delivery: Delivery
    why: str
    held: bool = False
    """Nothing was sent, for a reason that may pass."""
    acknowledged: bool = False


async def deliver_due(worker: Worker, connectors: Mapping[str, Connector], limit: int) -> int:
    """Try up to `limit` referrals that are due, one after the other; returns how many were tried.

    Safe from many workers at once and after a crash at any point. Records `referral_released` before anything is
    sent, then `referral_delivered`, `delivery_unclear`, `delivery_failed`, `delivery_held`, `delivery_stopped`, or
    `delivery_overtaken` where the person or the lender was faster.
    """
    for tried in range(limit):
        claim = await _claim(worker)
        if claim is None:
            return tried
        result = await _attempt(worker, claim, connectors)
        if result is not None:
            await _settle(worker, claim, result)
    return limit


async def _claim(worker: Worker) -> Claim | None:
    async with open_upkeep(worker) as upkeep:
        lease_until = upkeep.now + LEASE
        rows = await upkeep.db.execute_query_dict(CLAIM, [upkeep.now, lease_until])
    if not rows:
        return None
    found = rows[0]
    return Claim(found["id"], found["lender"], found["was"] != Delivery.QUEUED, lease_until)


async def _attempt(worker: Worker, claim: Claim, connectors: Mapping[str, Connector]) -> Result | None:
    """Ask, release and send; none when withdrawal or the lender's own report was faster.

    What may have arrived is asked for by our reference alone, which needs no consent; it is sent again only if it has
    not arrived and the consent still lives.
    """
    before = Delivery.UNKNOWN if claim.sent_before else Delivery.QUEUED
    connector = connectors.get(claim.lender)
    if connector is None:
        return Result(before, "no_connector", held=True)
    if claim.sent_before and (told := await _told(connector.status(claim.reference))):
        return told
    try:
        async with open_act(worker, PURPOSE) as act:
            signed = await _release(act, claim)
    except (ConsentPaused, directory.PartnerSuspended) as refusal:
        return Result(before, refusal.code, held=True)
    except Refusal as refusal:
        return Result(Delivery.STOPPED, refusal.code)
    if signed is None:
        return None
    told = await _told(connector.submit(claim.reference, signed))
    return told or Result(Delivery.UNKNOWN, "answer_contradicts_itself")


async def _release(act: Act, claim: Claim) -> str | None:
    """Permit again, now, and record that the referral leaves; withdrawal waits for this act or comes before it."""
    found = await ReferralRow.filter(id=claim.referral).using_db(act.db).get()
    user, lender = UserId(found.user_id), PartnerId(found.partner)
    wanted = frozenset({Category.DECLARED})
    permit = await permits.permit(act, user, PURPOSE, wanted, recipient=lender, count=False)
    if permit.grant != found.grant_id:
        raise ConsentWithdrawn("the consent that this referral rests on has ended; a later one is not for it")
    partner = await directory.find(act, lender)
    if partner.suspended_at is not None:
        raise directory.PartnerSuspended("wait until the partner is admitted again")
    row = await referrals.locked(act, claim.referral)
    if not _ours(row, claim):
        _record(act, row, "delivery_overtaken", "before it left")
        return None
    what: dict[str, Json] = {"referral": claim.reference, "attempt": row.attempts, "permit": permit.digest}
    act.record("referral_released", what, person=user, grant=permit.grant, partner=lender)
    return handover.submission(row, act.now)


async def _told(call: Awaitable[Standing]) -> Result | None:
    """What the lender says, with no act open; none if it has not got the referral."""
    try:
        standing = await call
    except Unclear as unclear:
        return Result(Delivery.UNKNOWN, str(unclear))
    except Rejected as rejected:
        return Result(Delivery.DEAD, str(rejected))
    if standing is Standing.NOT_RECEIVED:
        return None
    return Result(Delivery.DONE, standing, acknowledged=standing is Standing.ACKNOWLEDGED)


async def _settle(worker: Worker, claim: Claim, result: Result) -> None:
    """Record what became of the attempt, unless withdrawal or the lender's own report settled it meanwhile."""
    async with open_act(worker, PURPOSE) as act:
        row = await referrals.locked(act, claim.referral)
        if not _ours(row, claim):
            _record(act, row, "delivery_overtaken", result.why)
            return
        kind = _apply(row, result, act.now)
        await row.save(using_db=act.db, update_fields=["delivery", "lease_until", "attempts", "next_try_at"])
        if row.delivery == Delivery.DONE and row.state != State.CREATED:
            kind = "delivery_overtaken"  # it arrived, and the person had withdrawn meanwhile: the state stays
        elif row.delivery == Delivery.DONE:
            await referrals.advance(act, row, State.DELIVERED)
            if result.acknowledged:
                await referrals.advance(act, row, State.ACKNOWLEDGED)
        if kind:
            _record(act, row, kind, result.why)


def _apply(row: ReferralRow, result: Result, now: datetime) -> str | None:
    """Set how the delivery stands and when it is tried next; answers with the fact to record, if any."""
    row.delivery, row.lease_until = result.delivery, None
    if result.held:
        row.attempts -= 1  # nothing was sent
        row.next_try_at = now + HELD_FOR
        return "delivery_held"
    if result.delivery is Delivery.UNKNOWN:
        if row.attempts >= ATTEMPTS_MAX:
            row.delivery = Delivery.DEAD
            return "delivery_failed"
        row.next_try_at = now + _backoff(row.attempts)
        return "delivery_unclear"
    ends = {Delivery.DEAD: "delivery_failed", Delivery.STOPPED: "delivery_stopped"}
    return ends.get(result.delivery)


def _backoff(attempts: int) -> timedelta:
    """Full jitter: anywhere up to the doubled delay, so that a lender that comes back is not overrun."""
    longest = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2**attempts)
    return timedelta(seconds=random.uniform(0, longest))  # noqa: S311 - spreads retries, guards nothing


def _ours(row: ReferralRow, claim: Claim) -> bool:
    """Whether the lease is still the one we took."""
    return row.delivery == Delivery.SENDING and row.lease_until == claim.lease_until


def _record(act: Act, row: ReferralRow, kind: str, why: str) -> None:
    what: dict[str, Json] = {
        "referral": ids.public("ref", row.id),
        "attempts": row.attempts,
        "why": why,
    }
    act.record(
        kind,
        what,
        person=UserId(row.user_id),
        grant=GrantId(row.grant_id),
        partner=PartnerId(row.partner),
    )
