"""What each recipient did after a consent ended: told, confirmed, deleted or kept by law, each step with its time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from compliance.act import Act, Upkeep, View
from compliance.canonical import Json
from compliance.refusals import Fault, NotFound, Refusal, Unacceptable
from compliance.vocabulary import OPERATOR, GrantId, PartnerId, UserId
from consent import permits
from consent.endings import Ended, on_grant_ended
from consent.permits import BUSINESS_ZONE

ACKNOWLEDGE_WITHIN = timedelta(hours=24)
SETTLE_WITHIN = timedelta(days=15)
"""From the end of the consent; a decision of this project, published to people and partners."""
RETAINED_YEARS_MAX = 30
BASIS_LENGTH_MIN, BASIS_LENGTH_MAX = 5, 200
PAGE_MAX = 500

ASK = """
insert into consent_effect (grant_id, recipient, user_id, state, requested_at, delivered_at, acknowledge_by, settle_by)
select g.id, party, g.user_id, case when party = $3 then 'delivered' else 'requested' end,
       $2, case when party = $3 then $2::timestamptz end, $4, $5
from consent_grant g, unnest(array[g.recipient, g.bureau]) as party
where g.id = $1 and g.state = 'ended' and party is not null and party <> $6
"""
SELECT = """
select e.*, e.transaction::text as position, g.purpose, g.ended_code, g.ended_at, p.id as known_as
from consent_effect e join consent_grant g on g.id = e.grant_id
left join consent_pseudonym p on p.user_id = e.user_id and p.partner = e.recipient
"""
FEED = f"""{SELECT}
where e.recipient = $1 and e.transaction < pg_snapshot_xmin(pg_current_snapshot())
  and (e.transaction, e.seq) > ($2::text::xid8, $3)
order by e.transaction, e.seq limit $4
"""
TELL = """
with told as (
    select grant_id, recipient from consent_effect
    where recipient = $1 and grant_id = any($2::uuid[]) and state = 'requested' order by grant_id for update
)
update consent_effect e set state = 'delivered', delivered_at = clock_timestamp()
from told where (e.grant_id, e.recipient) = (told.grant_id, told.recipient)
returning e.grant_id, e.delivered_at
"""
OWN = f"{SELECT} where e.grant_id = $1 and e.recipient = $2 for update of e"
MINE = f"{SELECT} where e.user_id = $1 order by e.requested_at desc, e.recipient limit $2"
OF_GRANT = f"{SELECT} where e.grant_id = $1 order by e.recipient"
LATE = f"""{SELECT}
where e.settled_at is null and coalesce(case when e.acknowledged_at is null then e.acknowledge_by end, e.settle_by) <= $1
order by coalesce(case when e.acknowledged_at is null then e.acknowledge_by end, e.settle_by) limit $2
"""
MISSED = """
select grant_id, recipient, user_id, acknowledge_by, acknowledged_at, settle_by, settled_at, escalated_at
from consent_effect
where settled_at is null and (
    (acknowledge_by <= $1 and acknowledged_at is null and (escalated_at is null or escalated_at < acknowledge_by))
    or (settle_by <= $1 and (escalated_at is null or escalated_at < settle_by)))
order by acknowledge_by limit $2
"""
MISSED_LOCKED = f"{MISSED} for update skip locked"


class State(StrEnum):
    """How far a recipient is with what the end of a consent demands of it."""

    REQUESTED = "requested"
    DELIVERED = "delivered"
    ACKNOWLEDGED = "acknowledged"
    PURGED = "purged"
    RETAINED_BY_LAW = "retained_by_law"


class Step(StrEnum):
    """What a recipient does: reads that it ended (`deliver`), confirms, attests that it deleted, or must keep."""

    DELIVER = "deliver"
    ACKNOWLEDGE = "acknowledge"
    PURGE = "purge"
    RETAIN = "retain"


UNSETTLED = (State.REQUESTED, State.DELIVERED, State.ACKNOWLEDGED)
TRANSITIONS: Mapping[tuple[State, Step], State] = {
    (State.REQUESTED, Step.DELIVER): State.DELIVERED,
    (State.REQUESTED, Step.ACKNOWLEDGE): State.ACKNOWLEDGED,
    (State.DELIVERED, Step.ACKNOWLEDGE): State.ACKNOWLEDGED,
    **{(state, Step.PURGE): State.PURGED for state in (*UNSETTLED, State.RETAINED_BY_LAW)},
    **{(state, Step.RETAIN): State.RETAINED_BY_LAW for state in UNSETTLED},
}
"""Which step leads from which state to which; there is no other table of it but the database's own."""


class WithdrawalSettled(Refusal):
    """What was attested stands; only what was kept can still be deleted."""

    status, code, title = 409, "withdrawal_settled", "This withdrawal was settled otherwise before"


@dataclass(frozen=True, slots=True)
class Retention:
    """Why a recipient must keep what it got, and until when."""

    basis: str
    until: date


