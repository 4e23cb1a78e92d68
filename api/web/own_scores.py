"""/me/scores: a person's own scores, with the reasons in full, and the way to a human who looks at one."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api.access import AnyRequest, person, request_act
from api.web import forms, page
from compliance import ids
from compliance.vocabulary import PartnerId
from consent import permits
from partners import directory
from scoring import own_scores, reviews
from scoring.answers import given, incomes


@get("/me/scores", opt=person(), include_in_schema=False)
async def list_own_scores(request: AnyRequest) -> Response[str]:
    """What it is, what it is not, and why it is what it is."""
    async with request_act(request) as act:
        own = permits.own_permit(act)
        found, others = await own_scores.mine(act, own, page.language(request)), await given.mine(act, own)
        partners = [*(score.row.partner for score in found), *(row.partner for row in others)]
        names = await directory.names(act, [PartnerId(partner) for partner in partners])
        return page.show(
            request,
            "scores.html",
            scores=found,
            answers=others,
            minor=incomes.MINOR,
            names=names,
            public=ids.public,
        )


@get("/me/scores/{score_id:str}", opt=person(), include_in_schema=False)
async def own_score(request: AnyRequest, score_id: FromPath[str]) -> Response[str]:
    """One score, and what the person can do about it."""
    async with request_act(request) as act:
        own, language = permits.own_permit(act), page.language(request)
        score = await own_scores.one(act, own, ids.private("scr", score_id), language)
        names = await directory.names(act, [PartnerId(score.row.partner)])
        helps = [(hint.points, text) for hint, text in score.hints]
        return page.show(request, "score.html", score=score, helps=helps, names=names, public=ids.public)


@post("/me/scores/{score_id:str}/review", opt=person(), include_in_schema=False, status_code=303)
async def ask_review(request: AnyRequest, score_id: FromPath[str]) -> Redirect:
    """Ask that a person looks at this score."""
    form = await forms.read(request, prose="text")
    async with request_act(request) as act:
        own, score = permits.own_permit(act), ids.private("scr", score_id)
        row = await reviews.ask(act, own, score, form.text("text") or None)
    return page.go(request, f"/me/reviews/{ids.public('rvw', row.id)}")


routes = [list_own_scores, own_score, ask_review]
