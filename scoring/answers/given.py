"""Answers beside the score as they were given: kept with what they rest on, recorded, shown again while they may be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from compliance import facts, ids
from compliance.act import Act
from compliance.canonical import Json, digest
from compliance.keys import Sealer
from compliance.replies import Stored, check_on_replay
from compliance.vocabulary import Category, Purpose
from consent import copies, deletion, endings, permits
from consent.permits import OwnPermit, Permit
from scoring import release, scores, showing
from scoring.population import Held
from scoring.registry import InUse
from scoring.release import Released
from scoring.scorer import pack, unpack
from scoring.tables import AnswerRow

VALID_FOR = timedelta(days=30)
LIST_MAX = 50
INCOME: Final = "income"
"""A kind of answer; under this name a limit tells which one it is made of."""
PURPOSES: Mapping[str, Purpose] = {
    INCOME: Purpose.INCOME_ESTIMATE,
    "limit": Purpose.CREDIT_ASSESSMENT,
    "portrait": Purpose.PORTRAIT,
}
"""What a person agreed to, by the kind of answer."""
endings.keep(
    "scoring_answer",
    "evidence of what was disclosed; it cannot be shown or repeated once the grant has ended",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and what its recipient must be told beside it, as it is now."""

    row: AnswerRow
    disputed: bool
    """The person disputes data that it rests on (征信业管理条例 Art 25)."""
    automation_objected: bool
    """A person at the recipient must decide (PIPL Art 24)."""


@dataclass(frozen=True, slots=True)
class Worked:
    """An answer as it was worked out, with what it rests on; only of categories that the permit names."""

    told: Mapping[str, Json]
    held: Held
    events: tuple[int, ...]
    active_days: tuple[int, ...]
    used: tuple[Category, ...]
    not_used: tuple[Category, ...]
    until: datetime | None = None
    """When what it is made of counts no more, where that is an answer too."""


async def keep(
    act: Act, permitted: Permit, model: InUse, released: Released[Worked], *, kind: str, fact: str
) -> Released[Answer]:
    """Keep what was released and record it as a fact of this kind, with all that it rests on."""
    worked, answer = released.value, ids.ordered_id()
    recorded = act.record(
        fact,
        {
            "answer": ids.public("ans", answer),
            "told": worked.told,
            "model": model.digest,
            "vector": digest(pack(worked.held.values).hex()),
            "snapshot": worked.held.snapshot,
            "permit": permitted.digest,
            "channel": released.channel,
            "used": list(worked.used),
            **({"automated_decision": "objected"} if permitted.automation_objected else {}),
        },
        person=permitted.user,
        grant=permitted.grant,
    )
    row = await AnswerRow.create(
        id=answer,
        kind=kind,
        user_id=permitted.user,
        partner=permitted.recipient,
        relay=permitted.bureau,
        grant_id=permitted.grant,
        model=model.id,
        told=dict(worked.told),
        used=list(worked.used),
        not_used=list(worked.not_used),
        channel=released.channel,
        vector=pack(worked.held.values),
        events=list(worked.events),
        active_days=list(worked.active_days),
        snapshot=worked.held.snapshot,
        permit_digest=permitted.digest,
        code_version=scores.CODE_VERSION,
        fact=recorded.id,
        fact_promise=facts.promise(recorded),
        issued_at=act.now,
        valid_until=min(act.now + VALID_FOR, permitted.expires_at, worked.until or permitted.expires_at),
        using_db=act.db,
    )
    return released.as_kept(_answer(row, permitted))


def _answer(row: AnswerRow, permitted: Permit) -> Answer:
    return Answer(row, not permitted.disputed.isdisjoint(row.used), permitted.automation_objected)


async def find(act: Act, answer: UUID, kind: str) -> AnswerRow:
    """One answer of this kind that the caller may see, or 404."""
    row = await AnswerRow.filter(id=answer, kind=kind).using_db(act.db).first()
    if row is None:
        raise await deletion.missing(act, answer)
    return row


async def show(act: Act, answer: UUID, kind: str) -> Released[Answer]:
    """Show an answer again: a disclosure like the first, so the permit and the channel must hold now."""
    row = await find(act, answer, kind)
    permitted = await permit_again(act, row)
    told_again = _answer(row, permitted)
    released = await showing.release_again(act, permitted, told_again, recorded_as="answer_shown")
    told: dict[str, Json] = {"answer": ids.public("ans", row.id), "kind": row.kind}
    act.record("answer_shown", told, person=permitted.user, grant=permitted.grant)
    return released


async def permit_again(act: Act, row: AnswerRow) -> Permit:
    """The permit that lets an earlier answer be used again; what is made of an income needs the income's too."""
    if INCOME in row.told:
        await permit_again(act, await find(act, ids.private("ans", row.told[INCOME]), INCOME))
    return await showing.permit_again(act, row, PURPOSES[row.kind])


async def refuse_outdated(act: Act, answer: UUID, *, disputed: bool, automation_objected: bool) -> None:
    """An earlier answer is given again only while all that it says beside the answer still holds."""
    row = await AnswerRow.filter(id=answer).using_db(act.db).first()
    if row is None:
        raise await deletion.missing(act, answer)
    now = _answer(row, await permit_again(act, row))
    if (now.disputed, now.automation_objected) != (disputed, automation_objected):
        raise scores.AnswerOutdated(f"see the answer as it is now (GET /v1/{row.kind}s/{{id}})")


@check_on_replay
async def still_releasable(act: Act, stored: Stored) -> None:
    """An old answer that holds an evaluation is given again only while a channel is open for it."""
    if act.purpose in (Purpose.INCOME_ESTIMATE, Purpose.PORTRAIT) and stored.grant is not None:
        await release.refuse_unless_open(act, *await permits.bureau_of(act, stored.grant))


async def mine(act: Act, own: OwnPermit) -> list[AnswerRow]:
    """The answers that somebody was given about the person, newest first. Records `own_answers_read`."""
    rows = await AnswerRow.filter(user_id=own.user).using_db(act.db).order_by("-id").limit(LIST_MAX)
    act.record("own_answers_read", {"count": len(rows)}, person=own.user)
    return rows


@copies.opens("scoring_answer")
async def _opened(_: Act, __: Sealer, row: dict[str, Any]) -> dict[str, Any]:
    values = unpack(copies.unhex(row["vector"])).tolist()
    return row | {"vector": [None if math.isnan(value) else value for value in values]}