@dataclass(frozen=True, slots=True)
class Effect:
    """What one recipient did about one ended grant; `position` is its place in the recipient's feed."""

    grant: GrantId
    user: UserId
    recipient: PartnerId
    known_as: UUID | None
    purpose: str
    ended_code: str
    ended_at: datetime
    state: State
    requested_at: datetime
    acknowledge_by: datetime
    settle_by: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    settled_at: datetime | None
    retention: Retention | None
    attestation: str | None
    position: tuple[str, str]

    @property
    def due(self) -> datetime | None:
        """The next deadline; none when all is done."""
        if self.settled_at:
            return None
        return self.settle_by if self.acknowledged_at else self.acknowledge_by

    def overdue(self, now: datetime) -> bool:
        """Whether the next deadline has passed."""
        return self.due is not None and self.due <= now


@on_grant_ended("consent_effect")
async def ask_recipients(act: Act, ended: Ended) -> None:
    """Ask each recipient of the grant, in the act that ends it; one that ended it itself has been told by that.

    An objection to lists takes back what rests on a grant that lives on: then nobody has anything to prove.
    """
    times = (act.now, act.tenant, act.now + ACKNOWLEDGE_WITHIN, act.now + SETTLE_WITHIN)
    await act.db.execute_query(ASK, [ended.grant, *times, OPERATOR])


async def feed(act: Act, *, after: tuple[str, str] | None, limit: int) -> list[Effect]:
    """The calling partner's ended consents in the order of their ends; what it reads first counts as delivered.

    `after` is the position of the last one read: an end that commits late is never skipped. Records
    `withdrawal_delivered` for each that is new, and `withdrawals_read` once.
    """
    permits.refuse_token_for_other(act.principal, None)
    transaction, number = after or ("0", "0")
    rows = await act.db.execute_query_dict(FEED, [act.tenant, transaction, int(number), min(limit, PAGE_MAX)])
    told = await act.db.execute_query_dict(TELL, [act.tenant, [row["grant_id"] for row in rows]])
    await act.tick()
    delivered = {row["grant_id"]: row["delivered_at"] for row in told}
    for row in rows:
        if row["grant_id"] in delivered:
            row |= {"state": State.DELIVERED, "delivered_at": delivered[row["grant_id"]]}
            act.record(
                "withdrawal_delivered", {}, person=UserId(row["user_id"]), grant=GrantId(row["grant_id"])
            )
    act.record("withdrawals_read", {"count": len(rows), "delivered": len(delivered)})
    return [_effect(row) for row in rows]


async def acknowledge(act: Act, grant: GrantId) -> Effect:
    """The recipient confirms that it stopped. Twice is fine. Records `withdrawal_acknowledged`."""
    found = await held(act, grant)
    if found.acknowledged_at:
        act.record("withdrawal_acknowledged_again", {}, person=found.user, grant=grant)
        return found
    await _step(act, found, Step.ACKNOWLEDGE)
    act.record("withdrawal_acknowledged", {}, person=found.user, grant=grant)
    return await held(act, grant)


async def attest(act: Act, grant: GrantId, retention: Retention | None, attestation: str) -> Effect:
    """The recipient attests that it deleted what it got (no `retention`), or which law makes it keep that.

    It confirms by this too. The same again is fine, and what was kept can be deleted later; anything else is refused
    (`WithdrawalSettled`). `attestation` is the signed statement, which the caller has verified. Records
    `withdrawal_attested` with it.
    """
    found = await held(act, grant)
    if retention:
        _refuse_unfit(retention, act.now)
    step = Step.RETAIN if retention else Step.PURGE
    reached = State.RETAINED_BY_LAW if retention else State.PURGED
    told: dict[str, Json] = {"outcome": reached, "attestation": attestation}
    if retention:
        told |= {"basis": retention.basis, "until": retention.until.isoformat()}
    if found.state is reached and found.retention == retention:
        act.record("withdrawal_attested_again", told, person=found.user, grant=grant)
        return found
    await _step(act, found, step, retention, attestation)
    act.record("withdrawal_attested", told, person=found.user, grant=grant)
    return await held(act, grant)


def _refuse_unfit(retention: Retention, now: datetime) -> None:
    faults, today = [], now.astimezone(BUSINESS_ZONE).date()
    if not BASIS_LENGTH_MIN <= len(retention.basis.strip()) <= BASIS_LENGTH_MAX:
        bounds = f"name the law in {BASIS_LENGTH_MIN} to {BASIS_LENGTH_MAX} characters"
        faults.append(Fault("/basis", "out_of_range", bounds))
    if not today < retention.until <= today + timedelta(days=366 * RETAINED_YEARS_MAX):
        faults.append(Fault("/until", "out_of_range", f"a later day, within {RETAINED_YEARS_MAX} years"))
    if faults:
        raise Unacceptable("say under which law it is kept, and until which day", *faults)


