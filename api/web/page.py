"""What every page shares: its language, the words it may use, and the headers that keep it closed to other sites."""

from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from litestar.datastructures import Cookie
from litestar.response import Redirect

from api import sessions
from api.access import AnyRequest
from api.settings import Settings
from api.web.texts import Words
from compliance.vocabulary import Language, Staff

TEMPLATES = Path(__file__).parent / "templates"
Content = TypeVar("Content", str, bytes)
GAP = {Language.ZH_CN: "", Language.EN: " "}
"""What stands between two sentences."""
COOKIE = "language"
COOKIE_SECONDS = 31_536_000
ACCEPT_LENGTH_MAX = 200
CLOSED = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    # Other sites are told nothing. "no-referrer" would also hide from us that a form came from our own page.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
OVER_HTTPS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}


def headers(settings: Settings, leads_to: str | None = None) -> dict[str, str]:
    """The headers of every page; a form that leads on to another site may do so to that one alone."""
    closed = CLOSED | (OVER_HTTPS if settings.https else {})
    if leads_to:
        parts = urlsplit(leads_to)
        onward = f"form-action 'self' {parts.scheme}://{parts.netloc}"
        policy = closed["Content-Security-Policy"].replace("form-action 'self'", onward)
        closed["Content-Security-Policy"] = policy
    return closed


def language(request: AnyRequest) -> Language:
    """What the address asks for, else what was chosen before, else what the browser prefers, else Chinese."""
    for wanted in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if wanted in list(Language):
            return Language(wanted)
    for wanted in request.headers.get("accept-language", "")[:ACCEPT_LENGTH_MAX].lower().split(","):
        if wanted.strip().startswith(("zh", "en")):
            return Language.EN if wanted.strip().startswith("en") else Language.ZH_CN
    return Language.ZH_CN


def words(request: AnyRequest) -> Words:
    """The words of the request's language."""
    settings: Settings = request.app.state.settings
    lang = language(request)
    return Words(lang, settings.operator[lang], settings.contact)


@cache
def _environment(said: Words) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = (
        "t said money rate when clock day category_name categories purpose_name region_name fact_name party"
    )
    environment.globals.update(
        {name: getattr(said, name) for name in names.split()},
        lang=str(said.language),
        gap=GAP[said.language],
        operator=said.operator,
        contact=said.contact,
    )
    return environment


def html(request: AnyRequest, template: str, **values: Any) -> str:
    """A template in the request's language."""
    said = words(request)
    other = Language.EN if said.language is Language.ZH_CN else Language.ZH_CN
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    caller = request.scope.get("principal")
    return (
        _environment(said)
        .get_template(template)
        .render(
            csrf=sessions.csrf_token(request) if caller else None,
            role=caller.role if isinstance(caller, Staff) else None,
            light=request.app.state.get("light", False),
            other_language=f"?{urlencode([*kept, ('lang', other)])}",
            **values,
        )
    )


def show(
    request: AnyRequest, template: str, status: int = 200, leads_to: str | None = None, **values: Any
) -> Response[str]:
    """A page; a language asked for in the address is remembered. `leads_to`: another site that its form may end at."""
    answer = Response(
        html(request, template, leads_to=leads_to, **values),
        status_code=status,
        media_type="text/html",
        headers=headers(request.app.state.settings, leads_to),
    )
    if "lang" in request.query_params:
        secure = request.app.state.settings.https
        answer.cookies.append(
            Cookie(
                key=COOKIE,
                value=language(request),
                max_age=COOKIE_SECONDS,
                samesite="lax",
                secure=secure,
                httponly=True,
            )
        )
    return answer


def go(request: AnyRequest, path: str) -> Redirect:
    """After a change: look at the page that shows it, so that reloading repeats nothing."""
    return Redirect(path, status_code=303, headers=headers(request.app.state.settings))


def file(request: AnyRequest, name: str, content: Content, media_type: str) -> Response[Content]:
    """Something to keep, under a name of our own making."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers(request.app.state.settings) | disposition)
