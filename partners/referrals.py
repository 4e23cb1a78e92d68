"""Referrals: the hand-over of one person to the one lender they picked, step by step, each step a fact."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from compliance import ids
from compliance.act import Act, View
from compliance.canonical import Json
from compliance.refusals import Fault, Refusal, Unacceptable
from compliance.vocabulary import GrantId, PartnerId, UserId
from consent import deletion, people
from consent.permits import Permit
from partners.tables import ReferralRow, ReferralStepRow


class State(StrEnum):
    """How far a referral is."""

    CREATED = "created"
    DELIVERED = "delivered"
    ACKNOWLEDGED = "acknowledged"
    IN_REVIEW = "in_review"
    ACTION_REQUIRED = "action_required"
    APPROVED = "approved"
    COUNTERED = "countered"
    DECLINED = "declined"
    ACCEPTED = "accepted"
    DISBURSED = "disbursed"
    REPAYING = "repaying"
    OVERDUE = "overdue"
    CURED = "cured"
    CLOSED = "closed"
    RESTRUCTURED = "restructured"
    WRITTEN_OFF = "written_off"
    RECOVERED = "recovered"
    WITHDRAWN = "withdrawn"
    CANCELLED_COOLING_OFF = "cancelled_cooling_off"
    TIMED_OUT = "timed_out"


class Delivery(StrEnum):
    """How far the message to the lender is; `unknown` is never sent again before it is asked for."""

    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    DONE = "done"
    DEAD = "dead"
    STOPPED = "stopped"


_DROPPED = frozenset({State.WITHDRAWN, State.TIMED_OUT})
_REPAID_OR_NOT = frozenset({State.CLOSED, State.RESTRUCTURED, State.WRITTEN_OFF})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.CREATED: _DROPPED | {State.DELIVERED},
    State.DELIVERED: _DROPPED | {State.ACKNOWLEDGED},
    State.ACKNOWLEDGED: _DROPPED | {State.IN_REVIEW},
    State.IN_REVIEW: _DROPPED | {State.APPROVED, State.DECLINED, State.ACTION_REQUIRED, State.COUNTERED},
    State.ACTION_REQUIRED: _DROPPED | {State.IN_REVIEW},
    State.APPROVED: _DROPPED | {State.ACCEPTED},
    State.COUNTERED: _DROPPED | {State.ACCEPTED},
    # From here on a contract stands between the person and the lender; withdrawing consent does not undo it.
    State.ACCEPTED: frozenset({State.DISBURSED, State.CANCELLED_COOLING_OFF}),
    State.DISBURSED: frozenset({State.REPAYING, State.CANCELLED_COOLING_OFF}),
    State.REPAYING: _REPAID_OR_NOT | {State.OVERDUE},
    State.OVERDUE: _REPAID_OR_NOT | {State.CURED},
    State.CURED: _REPAID_OR_NOT | {State.OVERDUE},
    State.WRITTEN_OFF: frozenset({State.RECOVERED}),
    **dict.fromkeys(
        (
            State.DECLINED,
            State.CLOSED,
            State.RESTRUCTURED,
            State.RECOVERED,
            State.WITHDRAWN,
            State.CANCELLED_COOLING_OFF,
            State.TIMED_OUT,
        ),
        frozenset(),
    ),
}
"""The published table: from each state, the states that may follow."""

NOT_REPORTED = frozenset({State.CREATED, State.DELIVERED})
"""What a lender cannot report: our own delivery sets it."""


class StepForbidden(Refusal):
    """The table has no such step."""

    status, code, title = 409, "step_forbidden", "The state of this referral does not allow this step"


@dataclass(frozen=True, slots=True)
class Listed:
    """A referral on its lender's list; where the consent has ended, only its id and state may be shown."""

    row: ReferralRow
    shown: bool


async def queue(
    act: Act, permit: Permit, application: UUID, offer: UUID, wish: dict[str, Json]
) -> ReferralRow:
    """Queue the message to the picked lender, who may know from now on. Records `referral_queued` in its log."""
    referral = ids.ordered_id()
    row = await ReferralRow.create(
        id=referral,
        application=application,
        offer=offer,
        user_id=permit.user,
        partner=permit.recipient,
        pseudonym=await people.pseudonym(act, permit.user, permit.recipient),
        grant_id=permit.grant,
        wish=wish,
        state=State.CREATED,
        delivery=Delivery.QUEUED,
        next_try_at=act.now,
        made_at=act.now,
        changed_at=act.now,
        using_db=act.db,
    )
    await _keep_step(act, row)
    told: dict[str, Json] = {"referral": ids.public("ref", referral), "permit": permit.digest, **wish}
    _record(act, row, "referral_queued", told)
    return row