async def held(act: Act, grant: GrantId) -> Effect:
    """What the calling partner did about one of its own ended grants, locked until the act ends; or 404."""
    permits.refuse_token_for_other(act.principal, grant)
    rows = await act.db.execute_query_dict(OWN, [grant, act.tenant])
    if not rows:
        raise NotFound
    found = _effect(rows[0])
    await act.tick()
    # Not the grant: it has ended, and a repeated call is answered again all the same.
    act.concern(found.user, None)
    return found


async def _step(
    act: Act,
    found: Effect,
    step: Step,
    retention: Retention | None = None,
    attestation: str | None = None,
) -> None:
    reached = TRANSITIONS.get((found.state, step))
    if reached is None:
        raise WithdrawalSettled(f"it is {found.state}, which stands")
    await act.db.execute_query(
        """update consent_effect set state = $3, delivered_at = coalesce(delivered_at, $4),
               acknowledged_at = coalesce(acknowledged_at, $4), settled_at = case when $5::text is null then null else $4 end,
               attestation = $5, basis = $6, retained_until = $7
           where grant_id = $1 and recipient = $2""",
        [
            found.grant,
            found.recipient,
            reached,
            act.now,
            attestation,
            retention and retention.basis,
            retention and retention.until,
        ],
    )


async def mine(at: Act | View, user: UserId) -> list[Effect]:
    """What recipients did about a person's ended grants, newest first."""
    return [_effect(row) for row in await at.db.execute_query_dict(MINE, [user, PAGE_MAX])]


async def unsettled(at: Act | View, user: UserId) -> list[Effect]:
    """What recipients still have to do about a person's ended grants, newest first."""
    return [effect for effect in await mine(at, user) if effect.due]


async def of_grant(at: Act | View, grant: GrantId) -> list[Effect]:
    """What each recipient did about one ended grant that the caller may see."""
    return [_effect(row) for row in await at.db.execute_query_dict(OF_GRANT, [grant])]


async def of_deletion(view: View, deletion: UUID) -> list[Effect]:
    """What each recipient did after a deletion, for whoever holds its unguessable id."""
    rows = await view.db.execute_query_dict(
        "select * from consent_deletion_effects($1, $2)", [deletion, PAGE_MAX]
    )
    return [_effect(row) for row in rows]


async def any_overdue(upkeep: Upkeep) -> bool:
    """Whether there is anything for `escalate_overdue` to do; the upkeep is a worker's."""
    return bool(await upkeep.db.execute_query_dict(MISSED, [upkeep.now, 1]))


async def late(act: Act) -> list[Effect]:
    """What recipients are late with, the longest first, for staff. Records `late_withdrawals_listed`."""
    rows = await act.db.execute_query_dict(LATE, [act.now, PAGE_MAX])
    act.record("late_withdrawals_listed", {"count": len(rows)})
    return [_effect(row) for row in rows]


async def escalate_overdue(act: Act, limit: int) -> int:
    """Record the deadlines that recipients missed, each once; returns how many. Records `withdrawal_overdue` for each.

    A recipient is late by the clock; this is the job that tells staff and the person's log.
    """
    rows = await act.db.execute_query_dict(MISSED_LOCKED, [act.now, limit])
    for row in rows:
        await act.db.execute_query(
            "update consent_effect set escalated_at = $3 where grant_id = $1 and recipient = $2",
            [row["grant_id"], row["recipient"], act.now],
        )
    missed = [(row, *deadline) for row in rows for deadline in _missed(row, act.now)]
    for row, deadline, due in missed:
        what: dict[str, Json] = {"deadline": deadline, "due": due.isoformat()}
        grant, recipient = GrantId(row["grant_id"]), PartnerId(row["recipient"])
        act.record("withdrawal_overdue", what, person=UserId(row["user_id"]), grant=grant, partner=recipient)
    act.record("overdue_withdrawals_noted", {"count": len(missed)})
    return len(missed)


def _missed(row: Mapping[str, Any], now: datetime) -> list[tuple[str, datetime]]:
    """The deadlines that have passed since this was last recorded."""
    before = row["escalated_at"]
    deadlines = [("settle", row["settle_by"])]
    if row["acknowledged_at"] is None:
        deadlines.insert(0, ("acknowledge", row["acknowledge_by"]))
    return [(name, due) for name, due in deadlines if due <= now and (before is None or before < due)]


def _effect(row: Mapping[str, Any]) -> Effect:
    until = row["retained_until"]
    return Effect(
        grant=GrantId(row["grant_id"]),
        user=UserId(row["user_id"]),
        recipient=PartnerId(row["recipient"]),
        known_as=row["known_as"],
        purpose=row["purpose"],
        ended_code=row["ended_code"],
        ended_at=row["ended_at"],
        state=State(row["state"]),
        requested_at=row["requested_at"],
        acknowledge_by=row["acknowledge_by"],
        settle_by=row["settle_by"],
        delivered_at=row["delivered_at"],
        acknowledged_at=row["acknowledged_at"],
        settled_at=row["settled_at"],
        retention=Retention(row["basis"], until) if until else None,
        attestation=row["attestation"],
        position=(row["position"], str(row["seq"])),
    )
