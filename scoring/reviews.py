"""Human review: a person asks that somebody looks at a score, who confirms it or sets it aside, with reasons."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from compliance import facts, ids
from compliance.act import Act, Upkeep, View
from compliance.canonical import Json
from compliance.refusals import NotFound, Refusal
from compliance.vocabulary import PartnerId, UserId
from consent import clocks, people, statements
from consent.permits import OwnPermit, StaffPermit
from scoring import scores, showing
from scoring.tables import ReviewRow, ScoreRow

ANSWER_WITHIN = timedelta(days=15)
"""Our own promise: PIPL Art 24 and 50 give the right and no number of days."""
LIST_MAX = 100


class State(StrEnum):
    """Where a review stands; whatever is not open stays as it is."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    SET_ASIDE = "set_aside"


class ReviewExists(Refusal):
    """Nobody reviews twice."""

    status, code, title = 409, "review_exists", "A person looks, or has looked, at this score"


class ReviewSettled(Refusal):
    """It was answered before."""

    status, code, title = 409, "review_settled", "This review is closed"


@dataclass(frozen=True, slots=True)
class Read:
    """A review with what was written: by the person if they cared to, and by the reviewer once they answered."""

    row: ReviewRow
    text: str | None
    answer: str | None


async def ask(act: Act, own: OwnPermit, score: UUID, text: str | None) -> ReviewRow:
    """The person asks that somebody looks at one of their scores. Records `review_requested`.

    Refused (`ReviewExists`) where somebody looks or has looked, and (`ScoreSetAside`) where it no longer counts.
    """
    plain = statements.checked(text) if text else None
    row = await ScoreRow.filter(id=score, user_id=own.user).using_db(act.db).first()
    if row is None:
        raise NotFound
    if await ReviewRow.filter(score=score).using_db(act.db).exists():
        raise ReviewExists("see it among your reviews")
    showing.refuse_set_aside(row)
    review = ids.ordered_id()
    made = await ReviewRow.create(
        id=review,
        score=score,
        user_id=own.user,
        recipient=row.partner,
        text_sealed=await statements.seal(own.user, plain, "review", review) if plain else None,
        state=State.OPEN,
        asked_at=act.now,
        due_at=act.now + ANSWER_WITHIN,
        using_db=act.db,
    )
    more = {"text_sha256": statements.digest(plain)} if plain else {}
    _record(act, "review_requested", made, due=made.due_at.isoformat(), **more)
    return made


async def mine(at: Act | View, user: UserId) -> list[ReviewRow]:
    """A person's own reviews, newest first, without what was written."""
    return await ReviewRow.filter(user_id=user).using_db(at.db).order_by("-id").limit(LIST_MAX)


async def read_own(act: Act, own: OwnPermit, review: UUID) -> Read:
    """One of the person's own reviews with both texts. Records `own_review_read`."""
    row = await _found(act, review)
    if row.user_id != own.user:
        raise NotFound
    _record(act, "own_review_read", row)
    return await _read(row)


async def queue(act: Act) -> list[ReviewRow]:
    """What waits for a reviewer, the next due first. Records `reviews_listed`."""
    rows = await ReviewRow.filter(state=State.OPEN).using_db(act.db).order_by("due_at").limit(LIST_MAX)
    act.record("reviews_listed", {"count": len(rows)})
    return rows


async def whose(act: Act, review: UUID) -> UserId:
    """Whom a review is about, so that the look of staff can be recorded for them."""
    return UserId((await _found(act, review)).user_id)


async def read_as_staff(act: Act, looks: StaffPermit, review: UUID) -> tuple[Read, ScoreRow]:
    """The reviewer reads the request and the score, for the reason that the permit has recorded. Records `review_read`."""
    row = await _found(act, review)
    _record(act, "review_read", row, reason=looks.reason)
    return await _read(row), await ScoreRow.get(id=row.score, using_db=act.db)


async def answer(act: Act, looks: StaffPermit, review: UUID, *, confirmed: bool, text: str) -> ReviewRow:
    """The reviewer answers, once, with reasons. Records `review_confirmed`, or `review_set_aside` and `score_set_aside`.

    A score that is set aside is never shown to anybody but its person again; a new one may be asked for.
    """
    plain = statements.checked(text, length_min=statements.ANSWER_LENGTH_MIN)
    await people.hold(act, await whose(act, review))
    row = await ReviewRow.filter(id=review).using_db(act.db).select_for_update().first()
    if row is None:
        raise NotFound
    await act.tick()
    if row.state != State.OPEN:
        raise ReviewSettled("it was answered before")
    row.state = State.CONFIRMED if confirmed else State.SET_ASIDE
    row.closed_at, row.answered_by = act.now, facts.describe(looks.staff)
    row.answer_sealed = await statements.seal(UserId(row.user_id), plain, "answer", review)
    await row.save(using_db=act.db)
    kind = "review_confirmed" if confirmed else "review_set_aside"
    _record(act, kind, row, answer_sha256=statements.digest(plain))
    if not confirmed:
        await scores.set_aside(act, row.score)
    return row


async def any_overdue(upkeep: Upkeep) -> bool:
    """Whether there is anything for `note_overdue` to do; the upkeep is a worker's."""
    return await clocks.any_late(upkeep, ReviewRow)


async def note_overdue(act: Act, limit: int) -> int:
    """Record which reviews are late, each once; returns how many. Records `review_overdue` for each."""
    rows = await clocks.note_late(act, ReviewRow, limit)
    for row in rows:
        _record(act, "review_overdue", row, due=row.due_at.isoformat())
    act.record("overdue_reviews_noted", {"count": len(rows)})
    return len(rows)


async def _read(row: ReviewRow) -> Read:
    user = UserId(row.user_id)
    text = await statements.read(user, row.text_sealed, "review", row.id)
    return Read(row, text, await statements.read(user, row.answer_sealed, "answer", row.id))


async def _found(act: Act, review: UUID) -> ReviewRow:
    row = await ReviewRow.filter(id=review).using_db(act.db).first()
    if row is None:
        raise NotFound
    return row


def _record(act: Act, kind: str, row: ReviewRow, **more: str) -> None:
    told: dict[str, Json] = {
        "review": ids.public("rvw", row.id),
        "score": ids.public("scr", row.score),
        **more,
    }
    act.record(kind, told, person=UserId(row.user_id), partner=PartnerId(row.recipient))
