"""Errors in words: a page for people who look at pages, a problem document for programs."""

from collections.abc import Callable
from typing import Any

from litestar import Response

from api import problems
from api.access import AnyRequest
from api.oauth.endpoints import AUTHORIZATION_PATH
from api.oidc import attempt as attempts
from api.oidc.attempt import SignInExpired
from api.oidc.discovery import SignInUnavailable
from api.oidc.relying_party import SignInCancelled, SignInNotProven
from api.problems import Problem
from api.sessions import NotSignedIn, SignInAgain
from api.web import onward, page
from api.web.onward import Onward

SIGN_INS_THAT_FAILED = (
    SignInCancelled.code,
    SignInExpired.code,
    SignInNotProven.code,
    SignInUnavailable.code,
)
FOR_PROGRAMS = ("/v1/", "/oauth/", "/.well-known/")
Handler = Callable[[AnyRequest, Any], Response[Any]]


def _told(handler: Handler) -> Handler:
    """The same problem, as a page where a page was asked for."""

    def tell(request: AnyRequest, error: Any) -> Response[Any]:
        document = handler(request, error)
        problem = document.content
        if not isinstance(problem, Problem) or not _wants_page(request):
            return document
        answer = page.show(
            request, "problem.html", problem.status, problem=problem, sign_in=_sign_in(request, problem)
        )
        answer.headers.update({k: v for k, v in document.headers.items() if k in ("Allow", "Retry-After")})
        return answer

    return tell


def _sign_in(request: AnyRequest, problem: Problem) -> str | None:
    """Where to sign in and then come back to, where that is what helps; a sign-in that failed is begun anew."""
    if problem.code in SIGN_INS_THAT_FAILED:
        begun = attempts.unsealed(request.cookies.get(attempts.cookie_name(request.app.state.settings), ""))
        wanted = Onward(begun.to, begun.fresh) if begun else onward.read(request.query_params)
        return wanted.address
    if problem.code not in (NotSignedIn.code, SignInAgain.code):
        return None
    return onward.back_here(request, fresh=problem.code == SignInAgain.code)


def _wants_page(request: AnyRequest) -> bool:
    path = request.scope["path"]
    for_people = path == AUTHORIZATION_PATH or not path.startswith(FOR_PROGRAMS)
    return for_people and "text/html" in request.headers.get("accept", "")


HANDLERS: dict[Any, Handler] = {kind: _told(handler) for kind, handler in problems.HANDLERS.items()}
