"""Delivery of referrals: each leaves once, only while its consent lives, and what is unclear is asked for, not sent again."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from compliance import ids
from compliance.act import Act, open_act, open_upkeep
from compliance.canonical import Json
from compliance.refusals import Refusal
from compliance.vocabulary import Category, GrantId, PartnerId, Purpose, UserId, Worker
from consent import permits
from consent.permits import ConsentPaused
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
from due where r.id = due.id
returning r.id, due.was
"""


class PartnerSuspended(Refusal):
    """A suspended partner gets nothing; what waits for it is held."""

    status, code, title = 403, "partner_suspended", "The partner is suspended"


@dataclass(frozen=True, slots=True)
class Claim:
    """One referral that is ours until the lease ends. `sent_before`: it may already be at the lender."""

    referral: UUID
    sent_before: bool
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes out: the lender's code, our reference, the signed referral."""

    lender: str
    reference: str
    signed: str


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
    sent, then `referral_delivered`, `delivery_unclear`, `delivery_failed`, `delivery_held` or `delivery_stopped`.
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
    return Claim(rows[0]["id"], rows[0]["was"] != Delivery.QUEUED, lease_until) if rows else None


async def _attempt(worker: Worker, claim: Claim, connectors: Mapping[str, Connector]) -> Result | None:
    """Release and send; none when withdrawal or the lender's own report was faster."""
    before = Delivery.UNKNOWN if claim.sent_before else Delivery.QUEUED
    try:
        async with open_act(worker, PURPOSE) as act:
            parcel = await _release(act, claim)
    except (ConsentPaused, PartnerSuspended) as refusal:
        return Result(before, refusal.code, held=True)
    except Refusal as refusal:
        return Result(Delivery.STOPPED, refusal.code)
    if parcel is None:
        return None
    connector = connectors.get(parcel.lender)
    if connector is None:
        return Result(before, "no_connector", held=True)
    return await _send(parcel, connector, sent_before=claim.sent_before)


async def _release(act: Act, claim: Claim) -> Parcel | None:
    """Permit again, now, and record that the referral leaves; withdrawal waits for this act or comes before it."""
    found = await ReferralRow.filter(id=claim.referral).using_db(act.db).get()
    user, lender = UserId(found.user_id), PartnerId(found.partner)
    wanted = frozenset({Category.DECLARED})
    permit = await permits.permit(act, user, PURPOSE, wanted, recipient=lender, count=False)
    partner = await directory.find(act, lender)
    if partner.suspended_at is not None:
        raise PartnerSuspended("wait until the partner is admitted again")
    row = await referrals.locked(act, claim.referral)
    reference = ids.public("ref", row.id)
    if not _ours(row, claim):
        _record(act, row, "delivery_overtaken", "before it left")
        return None
    what: dict[str, Json] = {"referral": reference, "attempt": row.attempts, "permit": permit.digest}
    act.record("referral_released", what, person=user, grant=permit.grant, partner=lender)
    return Parcel(partner.code, reference, handover.submission(row, act.now))


async def _send(parcel: Parcel, connector: Connector, *, sent_before: bool) -> Result:
    """Talk to the lender with no act open. What may have arrived is asked for first, never sent blindly again."""
    try:
        standing = await connector.status(parcel.reference) if sent_before else Standing.NOT_RECEIVED
        if standing is Standing.NOT_RECEIVED:
            standing = await connector.submit(parcel.reference, parcel.signed)
    except Unclear as unclear:
        return Result(Delivery.UNKNOWN, str(unclear))
    except Rejected as rejected:
        return Result(Delivery.DEAD, str(rejected))
    if standing is Standing.NOT_RECEIVED:
        return Result(Delivery.UNKNOWN, "answer_contradicts_itself")
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
        if row.delivery == Delivery.DONE:
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