async def advance(act: Act, row: ReferralRow, state: State, reason: str | None = None) -> None:
    """Take one step of the table with a locked row. Records `referral_<state>`; raises `StepForbidden`."""
    allowed = TRANSITIONS[State(row.state)]
    if state not in allowed:
        following = ", ".join(sorted(allowed)) or "nothing"
        raise StepForbidden(f"after {row.state} comes {following}")
    row.state, row.reason, row.changed_at = state, reason, act.now
    await row.save(using_db=act.db, update_fields=["state", "reason", "delivery", "changed_at"])
    await _keep_step(act, row)
    _record(act, row, f"referral_{state}", {"referral": ids.public("ref", row.id), "reason": reason})


async def report(act: Act, referral: UUID, state: State, reason: str | None = None) -> ReferralRow:
    """The lender says how far it is; the same state again is fine. A decline needs a reason code.

    A report about a referral whose delivery was unclear proves that it arrived. Raises `StepForbidden`.
    """
    row = await locked(act, referral)
    act.concern(UserId(row.user_id), GrantId(row.grant_id))
    if state in NOT_REPORTED:
        fault = Fault("/state", "not_reported", "this state is set by our own delivery")
        raise Unacceptable("report what happened at your side", fault)
    if state is State.DECLINED and not reason:
        raise Unacceptable("a decline needs a reason", Fault("/reason", "missing", "give a reason code"))
    if state == row.state:
        _record(act, row, "referral_reported_again", {"referral": ids.public("ref", row.id), "state": state})
        return row
    if row.state == State.CREATED and row.delivery in (Delivery.SENDING, Delivery.UNKNOWN, Delivery.DEAD):
        row.delivery = Delivery.DONE
        await advance(act, row, State.DELIVERED)
    await advance(act, row, state, reason)
    return row


async def list_mine(act: Act, before: UUID | None, limit: int) -> list[Listed]:
    """The calling lender's referrals, newest first, those older than `before`; at most `limit`.

    A disclosure: the grants are locked while they are looked at. Records `referral_shown` for each person, and
    `referrals_listed`.
    """
    found = await act.db.execute_query_dict(
        """select r.id, g.state = 'active' and g.expires_at > $1 as live
           from partners_referral r join consent_grant g on g.id = r.grant_id
           where $2::uuid is null or r.id < $2 order by r.id desc limit $3 for share of g""",
        [act.now, before, limit],
    )
    live = {r["id"]: r["live"] for r in found}
    rows = await ReferralRow.filter(id__in=list(live)).using_db(act.db).order_by("-id")
    for row in rows:
        if live[row.id]:
            _record(act, row, "referral_shown", {"referral": ids.public("ref", row.id)})
    act.record("referrals_listed", {"count": len(rows)})
    return [Listed(row, live[row.id]) for row in rows]


async def of_application(at: Act | View, application: UUID) -> ReferralRow | None:
    """The referral that an application led to, if the person has picked."""
    return await ReferralRow.filter(application=application).using_db(at.db).first()


async def locked(act: Act, referral: UUID) -> ReferralRow:
    """One referral that the caller may see, locked until the act ends; or 404."""
    row = await ReferralRow.filter(id=referral).using_db(act.db).select_for_update().first()
    if row is None:
        raise await deletion.missing(act, referral)
    return row


async def _keep_step(act: Act, row: ReferralRow) -> None:
    await ReferralStepRow.create(
        referral=row.id,
        partner=row.partner,
        user_id=row.user_id,
        state=row.state,
        reason=row.reason,
        at=act.now,
        using_db=act.db,
    )


def _record(act: Act, row: ReferralRow, kind: str, what: dict[str, Json]) -> None:
    """A fact about a referral stands in its lender's log and in its person's."""
    act.record(
        kind,
        what,
        person=UserId(row.user_id),
        grant=GrantId(row.grant_id),
        partner=PartnerId(row.partner),
    )
