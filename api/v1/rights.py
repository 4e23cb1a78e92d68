"""/v1/me: a person's rights: dispute what is wrong, ask for a human review, object. The JSON twin of the pages."""

from typing import Literal

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, person, person_of, request_act, request_view
from api.v1.wire import Id, Page, Statement, when
from compliance import ids
from compliance.act import Act
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import Category, FactId
from consent import disputes, objections, permits
from consent.permits import OwnPermit
from consent.tables import DisputeRow
from scoring import own_scores, reviews
from scoring.tables import ReviewRow


class Objections(msgspec.Struct, frozen=True):
    """What you object to now, whatever you allowed before."""

    lists: bool
    """Being put on any pre-approval list."""
    automated_decisions: bool
    """Decisions made by automated means alone: every score says so, and a person must decide."""


class ObjectionChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What you object to from now on, or no longer; what is left out stays as it is."""

    lists: bool | None = None
    automated_decisions: bool | None = None


class DisputeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is wrong: exactly one of a kind of data, a score or an entry of your log; and why, in your own words."""

    text: Statement
    category: Category | None = None
    score: Id | None = None
    fact: Id | None = None


class DisputeView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dispute of yours. Staff answer by `due_at`; until then its subject is marked as disputed."""

    id: str
    about: str
    state: str
    raised_at: str
    due_at: str
    category: str | None = None
    score: str | None = None
    fact: str | None = None
    overdue: bool = False
    closed_at: str | None = None
    correction: Literal["ordered", "applied", "lifted"] | None = None
    """Upheld about a kind of data: it is not used until newer data have come in (`applied`), unless that was `lifted`."""
    text: str | None = None
    answer: str | None = None
    lifted: str | None = None
    """Why earlier data count again: the dispute had been upheld in error."""


class ReviewRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which score somebody should look at, and why if you care to say."""

    score: Id
    text: Statement | None = None


