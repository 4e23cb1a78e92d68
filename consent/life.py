"""The life of a grant as published: which step leads from which state to which. There is no other table of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from compliance.refusals import Refusal
from consent.tables import GrantRow

ASK_LAPSES_AFTER = timedelta(minutes=60)


class State(StrEnum):
    """Where a grant stands."""

    REQUESTED = "requested"
    ACTIVE = "active"
    PAUSED = "paused"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    ENDED = "ended"


class Step(StrEnum):
    """What can happen to a grant: by its person, by its recipient (`relinquish`), or by time (`lapse`, `expire`)."""

    APPROVE = "approve"
    REJECT = "reject"
    LAPSE = "lapse"
    PAUSE = "pause"
    RESUME = "resume"
    EXTEND = "extend"
    WITHDRAW = "withdraw"
    RELINQUISH = "relinquish"
    EXPIRE = "expire"
    SUPERSEDE = "supersede"


ENDINGS: Mapping[Step, tuple[str, str]] = {
    Step.WITHDRAW: ("person", "withdrawn"),
    Step.RELINQUISH: ("partner", "relinquished"),
    Step.EXPIRE: ("period", "expired"),
    Step.SUPERSEDE: ("person", "superseded"),
}
"""Who a step ends a grant by, and the code that readers are told with `ended`."""
LIVE = (State.ACTIVE, State.PAUSED)
TRANSITIONS: Mapping[tuple[State, Step], State] = {
    (State.REQUESTED, Step.APPROVE): State.ACTIVE,
    (State.REQUESTED, Step.REJECT): State.REJECTED,
    (State.REQUESTED, Step.LAPSE): State.LAPSED,
    (State.ACTIVE, Step.PAUSE): State.PAUSED,
    (State.PAUSED, Step.RESUME): State.ACTIVE,
    **{(state, Step.EXTEND): state for state in LIVE},
    **{(state, step): State.ENDED for state in LIVE for step in ENDINGS},
}


class GrantNotOpen(Refusal):
    """The state of the grant forbids this step."""

    status, code, title = 409, "grant_not_open", "The state of this consent does not allow this step"


def after(row: GrantRow, step: Step, now: datetime) -> State:
    """The state that a step leads to; refuses (`GrantNotOpen`) what the table does not have.

    A grant whose time is over has ended, whatever is stored: then only its end can still be noted.
    """
    state, _ = state_now(row, now)
    reached = TRANSITIONS.get((State(row.state if step is Step.EXPIRE else state), step))
    if reached is None:
        raise GrantNotOpen(
            f"a consent that is {state} cannot {step.replace('_', ' ')}: see its present state"
        )
    return reached


def state_now(row: GrantRow, now: datetime) -> tuple[State, str | None]:
    """The state as it is now, and the code of its end: expiry and lapse take effect by the clock."""
    if row.state in LIVE and row.expires_at and row.expires_at <= now:
        return State.ENDED, "expired"
    if row.state == State.REQUESTED and row.requested_at + ASK_LAPSES_AFTER < now:
        return State.LAPSED, None
    return State(row.state), row.ended_code
