"""/compliance/disputes and /compliance/reviews: what people wait for, and the staff who answer with their reasons."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api.access import AnyRequest, request_act, staff
from api.web import forms, page
from compliance import ids
from compliance.vocabulary import PartnerId, StaffRole
from consent import disputes, fact_search, holds, permits
from partners import directory
from scoring import own_scores, reviews
from scoring.answers import corrections

ANSWERS_DISPUTES, REVIEWS = StaffRole.COMPLIANCE_OFFICER, StaffRole.RISK_OFFICER


@get("/compliance/disputes", opt=staff(ANSWERS_DISPUTES), include_in_schema=False)
async def dispute_queue(request: AnyRequest) -> Response[str]:
    """Open disputes, the next due first, and what upheld ones hold back, without what people wrote."""
    async with request_act(request) as act:
        return page.show(
            request,
            "disputes_queue.html",
            rows=await disputes.queue(act),
            held=await holds.standing(act),
            now=act.now,
            public=ids.public,
            label=fact_search.label,
        )


@get("/compliance/disputes/{dispute_id:str}", opt=staff(ANSWERS_DISPUTES), include_in_schema=False)
async def ask_dispute_reason(request: AnyRequest, dispute_id: FromPath[str]) -> Response[str]:
    """Without a stated reason nothing is opened."""
    ids.private("dsp", dispute_id)
    return page.show(
        request, "look_reason.html", action=f"/compliance/disputes/{dispute_id}", back="/compliance/disputes"
    )


@post(
    "/compliance/disputes/{dispute_id:str}",
    opt=staff(ANSWERS_DISPUTES),
    include_in_schema=False,
    status_code=200,
)
async def open_dispute(request: AnyRequest, dispute_id: FromPath[str]) -> Response[str]:
    """What the person wrote, and the form to answer; the look and its reason are shown to the person."""
    form, dispute = await forms.read(request), ids.private("dsp", dispute_id)
    async with request_act(request) as act:
        looks = permits.staff_permit(act, form.text("reason"), about=await disputes.whose(act, dispute))
        read = await disputes.read_as_staff(act, looks, dispute)
        return page.show(
            request,
            "dispute_answer.html",
            read=read,
            row=read.row,
            reason=looks.reason,
            public=ids.public,
            label=fact_search.label,
        )


@post(
    "/compliance/disputes/{dispute_id:str}/answer",
    opt=staff(ANSWERS_DISPUTES),
    include_in_schema=False,
    status_code=303,
)
async def answer_dispute(request: AnyRequest, dispute_id: FromPath[str]) -> Redirect:
    """Uphold or reject, once, with a reason that the person reads; what an upheld one names is used no more."""
    form, dispute = await forms.read(request, prose="text"), ids.private("dsp", dispute_id)
    said = form.text("answer")
    if said not in ("uphold", "reject"):
        raise forms.Form.fault("answer", "missing", "uphold or reject")
    async with request_act(request) as act:
        looks = permits.staff_permit(act, form.text("reason"), about=await disputes.whose(act, dispute))
        await corrections.answer_dispute(act, looks, dispute, upheld=said == "uphold", text=form.text("text"))
    return page.go(request, "/compliance/disputes")


@post(
    "/compliance/disputes/{dispute_id:str}/lift",
    opt=staff(ANSWERS_DISPUTES),
    include_in_schema=False,
    status_code=303,
)
async def lift_hold(request: AnyRequest, dispute_id: FromPath[str]) -> Redirect:
    """Lift what a colleague upheld in error, with a reason that the person reads: earlier data count again."""
    form, dispute = await forms.read(request, prose="text"), ids.private("dsp", dispute_id)
    async with request_act(request) as act:
        looks = permits.staff_permit(act, form.text("reason"), about=await disputes.whose(act, dispute))
        await holds.lift(act, looks, dispute, form.text("text"))
    return page.go(request, "/compliance/disputes")


@get("/compliance/reviews", opt=staff(REVIEWS), include_in_schema=False)
async def review_queue(request: AnyRequest) -> Response[str]:
    """Scores that people want somebody to look at, the next due first."""
    async with request_act(request) as act:
        rows = await reviews.queue(act)
        return page.show(
            request, "reviews_queue.html", rows=rows, now=act.now, public=ids.public, label=fact_search.label
        )


@get("/compliance/reviews/{review_id:str}", opt=staff(REVIEWS), include_in_schema=False)
async def ask_review_reason(request: AnyRequest, review_id: FromPath[str]) -> Response[str]:
    """Without a stated reason nothing is opened."""
    ids.private("rvw", review_id)
    return page.show(
        request, "look_reason.html", action=f"/compliance/reviews/{review_id}", back="/compliance/reviews"
    )


@post("/compliance/reviews/{review_id:str}", opt=staff(REVIEWS), include_in_schema=False, status_code=200)
async def open_review(request: AnyRequest, review_id: FromPath[str]) -> Response[str]:
    """The score, its reasons and coverage, what the person wrote, and the form to answer."""
    form, review = await forms.read(request), ids.private("rvw", review_id)
    async with request_act(request) as act:
        looks = permits.staff_permit(act, form.text("reason"), about=await reviews.whose(act, review))
        read, score = await reviews.read_as_staff(act, looks, review)
        return page.show(
            request,
            "review_answer.html",
            read=read,
            row=read.row,
            reason=looks.reason,
            score=score,
            texts=own_scores.texts(score, page.language(request)),
            names=await directory.names(act, [PartnerId(score.partner)]),
            public=ids.public,
            label=fact_search.label,
        )


@post(
    "/compliance/reviews/{review_id:str}/answer",
    opt=staff(REVIEWS),
    include_in_schema=False,
    status_code=303,
)
async def answer_review(request: AnyRequest, review_id: FromPath[str]) -> Redirect:
    """Confirm the score or set it aside, once, with reasons that the person reads."""
    form, review = await forms.read(request, prose="text"), ids.private("rvw", review_id)
    said = form.text("answer")
    if said not in ("confirm", "set_aside"):
        raise forms.Form.fault("answer", "missing", "confirm or set aside")
    async with request_act(request) as act:
        looks = permits.staff_permit(act, form.text("reason"), about=await reviews.whose(act, review))
        await reviews.answer(act, looks, review, confirmed=said == "confirm", text=form.text("text"))
    return page.go(request, "/compliance/reviews")


routes = [
    dispute_queue,
    ask_dispute_reason,
    open_dispute,
    answer_dispute,
    lift_hold,
    review_queue,
    ask_review_reason,
    open_review,
    answer_review,
]
