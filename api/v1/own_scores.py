"""/v1/me/scores: a person's own scores, with the reasons in full."""

from dataclasses import asdict
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from api.access import AnyRequest, person, request_act
from api.v1.scores import Coverage
from api.v1.wire import Page, when
from compliance import ids
from compliance.vocabulary import Language, PartnerId
from consent import permits, receipts
from scoring import own_scores
from scoring.answers.hints import Hint
from scoring.own_scores import OwnScore

LanguageParameter = Annotated[
    Language | None, QueryParameter(description="The language of the reasons; zh-CN where none is named.")
]


class OwnReason(msgspec.Struct, frozen=True):
    """One reason, as the public catalogue words it for you."""

    code: str
    version: int
    category: str
    direction: str
    text: str


class OwnMove(msgspec.Struct, frozen=True):
    """Where a measure is, and where it would have been."""

    feature: str
    unit: str
    value: float
    moved_to: float


class OwnHint(msgspec.Struct, frozen=True):
    """What would have raised the score: one behaviour otherwise, all else as it is. It is no promise.

    `steps` are tenths of the people that the model learned from; each of `moves` is a measure of the behaviour.
    """

    code: str
    version: int
    category: str
    points: int
    steps: int
    text: str
    moves: list[OwnMove]


class OwnScoreView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A score that somebody was given about you: an estimate, no verdict, no promise, and in no credit record."""

    id: str
    recipient: str
    points: int
    band: str
    confidence: str
    coverage: Coverage
    reasons: list[OwnReason]
    issued_at: str
    valid_until: str
    disputed: bool = False
    set_aside_at: str | None = None
    """Since when no partner may use it any more."""
    review_id: str | None = None
    hints: list[OwnHint] | None = None
    """What would have raised it; given with one score, where the model finds any."""


@get("/v1/me/scores", opt=person(), summary="My scores")
async def list_own_scores(request: AnyRequest, lang: LanguageParameter = None) -> Page[OwnScoreView]:
    """Every score that was given to somebody about you, newest first, with its reasons in words."""
    async with request_act(request) as act:
        return Page(
            [
                view(score)
                for score in await own_scores.mine(act, permits.own_permit(act), lang or Language.ZH_CN)
            ]
        )


@get("/v1/me/scores/{score_id:str}", opt=person(), summary="One of my scores")
async def show_own_score(
    request: AnyRequest, score_id: FromPath[str], lang: LanguageParameter = None
) -> OwnScoreView:
    """One score, what it rests on and why it is what it is."""
    async with request_act(request) as act:
        own = permits.own_permit(act)
        return view(await own_scores.one(act, own, ids.private("scr", score_id), lang or Language.ZH_CN))


def view(score: OwnScore) -> OwnScoreView:
    """A score as its person sees it."""
    row = score.row
    told = zip(row.reasons, score.texts, strict=True)
    return OwnScoreView(
        id=ids.public("scr", row.id),
        recipient=receipts.party(PartnerId(row.partner)),
        points=row.points,
        band=row.band,
        confidence=row.confidence,
        coverage=Coverage(row.used, row.not_used),
        reasons=[OwnReason(**reason, text=text) for reason, (_, text) in told],
        issued_at=when(row.issued_at),
        valid_until=when(row.valid_until),
        disputed=score.disputed,
        set_aside_at=when(row.set_aside_at) if row.set_aside_at else None,
        review_id=ids.public("rvw", score.review.id) if score.review else None,
        hints=[_hint(hint, text) for hint, text in score.hints] or None,
    )


def _hint(hint: Hint, text: str) -> OwnHint:
    moves = [OwnMove(**asdict(move)) for move in hint.moves]
    return OwnHint(hint.code, hint.version, hint.category, hint.points, hint.steps, text, moves)


routes = [list_own_scores, show_own_score]
