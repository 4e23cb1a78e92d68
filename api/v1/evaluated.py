"""What every answer beside a score carries on the wire, and when an old one is not repeated."""

from typing import Any, Literal, TypeVar

import msgspec

from api.v1.scores import Coverage, Marks
from api.v1.wire import when
from compliance import ids
from compliance.act import Act
from compliance.replies import Stored, check_on_replay
from scoring.answers import given
from scoring.answers.given import Answer
from scoring.release import Released


class Evaluated(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An evaluation. It never says approve or decline."""

    id: str
    coverage: Coverage
    model: str
    channel: str
    grant_id: str
    issued_at: str
    valid_until: str
    fact_id: str
    fact_promise: str
    disputed: bool = False
    """The person disputes data that it rests on; staff answer within 20 days."""
    automated_decision: Literal["objected"] | None = None
    """The person objects to decisions made by automated means alone: one of your people must decide."""


V = TypeVar("V", bound=Evaluated)


def evaluated(kind: type[V], released: Released[Answer], **told: Any) -> V:
    """What leaves, of this kind: only a released evaluation can be shown."""
    answer, row = released.value, released.value.row
    return kind(
        id=ids.public("ans", row.id),
        coverage=Coverage(row.used, row.not_used),
        model=ids.public("mdl", row.model),
        channel=released.channel,
        grant_id=ids.public("gnt", row.grant_id),
        issued_at=when(row.issued_at),
        valid_until=when(row.valid_until),
        fact_id=ids.public("fct", row.fact),
        fact_promise=row.fact_promise,
        disputed=answer.disputed,
        automated_decision="objected" if answer.automation_objected else None,
        **told,
    )


@check_on_replay
async def still_told(act: Act, stored: Stored) -> None:
    """An old answer is given again only while nothing was disputed or objected to since."""
    evaluation = act.purpose in given.PURPOSES.values()
    if not evaluation or stored.reply.status != 201 or stored.grant is None:
        return
    told = msgspec.json.decode(stored.reply.body, type=Marks)
    if told.id.startswith("ans_"):
        answer, objected = ids.private("ans", told.id), told.automated_decision is not None
        await given.refuse_outdated(act, answer, disputed=told.disputed, automation_objected=objected)
