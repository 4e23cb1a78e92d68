"""/ask: the page on which a person answers a request for consent, having read exactly one notice."""

from datetime import timedelta

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api import answers
from api.access import AnyRequest, person, person_of, request_act, request_view
from api.oauth import authorizations
from api.web import forms, me, notice, page
from compliance import ids
from compliance.vocabulary import SENSITIVE, Category, GrantId, Purpose
from consent import grants, life, notices
from scoring import previews


@get("/ask/{grant_id:str}", opt=person(), include_in_schema=False)
async def ask(request: AnyRequest, grant_id: FromPath[str]) -> Response[str]:
    """Who asks for what; or, once answered, what was answered."""
    user = person_of(request).user
    async with request_view(request) as view:
        row = await grants.find(view, GrantId(ids.private("gnt", grant_id)))
        names = await me.names(view, [row], [])
        state: str = life.state_now(row, view.now)[0]
        if state == "requested" and await grants.rejected_lately(
            view, user, row.recipient, row.bureau, row.purpose
        ):
            state = "asked_too_soon"
        template = "ask.html" if state == "requested" else "answered.html"
        words = page.words(request)
        # Where a no would lead: the client that waits, if one does. A browser lets the form go there too.
        unanswered = state in ("requested", "rejected", "lapsed", "asked_too_soon")
        issuer = request.app.state.settings.issuer
        back = await authorizations.refusal(view, GrantId(row.id), issuer) if unanswered else None
        return page.show(
            request,
            template,
            leads_to=back,
            grant_id=grant_id,
            row=row,
            state=state,
            names=names,
            plain=[c for c in row.asked if Category(c) not in SENSITIVE],
            sensitive=[c for c in row.asked if Category(c) in SENSITIVE],
            until=view.now + timedelta(days=row.period_days),
            scored=Purpose(row.purpose) in previews.SCORED,
            example=await previews.on_example(view, frozenset(Category(c) for c in row.asked)),
            own_possible=await previews.possible(view),
            notice=notices.current(Purpose(row.purpose), words.language),
            text=notice.text(notice.of_grant(row, row.asked, row.period_days, words, names), words),
        )


@post("/ask/{grant_id:str}", opt=person(), include_in_schema=False, status_code=303)
async def answer(request: AnyRequest, grant_id: FromPath[str]) -> Redirect:
    """Yes to what was ticked, having read the notice whose digest the form carries; or no."""
    form = await forms.read(request)
    grant = GrantId(ids.private("gnt", grant_id))
    said, issuer = form.text("answer"), request.app.state.settings.issuer
    if said not in ("yes", "no"):
        raise forms.Form.fault("answer", "missing", "yes or no")
    async with request_act(request) as act:
        if said == "yes":
            shown, chosen = form.text("notice_sha256"), form.categories()
            answered = await answers.say_yes(
                act, grant, chosen, page.language(request), issuer=issuer, shown=shown
            )
        else:
            answered = await answers.say_no(act, grant, forms.reason(form), issuer=issuer)
    return page.go(request, answered.back or f"/ask/{grant_id}")


routes = [ask, answer]
