"""/v1/scores: a partner asks for the score of a person who consented."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, client, request_act
from api.oauth.scopes import Scope
from api.v1.wire import Id, when
from compliance import ids
from compliance.act import Act
from compliance.refusals import Fault, Unacceptable
from compliance.replies import Stored, check_on_replay
from compliance.vocabulary import AnswerForm, Category
from consent import people
from consent.people import Pseudonym
from partners import directory
from scoring import scores
from scoring.answers import thresholds
from scoring.release import Released
from scoring.scores import Given


class ScoreRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom to score, from what. A licensed bureau that relays names the `recipient`."""

    user: Id
    purpose: Literal["credit_assessment"]
    categories: Annotated[list[Category], msgspec.Meta(min_length=1, max_length=9)]
    answer: AnswerForm = AnswerForm.FULL
    recipient: Id | None = None
    product: Id | None = None
    """With `threshold`, and only then: the product of the recipient's whose cut-off is asked about."""


class ReasonView(msgspec.Struct, frozen=True):
    """One reason from the public catalogue; its text for the person is on the person's own page."""

    code: str
    version: int
    category: str
    direction: str


class Coverage(msgspec.Struct, frozen=True):
    """Which categories of the model the answer rests on; why another is not among them is not told."""

    used: list[str]
    not_used: list[str]


class ScoreView(msgspec.Struct, frozen=True, omit_defaults=True):
    """An evaluation. It never says approve or decline.

    A `threshold` answer has `above` and none of band, points, probability, confidence and reasons: each of them would
    tell on which side of other cut-offs the person is.
    """

    id: str
    answer: str
    scale: str
    coverage: Coverage
    model: str
    channel: str
    grant_id: str
    issued_at: str
    valid_until: str
    fact_id: str
    fact_promise: str
    band: str | None = None
    confidence: str | None = None
    reasons: list[ReasonView] | None = None
    product: str | None = None
    above: bool | None = None
    """Whether the points reach the product's cut-off; the same for 90 days."""
    points: int | None = None
    probability: str | None = None
    disputed: bool = False
    """The person disputes the score, or data that it rests on; staff answer within 20 days."""
    automated_decision: Literal["objected"] | None = None
    """The person objects to decisions made by automated means alone: one of your people must decide."""


class Marks(msgspec.Struct, frozen=True):
    """What an answer given before says beside the score."""

    id: str
    disputed: bool = False
    automated_decision: str | None = None


@post("/v1/scores", opt=client(Scope.SCORES, scores.PURPOSE, once=True), summary="Score a consenting person")
async def issue_score(request: AnyRequest, data: JSONBody[ScoreRequest]) -> Response[bytes]:
    """Score a person from the categories they consented to for you, with reasons and a proof of the disclosure.

    The answer rests on the intersection of what you ask for and what was granted. The proof of `fact_id` is at
    GET /v1/log/facts/{id}/proof once it stands in the log; `fact_promise` is our signed promise that it will.
    """
    async with request_act(request) as act:
        user = await people.by_pseudonym(act, Pseudonym(ids.private("usr", data.user)))
        recipient = await directory.relayed_for(act, data.recipient) if data.recipient else None
        wanted, product = frozenset(data.categories), _product(data)
        if product is None:
            released = await scores.issue(act, user, wanted, answer=data.answer, recipient=recipient)
        else:
            released = await thresholds.issue(act, user, wanted, product=product, recipient=recipient)
        body = view(released)
        return answered(act, body, 201, {"Location": f"/v1/scores/{body.id}"})


def _product(data: ScoreRequest) -> UUID | None:
    """The product that a threshold answer is about."""
    asked = data.answer is AnswerForm.THRESHOLD
    if asked != (data.product is not None):
        detail = "name the product whose cut-off you ask about" if asked else "only for a threshold answer"
        raise Unacceptable("a threshold answer is about one product", Fault("/product", "product", detail))
    return ids.private("prd", data.product) if data.product else None


@get("/v1/scores/{score_id:str}", opt=client(Scope.SCORES, scores.PURPOSE), summary="See an earlier score")
async def show_score(request: AnyRequest, score_id: FromPath[str]) -> ScoreView:
    """Look at a score again, while the consent it rests on lives. Each look is recorded like the first.

    A score that was set aside after a human review, or after a dispute, is gone (`score_set_aside`): use it no more.
    """
    async with request_act(request) as act:
        return view(await scores.show(act, ids.private("scr", score_id)))


@check_on_replay
async def still_told(act: Act, stored: Stored) -> None:
    """An old answer that holds a score is given again only while nothing was disputed, objected to or set aside since."""
    if act.purpose is not scores.PURPOSE or stored.reply.status != 201 or stored.grant is None:
        return
    told = msgspec.json.decode(stored.reply.body, type=Marks)
    if told.id.startswith("scr_"):
        objected = told.automated_decision is not None
        score = ids.private("scr", told.id)
        await scores.refuse_outdated(act, score, disputed=told.disputed, automation_objected=objected)


def view(released: Released[Given]) -> ScoreView:
    """What leaves: only a released evaluation can be shown."""
    given, row = released.value, released.value.row
    full, threshold = row.answer == AnswerForm.FULL, row.answer == AnswerForm.THRESHOLD
    return ScoreView(
        id=ids.public("scr", row.id),
        answer=row.answer,
        points=row.points if full else None,
        band=None if threshold else row.band,
        probability=row.probability if full else None,
        scale=row.scale,
        confidence=None if threshold else row.confidence,
        coverage=Coverage(row.used, row.not_used),
        reasons=None if threshold else [ReasonView(**reason) for reason in row.reasons],
        product=ids.public("prd", row.product) if row.product else None,
        above=thresholds.above(row) if threshold else None,
        model=ids.public("mdl", row.model),
        channel=released.channel,
        grant_id=ids.public("gnt", row.grant_id),
        issued_at=when(row.issued_at),
        valid_until=when(row.valid_until),
        fact_id=ids.public("fct", row.fact),
        fact_promise=row.fact_promise,
        disputed=given.disputed,
        automated_decision="objected" if given.automation_objected else None,
    )


routes = [issue_score, show_score]
