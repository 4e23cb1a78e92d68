"""/me/rights: each right in plain words, and what became of one's own disputes, reviews and objections."""

from typing import Annotated

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from api.access import AnyRequest, person, person_of, request_act, request_view
from api.v1.wire import PLAIN
from api.web import forms, page
from compliance import ids
from compliance.act import Act
from compliance.vocabulary import Category, FactId
from consent import access_log, disputes, objections, permits
from consent.permits import OwnPermit
from consent.tables import DisputeRow
from scoring import own_scores, reviews

Text = Annotated[str, QueryParameter(max_length=40, pattern=PLAIN)]


@get("/me/rights", opt=person(), include_in_schema=False)
async def rights(request: AnyRequest) -> Response[str]:
    """Every right with the way to it."""
    user = person_of(request).user
    async with request_view(request) as view:
        return page.show(
            request,
            "rights.html",
            disputes=await disputes.mine(view, user),
            reviews=await reviews.mine(view, user),
            objects=await objections.held(view),
            public=ids.public,
        )


@get("/me/disputes/new", opt=person(), include_in_schema=False)
async def new_dispute(request: AnyRequest, score: Text = "", fact: Text = "") -> Response[str]:
    """Say what is wrong: the score or entry that the address names, or a kind of data."""
    async with request_view(request) as view:
        kind = None
        if fact:
            kind = (await access_log.find(view, FactId(ids.private("fct", fact)))).kind
        return page.show(
            request,
            "dispute_new.html",
            score=ids.public("scr", ids.private("scr", score)) if score else "",
            fact=fact,
            fact_kind=kind,
            kinds=list(Category),
        )


@post("/me/disputes", opt=person(), include_in_schema=False, status_code=303)
async def raise_dispute(request: AnyRequest) -> Redirect:
    """Open the dispute, and show it with the day the answer is due."""
    form = await forms.read(request, prose="text")
    async with request_act(request) as act:
        row = await _raise(act, permits.own_permit(act), form)
    return page.go(request, f"/me/disputes/{ids.public('dsp', row.id)}")


async def _raise(act: Act, own: OwnPermit, form: forms.Form) -> DisputeRow:
    if form.text("score"):
        subject = await own_scores.subject(act, own, ids.private("scr", form.text("score")))
        return await disputes.raise_about(act, own, subject, form.text("text"))
    if form.text("fact"):
        fact = FactId(ids.private("fct", form.text("fact")))
        return await disputes.raise_fact(act, own, fact, form.text("text"))
    category: Category = form.shaped("category", Category)
    return await disputes.raise_category(act, own, category, form.text("text"))


@get("/me/disputes/{dispute_id:str}", opt=person(), include_in_schema=False)
async def own_dispute(request: AnyRequest, dispute_id: FromPath[str]) -> Response[str]:
    """What the person wrote, where it stands, and the answer."""
    async with request_act(request) as act:
        read = await disputes.read_own(act, permits.own_permit(act), ids.private("dsp", dispute_id))
        return page.show(request, "dispute.html", read=read, row=read.row, public=ids.public)


@post("/me/disputes/{dispute_id:str}/withdraw", opt=person(), include_in_schema=False, status_code=303)
async def withdraw_dispute(request: AnyRequest, dispute_id: FromPath[str]) -> Redirect:
    """Take the dispute back."""
    await forms.read(request)
    async with request_act(request) as act:
        await disputes.withdraw(act, permits.own_permit(act), ids.private("dsp", dispute_id))
    return page.go(request, f"/me/disputes/{dispute_id}")


@get("/me/reviews/{review_id:str}", opt=person(), include_in_schema=False)
async def own_review(request: AnyRequest, review_id: FromPath[str]) -> Response[str]:
    """Where the review stands, and the outcome with the reviewer's reasons."""
    async with request_act(request) as act:
        read = await reviews.read_own(act, permits.own_permit(act), ids.private("rvw", review_id))
        return page.show(request, "review.html", read=read, row=read.row, public=ids.public)


routes = [
    rights,
    new_dispute,
    raise_dispute,
    own_dispute,
    withdraw_dispute,
    own_review,
]
