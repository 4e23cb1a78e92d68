"""Problem documents (RFC 9457): the only place that writes an error body."""

import re
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from api import telemetry
from compliance.refusals import Fault, Refusal
from compliance.replies import Replayed

MEDIA_TYPE = "application/problem+json"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
ERRORS_MAX = 20
POINTER_LENGTH_MAX = 200
PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
NOT_OFFERED = re.compile(r"Invalid enum value .*", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
CODES = {
    400: ("malformed", "The request cannot be read"),
    401: ("not_signed_in", "You are not signed in"),
    404: ("not_found", "There is no such thing"),
    405: ("method_not_allowed", "This method is not allowed here"),
    413: ("too_large", "The request is too large"),
    415: ("media_type_not_supported", "This media type is not supported"),
}


class Error(msgspec.Struct, frozen=True):
    """One thing wrong with the input: where (JSON pointer, RFC 6901), what, and what to do."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document; `code` is stable, `type` is a page about it."""

    type: str
    code: str
    title: str
    status: int
    detail: str
    trace_id: str
    errors: list[Error] = []


def render(
    status: int,
    code: str,
    title: str,
    detail: str,
    faults: tuple[Fault, ...] = (),
    headers: dict[str, str] | None = None,
) -> Response[Problem]:
    """Write one problem document."""
    errors = [Error(f.pointer, f.code, f.detail) for f in faults[:ERRORS_MAX]]
    body = Problem(f"/problems/{code}", code, title, status, detail, telemetry.trace_id_now.get(), errors)
    return Response(
        body,
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def of_refusal(request: Request[Any, Any, Any], refusal: Refusal) -> Response[Problem]:
    """An expected no."""
    headers: dict[str, str] = getattr(refusal, "headers", {})
    if refusal.status in (401, 403):
        challenge = headers.get("WWW-Authenticate", f'DPoP error="{refusal.code}"')
        # RFC 9728 section 5.1: where a client finds out how to be let in.
        described = f"{request.app.state.settings.issuer}{RESOURCE_METADATA}"
        headers = {**headers, "WWW-Authenticate": f'{challenge}, resource_metadata="{described}"'}
    return render(refusal.status, refusal.code, refusal.title, refusal.detail, refusal.faults, headers)


def of_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """What the framework refuses: unreadable input, unknown paths, wrong methods."""
    if isinstance(error, ValidationException):
        fault = fault_of(str(error.__cause__ or error.detail))
        title = "The request is well formed but cannot be accepted"
        return render(422, "unacceptable", title, "correct the field that is named", (fault,))
    status = error.status_code if error.status_code in CODES else 400
    code, title = CODES[status]
    detail = "send well-formed JSON (RFC 8259)" if status == 400 else "see the API reference at /schema"
    return render(status, code, title, detail, headers=_allowed(error))


def _allowed(error: HTTPException) -> dict[str, str]:
    named = {name.lower(): value for name, value in (error.headers or {}).items()}
    return {"Allow": named["allow"]} if "allow" in named else {}


def of_depth(_: Request[Any, Any, Any], __: RecursionError) -> Response[Problem]:
    """JSON that is nested deeper than anything we ask for."""
    return render(400, "malformed", CODES[400][1], "the JSON is nested too deeply")


def of_encoding(_: Request[Any, Any, Any], __: UnicodeDecodeError) -> Response[Problem]:
    """Text that is not UTF-8 (RFC 8259 section 8.1)."""
    return render(400, "malformed", CODES[400][1], "send text as UTF-8")


def of_bug(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Anything else is our fault: logged with its type and place, told without."""
    telemetry.log.error(
        "unhandled",
        error_type=type(error).__name__,
        where=_where(error),
        trace_id=telemetry.trace_id_now.get(),
    )
    del request
    return render(
        500, "internal_error", "Something went wrong on our side", "quote the trace_id when you ask us"
    )


def _where(error: Exception) -> str:
    """File and line of the innermost frame: enough to find a bug, nothing of what was in it."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    return f"{place.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{place.tb_lineno}" if place else "unknown"


def of_replay(_: Request[Any, Any, Any], replayed: Replayed) -> Response[bytes]:
    """The answer that was given before, and a header that says so."""
    return Response(
        replayed.reply.body,
        status_code=replayed.reply.status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", "Idempotency-Replayed": "true"},
    )


def fault_of(text: str) -> Fault:
    """Where and what, from msgspec's message; what was sent is not said again, apart from the name of a field."""
    place = PLACE.search(text)
    path = (place["path"] if place else "").removeprefix(".data")
    pointer = re.sub(r"\[(\d+|\.\.\.)\]", r"/\1", path).replace(".", "/")[:POINTER_LENGTH_MAX]
    if unknown := UNKNOWN.match(text):
        return Fault(
            f"{pointer}/{unknown['field'][:POINTER_LENGTH_MAX]}", "unknown_field", "leave this field out"
        )
    if missing := MISSING.match(text):
        field = "" if missing["field"] == "data" else f"/{missing['field']}"
        return Fault(f"{pointer}{field}", "missing", "this field is required")
    if NOT_OFFERED.match(text):
        return Fault(pointer, "invalid", "choose one of the values that the API reference names")
    return Fault(pointer, "invalid", PLACE.sub("", text).replace("`", ""))


HANDLERS: dict[Any, Any] = {
    Refusal: of_refusal,
    Replayed: of_replay,
    HTTPException: of_http,
    RecursionError: of_depth,
    UnicodeDecodeError: of_encoding,
    Exception: of_bug,
}
