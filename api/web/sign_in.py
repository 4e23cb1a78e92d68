"""Signing in at the operator's provider, or by a one-time link; and out."""

import time
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api import sessions
from api.access import AnyRequest, public
from api.oidc import attempt as attempts
from api.oidc.discovery import SignInUnavailable
from api.oidc.relying_party import RETURN_PATH, SIGNED_OUT_PATH, Answer, RelyingParty, SignInNotProven
from api.sessions import NotSignedIn, SignedIn
from api.web import forms, onward, page

HOME = {"person": onward.HOME, "staff": "/compliance/start"}
ANSWER_LENGTH_MAX = 2_048


@get(onward.SIGN_IN, opt=public(light=True), include_in_schema=False)
async def leave(request: AnyRequest) -> Redirect:
    """On to the provider; who is signed in already, and need not prove it anew, goes on at once."""
    wanted = onward.read(request.query_params)
    if not wanted.fresh and await _is_person(request):
        return page.go(request, wanted.to)
    begun = attempts.begin(wanted.to, time.time(), fresh=wanted.fresh)
    answer = page.go(request, await _provider(request).leave(begun, page.language(request)))
    answer.cookies.append(attempts.cookie(request.app.state.settings, begun))
    return answer


@get(RETURN_PATH, opt=public(light=True), include_in_schema=False)
async def come_back(request: AnyRequest) -> Redirect:
    """Back from the provider: a session of their own for whom it vouches for, once for each time they left."""
    settings = request.app.state.settings
    answer = Answer(*(_once(request, name) for name in ("state", "code", "error", "iss")))
    sealed = request.cookies.get(attempts.cookie_name(settings), "")
    begun = attempts.opened(sealed, answer.state, time.time())
    await attempts.spend(begun)
    proof = await _provider(request).come_back(begun, answer)
    entered = await _enter(request, await sessions.start(settings, proof), begun.to)
    entered.cookies.append(attempts.cookie(settings, None))
    return entered


def _provider(request: AnyRequest) -> RelyingParty:
    connected: RelyingParty | None = request.app.state.relying_party
    if connected is None:
        raise SignInUnavailable("no provider is connected to this installation")
    return connected


def _once(request: AnyRequest, name: str) -> str:
    """A parameter of the answer, empty where it is not there (RFC 6749 section 3.1: none comes twice)."""
    given: list[str] = request.query_params.getall(name, [])
    if len(given) > 1 or any(len(value) > ANSWER_LENGTH_MAX or not value.isprintable() for value in given):
        raise SignInNotProven("the address that you came back to is not a provider's")
    return given[0] if given else ""


@get("/sign-in/{link:str}", opt=public(light=True), include_in_schema=False)
async def sign_in(request: AnyRequest, link: FromPath[str]) -> Response[Any]:
    """Spend the link; whoever opened it is signed in for half an hour.

    A browser that only fetches ahead spends nothing; one that comes from another site is asked first, so that nobody
    is signed in as somebody else by a page they happen to look at, in either language.
    """
    translated = "lang" in request.query_params
    ahead = request.headers.get("sec-purpose", request.headers.get("purpose", ""))
    from_elsewhere = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
    # Who is signed in already is not silently made somebody else.
    signed_in = sessions.has_cookie(request)
    if translated or signed_in or from_elsewhere or "prefetch" in ahead or "prerender" in ahead:
        return page.show(request, "sign_in.html")
    return await _enter(request, await sessions.sign_in(request.app.state.settings, link))


@post("/sign-in/{link:str}", opt=public(light=True), include_in_schema=False, status_code=303)
async def sign_in_asked(request: AnyRequest, link: FromPath[str]) -> Redirect:
    """Spend the link after the person said so on our own page."""
    sessions.refuse_other_sites(request)
    return await _enter(request, await sessions.sign_in(request.app.state.settings, link))


async def _enter(request: AnyRequest, signed_in: SignedIn, to: str | None = None) -> Redirect:
    settings = request.app.state.settings
    await sessions.sign_out(settings, request)  # whoever was signed in here before is so no more
    answer = page.go(request, to or HOME[signed_in.kind])
    answer.cookies.append(sessions.cookie(settings, signed_in.token))
    return answer


async def _is_person(request: AnyRequest) -> bool:
    try:
        await sessions.signed_in(request, "person")
    except NotSignedIn:
        return False
    return True


@post("/sign-out", opt=public(light=True), include_in_schema=False, status_code=303)
async def sign_out(request: AnyRequest) -> Redirect:
    """End the session of the cookie, if the form is of this session."""
    await forms.read(request)
    await sessions.sign_out(request.app.state.settings, request)
    return page.go(request, SIGNED_OUT_PATH)


@get(SIGNED_OUT_PATH, opt=public(light=True), include_in_schema=False)
async def signed_out(request: AnyRequest) -> Response[str]:
    """Say that it worked; where the person may still be signed in at the provider, say where to sign out there."""
    connected: RelyingParty | None = request.app.state.relying_party
    there = await connected.sign_out_address() if connected else None
    return page.show(request, "signed_out.html", connected=connected is not None, there=there)


routes = [come_back, leave, sign_in, sign_in_asked, sign_out, signed_out]
