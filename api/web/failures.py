"""Errors in words: a page for people who look at pages, a problem document for programs."""

from collections.abc import Callable
from typing import Any

from litestar import Response

from api import problems
from api.access import AnyRequest
from api.oauth.endpoints import AUTHORIZATION_PATH
from api.problems import Problem
from api.web import page

FOR_PROGRAMS = ("/v1/", "/oauth/", "/.well-known/")
Handler = Callable[[AnyRequest, Any], Response[Any]]


def _told(handler: Handler) -> Handler:
    """The same problem, as a page where a page was asked for."""

    def tell(request: AnyRequest, error: Any) -> Response[Any]:
        document = handler(request, error)
        problem = document.content
        if not isinstance(problem, Problem) or not _wants_page(request):
            return document
        answer = page.show(request, "problem.html", problem.status, problem=problem)
        answer.headers.update({k: v for k, v in document.headers.items() if k in ("Allow", "Retry-After")})
        return answer

    return tell


def _wants_page(request: AnyRequest) -> bool:
    path = request.scope["path"]
    for_people = path == AUTHORIZATION_PATH or not path.startswith(FOR_PROGRAMS)
    return for_people and "text/html" in request.headers.get("accept", "")


HANDLERS: dict[Any, Handler] = {kind: _told(handler) for kind, handler in problems.HANDLERS.items()}
