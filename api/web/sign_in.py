"""Signing in by a one-time link, and out."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api import sessions
from api.access import AnyRequest, public
from api.web import forms, page

HOME = {"person": "/me", "staff": "/compliance"}


@get("/sign-in/{link:str}", opt=public(), include_in_schema=False)
async def sign_in(request: AnyRequest, link: FromPath[str]) -> Response[Any]:
    """Spend the link; whoever opened it is signed in for half an hour.

    A browser that only fetches ahead spends nothing; one that comes from another site is asked first, so that nobody
    is signed in as somebody else by a page they happen to look at, in either language.
    """
    translated = "lang" in request.query_params
    ahead = request.headers.get("sec-purpose", request.headers.get("purpose", ""))
    from_elsewhere = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if translated or from_elsewhere or "prefetch" in ahead or "prerender" in ahead:
        return page.show(request, "sign_in.html")
    return await _enter(request, link)


@post("/sign-in/{link:str}", opt=public(), include_in_schema=False, status_code=303)
async def sign_in_asked(request: AnyRequest, link: FromPath[str]) -> Redirect:
    """Spend the link after the person said so on our own page."""
    sessions.refuse_other_sites(request)
    return await _enter(request, link)


async def _enter(request: AnyRequest, link: str) -> Redirect:
    settings = request.app.state.settings
    signed_in = await sessions.sign_in(settings, link)
    await sessions.sign_out(settings, request)  # whoever was signed in here before is so no more
    answer = page.go(request, HOME[signed_in.kind])
    answer.cookies.append(sessions.cookie(settings, signed_in.token))
    return answer


@post("/sign-out", opt=public(), include_in_schema=False, status_code=303)
async def sign_out(request: AnyRequest) -> Redirect:
    """End the session of the cookie, if the form is of this session."""
    await forms.read(request)
    await sessions.sign_out(request.app.state.settings, request)
    return page.go(request, "/signed-out")


@get("/signed-out", opt=public(), include_in_schema=False)
async def signed_out(request: AnyRequest) -> Response[str]:
    """Say that it worked."""
    return page.show(request, "signed_out.html")


routes = [sign_in, sign_in_asked, sign_out, signed_out]