class ReviewView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A human review of one of your scores. The reviewer answers by `due_at`, with reasons."""

    id: str
    score: str
    state: str
    asked_at: str
    due_at: str
    overdue: bool = False
    closed_at: str | None = None
    text: str | None = None
    answer: str | None = None


@get("/v1/me/objections", opt=person(), summary="What I object to")
async def show_objections(request: AnyRequest) -> Objections:
    """Whether you object to pre-approval lists, and to decisions made by automated means alone."""
    async with request_view(request) as looking:
        held = await objections.held(looking)
        return Objections(held.lists, held.automation)


@post("/v1/me/objections", opt=person(), status_code=200, summary="Object, or no longer")
async def change_objections(request: AnyRequest, data: JSONBody[ObjectionChange]) -> Response[bytes]:
    """Object, or take an objection back; twice is fine. Either objection takes you off every list at once."""
    if data.lists is None and data.automated_decisions is None:
        fault = Fault("/lists", "missing", "name at least one of lists and automated_decisions")
        raise Unacceptable("say what you object to", fault)
    async with request_act(request) as act:
        if data.lists is not None:
            await objections.object_to_lists(act, objects=data.lists)
        if data.automated_decisions is not None:
            await objections.object_to_automation(act, objects=data.automated_decisions)
        held = await objections.held(act)
        return answered(act, Objections(held.lists, held.automation), 200)


@get("/v1/me/disputes", opt=person(), summary="My disputes")
async def list_own_disputes(request: AnyRequest) -> Page[DisputeView]:
    """What you said is wrong, newest first, with the state and the day the answer is due."""
    async with request_view(request) as looking:
        rows = await disputes.mine(looking, person_of(request).user)
        return Page([dispute_view(row) for row in rows])


@post("/v1/me/disputes", opt=person(), summary="Dispute something")
async def raise_dispute(request: AnyRequest, data: JSONBody[DisputeRequest]) -> Response[bytes]:
    """Say that something is wrong. It is marked at once, and answered within 20 days (征信业管理条例 Art 25).

    While a kind of data or a score is disputed, each score given to a partner says `"disputed": true`.
    """
    async with request_act(request) as act:
        row = await _raise(act, permits.own_permit(act), data)
        body = dispute_view(row)
        return answered(act, body, 201, {"Location": f"/v1/me/disputes/{body.id}"})


async def _raise(act: Act, own: OwnPermit, data: DisputeRequest) -> DisputeRow:
    if [data.category, data.score, data.fact].count(None) != 2:
        fault = Fault("/category", "one_of", "name exactly one of category, score and fact")
        raise Unacceptable("say what is wrong", fault)
    if data.category:
        return await disputes.raise_category(act, own, data.category, data.text)
    if data.fact:
        return await disputes.raise_fact(act, own, FactId(ids.private("fct", data.fact)), data.text)
    subject = await own_scores.subject(act, own, ids.private("scr", data.score or ""))
    return await disputes.raise_about(act, own, subject, data.text)


@get("/v1/me/disputes/{dispute_id:str}", opt=person(), summary="One of my disputes")
async def show_own_dispute(request: AnyRequest, dispute_id: FromPath[str]) -> DisputeView:
    """What you wrote, and the answer with its reasons once there is one."""
    async with request_act(request) as act:
        read = await disputes.read_own(act, permits.own_permit(act), ids.private("dsp", dispute_id))
        return dispute_view(read.row, read.text, read.answer, read.lifted)


@post(
    "/v1/me/disputes/{dispute_id:str}/withdraw", opt=person(), status_code=200, summary="Withdraw a dispute"
)
async def withdraw_dispute(request: AnyRequest, dispute_id: FromPath[str]) -> Response[bytes]:
    """Take a dispute back, as long as it is not answered. Twice is fine."""
    async with request_act(request) as act:
        row = await disputes.withdraw(act, permits.own_permit(act), ids.private("dsp", dispute_id))
        return answered(act, dispute_view(row), 200)


@get("/v1/me/reviews", opt=person(), summary="My human reviews")
async def list_own_reviews(request: AnyRequest) -> Page[ReviewView]:
    """Which scores you asked somebody to look at, newest first."""
    async with request_view(request) as looking:
        rows = await reviews.mine(looking, person_of(request).user)
        return Page([review_view(row) for row in rows])


@post("/v1/me/reviews", opt=person(), summary="Ask for a human review")
async def ask_review(request: AnyRequest, data: JSONBody[ReviewRequest]) -> Response[bytes]:
    """Ask that a person looks at one of your scores (PIPL Art 24); each score is reviewed once.

    The reviewer confirms it or sets it aside. What is set aside is shown to no partner again.
    """
    async with request_act(request) as act:
        score = ids.private("scr", data.score)
        body = review_view(await reviews.ask(act, permits.own_permit(act), score, data.text))
        return answered(act, body, 201, {"Location": f"/v1/me/reviews/{body.id}"})


@get("/v1/me/reviews/{review_id:str}", opt=person(), summary="One of my human reviews")
async def show_own_review(request: AnyRequest, review_id: FromPath[str]) -> ReviewView:
    """What you wrote, and the outcome with the reviewer's reasons once there is one."""
    async with request_act(request) as act:
        read = await reviews.read_own(act, permits.own_permit(act), ids.private("rvw", review_id))
        return review_view(read.row, read.text, read.answer)


def dispute_view(
    row: DisputeRow, text: str | None = None, answer: str | None = None, lifted: str | None = None
) -> DisputeView:
    """A dispute as its person sees it."""
    subject = disputes.subject_of(row)
    return DisputeView(
        id=ids.public("dsp", row.id),
        about=row.about,
        state=row.state,
        raised_at=when(row.raised_at),
        due_at=when(row.due_at),
        category=subject.category,
        score=ids.public("scr", subject.score) if subject.score else None,
        fact=ids.public("fct", subject.fact) if subject.fact else None,
        overdue=row.overdue_at is not None,
        closed_at=when(row.closed_at) if row.closed_at else None,
        correction=_correction(row),
        text=text,
        answer=answer,
        lifted=lifted,
    )


def _correction(row: DisputeRow) -> Literal["ordered", "applied", "lifted"] | None:
    if row.state != disputes.State.UPHELD or not row.category:
        return None
    if row.lifted_at:
        return "lifted"
    return "applied" if row.corrected_at else "ordered"


def review_view(row: ReviewRow, text: str | None = None, answer: str | None = None) -> ReviewView:
    """A review as its person sees it: never who reviewed."""
    return ReviewView(
        id=ids.public("rvw", row.id),
        score=ids.public("scr", row.score),
        state=row.state,
        asked_at=when(row.asked_at),
        due_at=when(row.due_at),
        overdue=row.overdue_at is not None,
        closed_at=when(row.closed_at) if row.closed_at else None,
        text=text,
        answer=answer,
    )


routes = [
    show_objections,
    change_objections,
    list_own_disputes,
    raise_dispute,
    show_own_dispute,
    withdraw_dispute,
    list_own_reviews,
    ask_review,
    show_own_review,
]
