"""A person's own scores, as they were given to others, with the reasons in full."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from compliance import ids
from compliance.act import Act
from compliance.refusals import NotFound
from compliance.vocabulary import Categories, Category, Language, PartnerId
from consent import disputes
from consent.disputes import About, Subject
from consent.permits import OwnPermit
from scoring import companions, explanation, population, registry, reviews, scores
from scoring.answers import hints
from scoring.answers.hints import Hint
from scoring.explanation import Reason
from scoring.manifest import ModelAltered
from scoring.scorer import unpack
from scoring.tables import ModelRow, ReviewRow, ScoreRow

LIST_MAX = 50


@dataclass(frozen=True, slots=True)
class OwnScore:
    """A score and its reasons in words; `texts` are pairs of direction and text."""

    row: ScoreRow
    texts: tuple[tuple[str, str], ...]
    disputed: bool
    review: ReviewRow | None
    hints: tuple[tuple[Hint, str], ...] = ()
    """What would have raised it, with its words; worked out where one score is looked at."""


async def mine(act: Act, own: OwnPermit, language: Language) -> list[OwnScore]:
    """The person's scores, newest first. Records `own_scores_read`."""
    rows = await ScoreRow.filter(user_id=own.user).using_db(act.db).order_by("-id").limit(LIST_MAX)
    act.record("own_scores_read", {"count": len(rows)}, person=own.user)
    return await _told(act, own, rows, language)


async def one(act: Act, own: OwnPermit, score: UUID, language: Language) -> OwnScore:
    """One of the person's scores; or 404. Records `own_score_read`."""
    row = await _own(act, own, score)
    act.record("own_score_read", {"score": ids.public("scr", score)}, person=own.user)
    (told,) = await _told(act, own, [row], language)
    return replace(told, hints=await _hints(act, row, language))


async def subject(act: Act, own: OwnPermit, score: UUID) -> Subject:
    """One of the person's scores, as something to dispute; or 404."""
    row = await _own(act, own, score)
    return Subject(About.SCORE, score=score, recipient=PartnerId(row.partner))


def texts(row: ScoreRow, language: Language) -> tuple[tuple[str, str], ...]:
    """The reasons of a score in words: pairs of direction and text."""
    reasons = [
        Reason(told["code"], told["version"], Category(told["category"]), told["direction"])
        for told in row.reasons
    ]
    return tuple((reason.direction, explanation.text(reason, language)) for reason in reasons)


async def _own(act: Act, own: OwnPermit, score: UUID) -> ScoreRow:
    row = await ScoreRow.filter(id=score, user_id=own.user).using_db(act.db).first()
    if row is None:
        raise NotFound
    return row


async def _hints(act: Act, row: ScoreRow, language: Language) -> tuple[tuple[Hint, str], ...]:
    """What would have raised a score, from what it rested on; nothing without the model, or where it was set aside."""
    if row.set_aside_at:
        return ()
    stored = await ModelRow.get(id=row.model, using_db=act.db)
    try:
        model, spread = registry.scorer(stored.digest), companions.spread(stored.digest)
    except ModelAltered:  # a right does not wait for a model
        return ()
    shared: Categories = frozenset(Category(c) for c in row.used)
    evidence = population.evidence_of(model, row.events, row.active_days, shared)
    found = hints.hints(model, spread, unpack(row.vector), evidence, shared)
    return tuple((hint, hints.words(hint.code, (m.feature for m in hint.moves), language)) for hint in found)


async def _told(act: Act, own: OwnPermit, rows: Sequence[ScoreRow], language: Language) -> list[OwnScore]:
    waiting = await disputes.still_open(act, own.user)
    asked = {review.score: review for review in await reviews.mine(act, own.user)}
    return [
        OwnScore(
            row,
            texts(row, language),
            scores.is_disputed(row.used, disputes.marks(waiting, PartnerId(row.partner))),
            asked.get(row.id),
        )
        for row in rows
    ]
