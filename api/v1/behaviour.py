"""/v1/operator/behaviour: the operator's own software brings what people did; each event is kept once, or set aside."""

from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.params import JSONBody

from api.access import AnyRequest, answered, client, request_act
from api.oauth.scopes import Scope
from api.problems import Error
from compliance import ids
from compliance.refusals import Fault, Unacceptable
from scoring.runs import holding as runs  # noqa: F401 - declares the same for population runs
from scoring.store import (
    holding,  # noqa: F401 - declares that a person's copy and deletion reach the files
    incoming,
    intake,
)

SET_ASIDE = "this event was not kept; correct the field, then send the event again in another batch"


class BehaviourBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1,000 events, in any order.

    Each has `user` (the operator's own reference of the person), `at` (RFC 3339, with its zone), `category` and `name`,
    and may have `value` (a number), `count` (a whole number, 1 if absent) and `attributes` (an object of at most 4,096
    bytes). Two events that say the same are one.
    """

    events: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=intake.EVENTS_MAX)]


class BehaviourReceipt(msgspec.Struct, frozen=True):
    """What became of the batch. What is accepted is on the disk; `late` events are among them.

    `quarantined` events were set aside, each with the pointer to its first wrong field; all others were taken.
    """

    id: str
    accepted: int
    duplicate: int
    late: int
    quarantined: int
    errors: list[Error]


@post(
    "/v1/operator/behaviour",
    opt=client(Scope.BEHAVIOUR, once=True),
    status_code=200,
    summary="Bring behaviour events",
)
async def receive_behaviour(request: AnyRequest, data: JSONBody[BehaviourBatch]) -> Response[bytes]:
    """For the operator's own software. An event that was brought before is counted as a duplicate and not kept again."""
    async with request_act(request) as act:
        _refuse_unknown_fields(data.events)
        received = await intake.receive(act, incoming.raw(data.events))
        return answered(act, _receipt(received), 200)


def _refuse_unknown_fields(events: list[dict[str, Any]]) -> None:
    faults = [
        Fault(f"/events/{number}/{name[:200]}", "unknown_field", "leave this field out")
        for number, event in enumerate(events)
        for name in event
        if name not in incoming.FIELDS
    ]
    if faults:
        raise Unacceptable("an event has a field that no event has", *faults)


def _receipt(received: intake.Received) -> BehaviourReceipt:
    return BehaviourReceipt(
        id=ids.public("bhv", received.batch),
        accepted=received.accepted,
        duplicate=received.duplicate,
        late=received.late,
        quarantined=len(received.quarantined),
        errors=[
            Error(f"/events/{fault.line}/{fault.column}", fault.reason, SET_ASIDE)
            for fault in received.quarantined
        ],
    )


routes = [receive_behaviour]
