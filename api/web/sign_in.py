"""Signing in by a one-time link, and out."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api import sessions
from api.access import AnyRequest, public
from api.web import forms, page

HOME = {"person": "/me", "staff": "/compliance"}


@get("/sign-in/{link:str}", opt=public(), include_in_schema=False)
async def sign_in(request: AnyRequest, link: FromPath[str]) -> Redirect:
    """Spend the link; whoever opened it is signed in for half an hour."""
    settings = request.app.state.settings
    signed_in = await sessions.sign_in(settings, link)
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


routes = [sign_in, sign_out, signed_out]
