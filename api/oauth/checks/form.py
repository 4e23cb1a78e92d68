"""The form of a call to the authorization server: small, plain, each parameter once."""

from urllib.parse import parse_qsl

from litestar.exceptions import HTTPException

from api.oauth.attempt import Attempt
from compliance.refusals import Refusal

FORM_TYPE = "application/x-www-form-urlencoded"
MOST_BYTES = 16384
MOST_PARAMETERS = 32


class InvalidRequest(Refusal):
    """The form cannot be read, or says what it may not (RFC 6749 section 5.2)."""

    status, code, title = 400, "invalid_request", "The request is malformed"


async def read(attempt: Attempt) -> None:
    """Read the body and nothing but the body: parameters in the address are ignored (RFC 6749 section 3.2)."""
    content_type = attempt.request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != FORM_TYPE:
        raise InvalidRequest(f"the body must be {FORM_TYPE}")
    pairs = _pairs(await _body(attempt))
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise InvalidRequest("a parameter is repeated")
    # RFC 6749 appendix A: every parameter we know is visible ASCII. Odd characters go no further than here.
    if not all(text.isascii() and text.isprintable() for pair in pairs for text in pair):
        raise InvalidRequest("a parameter holds characters that are not allowed")
    # RFC 6749 section 3.2: a parameter without a value counts as left out.
    attempt.form = {name: value for name, value in pairs if value.strip()}


async def grant_type(attempt: Attempt) -> None:
    """A token request says what it rests on (RFC 6749 section 5.2)."""
    if "grant_type" not in attempt.form:
        raise InvalidRequest("grant_type is missing")


async def token(attempt: Attempt) -> None:
    """Introspection and revocation are about one token (RFC 7662 section 2.1, RFC 7009 section 2.1)."""
    if "token" not in attempt.form:
        raise InvalidRequest("token is missing")


async def _body(attempt: Attempt) -> bytes:
    """The endpoint bounds the body; a longer one is cut off while it is being read."""
    try:
        return await attempt.request.body()
    except HTTPException as error:
        raise InvalidRequest(f"the body cannot be read, or is longer than {MOST_BYTES} bytes") from error


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError as error:
        raise InvalidRequest("the body is not a form, or has too many parameters") from error
