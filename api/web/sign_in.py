"""Signing in by a one-time link, and out."""

from litestar import Response, get, post
from litestar.response import Redirect

from api import sessions
from api.access import AnyRequest, public

HOME = {"person": "/me", "staff": "/compliance"}


@get("/sign-in/{link:str}", opt=public(), include_in_schema=False)
async def sign_in(request: AnyRequest, link: str) -> Response[None]:
    """Spend the link; whoever opened it is signed in for half an hour."""
    settings = request.app.state.settings
    signed_in = await sessions.sign_in(settings, link)
    answer = Redirect(HOME[signed_in.kind], status_code=303, headers={"Cache-Control": "no-store"})
    answer.cookies.append(sessions.cookie(settings, signed_in.token))
    return answer


@post("/sign-out", opt=public(), include_in_schema=False, status_code=303)
async def sign_out(request: AnyRequest) -> Redirect:
    """End the session of the cookie."""
    await sessions.sign_out(request.app.state.settings, request)
    return Redirect("/", status_code=303)


routes = [sign_in, sign_out]
