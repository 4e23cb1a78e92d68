"""/me/self-view: what sharing can change, on one's own data, for one's own eyes, with a consent of its own."""

from datetime import timedelta
from typing import Annotated, Any

from litestar import Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from api.access import AnyRequest, person, person_of, request_act, request_view
from api.web import forms, me, notice, page
from api.web.texts import Words
from compliance import ids
from compliance.act import View
from compliance.vocabulary import (
    OPERATOR,
    SENSITIVE,
    Categories,
    Category,
    GrantId,
    Language,
    Purpose,
    UserId,
)
from consent import grants, notices
from consent.tables import GrantRow
from scoring import previews

PURPOSE = Purpose.SELF_VIEW
AskId = Annotated[str | None, QueryParameter(name="ask", max_length=40)]
"""The request that the person is about to answer, where they come from one."""


@get("/me/self-view", opt=person(), include_in_schema=False)
async def self_view(request: AnyRequest, ask_id: AskId = None) -> Response[str]:
    """Without the consent, its own ask; with it, what was worked out before, and a button that works it out now."""
    user, words = person_of(request).user, page.words(request)
    async with request_view(request) as view:
        asked = await _asked(view, ask_id)
        standing = await grants.live(view, user, OPERATOR, PURPOSE)
        return page.show(
            request,
            "self_view.html",
            possible=await previews.possible(view),
            card=me.card(view, standing) if standing else None,
            found=await _found(view, user, standing, words.language) if standing else [],
            asked=asked,
            names=await me.names(view, [asked], []) if asked else {},
            query=f"?ask={ask_id}" if ask_id else "",
            until=view.now + timedelta(days=previews.PERIOD_DAYS),
            **_own_ask(words, request.app.state.settings.offered),
        )


async def _found(view: View, user: UserId, standing: GrantRow, language: Language) -> list[tuple[Any, ...]]:
    """What was worked out before: each with its lines, and what would have helped."""
    kept = await previews.mine(view, user, GrantId(standing.id))
    return [(row, lines, previews.helps(row, language)) for row, lines in kept]


def _own_ask(words: Words, offered: Categories) -> dict[str, Any]:
    """What the page asks for where there is no consent yet."""
    return {
        "plain": sorted(offered - SENSITIVE),
        "sensitive": sorted(offered & SENSITIVE),
        "days": previews.PERIOD_DAYS,
        "notice": notices.current(PURPOSE, words.language),
        "text": notice.text(notice.self_view(words, offered), words),
    }


@post("/me/self-view", opt=person(PURPOSE), include_in_schema=False, status_code=303)
async def answer(request: AnyRequest, ask_id: AskId = None) -> Redirect:
    """Yes to what was ticked; a no leaves everything as it is, and is recorded nowhere."""
    form = await forms.read(request)
    if form.text("answer") not in ("yes", "no"):
        raise forms.Form.fault("answer", "missing", "yes or no")
    if form.text("answer") == "no":
        return page.go(request, f"/ask/{ask_id}" if ask_id else "/me/scores")
    async with request_act(request) as act:
        await previews.give(
            act,
            form.categories(),
            page.language(request),
            offered=request.app.state.settings.offered,
            shown=form.text("notice_sha256"),
        )
    return page.go(request, _back(ask_id))


@post("/me/self-view/result", opt=person(PURPOSE), include_in_schema=False, status_code=303)
async def work_out(request: AnyRequest, ask_id: AskId = None) -> Redirect:
    """Work it out for all that the consent allows: that set is what is counted, whichever request one comes from."""
    await forms.read(request)
    async with request_act(request) as act:
        await previews.work_out(act, frozenset(Category))
    return page.go(request, _back(ask_id))


async def _asked(at: View, ask_id: str | None) -> GrantRow | None:
    return await grants.find(at, GrantId(ids.private("gnt", ask_id))) if ask_id else None


def _back(ask_id: str | None) -> str:
    return f"/me/self-view?ask={ask_id}" if ask_id else "/me/self-view"


routes = [self_view, answer, work_out]
