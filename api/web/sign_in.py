"""Signing in by a one-time link, or by name and password where nobody real is served; and out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api import passwords, sessions
from api.access import AnyRequest, public
from api.passwords import SignInRefused
from api.sessions import NotSignedIn, SignedIn
from api.web import forms, page
from compliance.refusals import NotFound

HOME = {"person": "/me", "staff": "/compliance"}
PATH = "/sign-in"
FORM_BYTES_MAX = 8_192
CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
REQUEST_URI = re.compile(r"urn:ietf:params:oauth:request_uri:[A-Za-z0-9_-]{20,128}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """The authorization request that waits for the person; whatever else an address carries leads nowhere."""

    client_id: str
    request_uri: str

    @property
    def query(self) -> str:
        """Both, as an address carries them."""
        return urlencode({"client_id": self.client_id, "request_uri": self.request_uri})


def address(client_id: str, request_uri: str) -> str:
    """Where a person signs in, and is then sent on to their authorization request."""
    return f"{PATH}?{Waiting(client_id, request_uri).query}"


@get(PATH, opt=public(), include_in_schema=False)
async def sign_in_by_name(request: AnyRequest) -> Response[Any]:
    """The form for a name and a password; who is signed in already goes on to the request that waits."""
    _refuse_in_production(request)
    waiting = _waiting(request.query_params)
    if waiting and await _is_person(request):
        return _go_on(request, waiting)
    return _form(request, waiting)


@post(PATH, opt=public(), include_in_schema=False, status_code=303, request_max_body_size=FORM_BYTES_MAX)
async def sign_in_named(request: AnyRequest) -> Response[Any]:
    """Sign in whoever knows a name and its password; ask again where they do not."""
    _refuse_in_production(request)
    sessions.refuse_other_sites(request)
    sent = await request.form()
    fields = {name: value for name, value in sent.items() if isinstance(value, str)}
    waiting = _waiting(fields)
    try:
        user = await passwords.verify(fields.get("name", "").strip(), fields.get("password", ""))
    except SignInRefused as refused:
        return _form(request, waiting, refused.status)
    signed_in = await sessions.start(request.app.state.settings, user, passwords.METHOD)
    return await _enter(request, signed_in, waiting)


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


async def _enter(request: AnyRequest, signed_in: SignedIn, waiting: Waiting | None = None) -> Redirect:
    settings = request.app.state.settings
    await sessions.sign_out(settings, request)  # whoever was signed in here before is so no more
    answer = _go_on(request, waiting) if waiting else page.go(request, HOME[signed_in.kind])
    answer.cookies.append(sessions.cookie(settings, signed_in.token))
    return answer


def _refuse_in_production(request: AnyRequest) -> None:
    if request.app.state.settings.in_production:
        raise NotFound("people sign in with the operator's own means here")


def _waiting(fields: Mapping[str, str]) -> Waiting | None:
    found = Waiting(fields.get("client_id", ""), fields.get("request_uri", ""))
    whole = CLIENT_ID.fullmatch(found.client_id) and REQUEST_URI.fullmatch(found.request_uri)
    return found if whole else None


async def _is_person(request: AnyRequest) -> bool:
    try:
        await sessions.signed_in(request, "person")
    except NotSignedIn:
        return False
    return True


def _form(request: AnyRequest, waiting: Waiting | None, status: int = 200) -> Response[str]:
    return page.show(request, "sign_in_by_name.html", status, waiting=waiting, wrong=status != 200)


def _go_on(request: AnyRequest, waiting: Waiting) -> Redirect:
    return page.go(request, f"/oauth/authorize?{waiting.query}")


@post("/sign-out", opt=public(light=True), include_in_schema=False, status_code=303)
async def sign_out(request: AnyRequest) -> Redirect:
    """End the session of the cookie, if the form is of this session."""
    await forms.read(request)
    await sessions.sign_out(request.app.state.settings, request)
    return page.go(request, "/signed-out")


@get("/signed-out", opt=public(light=True), include_in_schema=False)
async def signed_out(request: AnyRequest) -> Response[str]:
    """Say that it worked."""
    return page.show(request, "signed_out.html")


routes = [sign_in_by_name, sign_in_named, sign_in, sign_in_asked, sign_out, signed_out]
