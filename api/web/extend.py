"""/me/grants/{id}/extend: a person lets a consent go on, or does not, having the whole notice before them again."""

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api.access import AnyRequest, person, request_act, request_view
from api.web import forms, me, notice, page
from compliance import ids
from compliance.vocabulary import SENSITIVE, Category, GrantId, Purpose
from consent import extensions, grants, life, notices
from consent.life import Step

Days = Annotated[int, msgspec.Meta(ge=1, le=365)]


@get("/me/grants/{grant_id:str}/extend", opt=person(), include_in_schema=False)
async def extend(request: AnyRequest, grant_id: FromPath[str]) -> Response[str]:
    """From when to when, for what and with which data: what was agreed to before, and nothing more."""
    words = page.words(request)
    async with request_view(request) as view:
        row = await grants.find(view, GrantId(ids.private("gnt", grant_id)))
        life.after(row, Step.EXTEND, view.now)
        offered = await extensions.offered(view, row)
        if offered is None:
            raise life.GrantNotOpen("this consent already lasts as long as it can be allowed today")
        names = await me.names(view, [row], [])
        current = notices.current(Purpose(row.purpose), words.language)
        asked = notice.of_grant(row, row.categories, offered.period_days, words, names)
        return page.show(
            request,
            "extend.html",
            card=me.card(view, row),
            offered=offered,
            names=names,
            sensitive=[c for c in row.categories if Category(c) in SENSITIVE],
            possible=extensions.rests_on_this_notice(row, current),
            notice=current,
            text=notice.text(asked, words),
        )


@post("/me/grants/{grant_id:str}/extend", opt=person(), include_in_schema=False, status_code=303)
async def answer(request: AnyRequest, grant_id: FromPath[str]) -> Redirect:
    """Yes or no to what was asked; `period_days` stands on the form only where the wish is the person's own."""
    form = await forms.read(request)
    grant, said, own_wish = (
        GrantId(ids.private("gnt", grant_id)),
        form.text("answer"),
        form.ticked("period_days"),
    )
    if said not in ("yes", "no"):
        raise forms.Form.fault("answer", "missing", "yes or no")
    if said == "yes":
        days = form.shaped("period_days", Days) if own_wish else None
        async with request_act(request) as act:
            await extensions.agree(
                act, grant, page.language(request), period_days=days, shown=form.text("notice_sha256")
            )
    elif not own_wish:  # whoever drops a wish of their own has answered nobody
        async with request_act(request) as act:
            await extensions.reject(act, grant)
    return page.go(request, f"/me/grants/{grant_id}")


routes = [extend, answer]
