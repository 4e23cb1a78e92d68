"""The access token of a protected call: ours, still valid, and of a client that may still call."""

import re
from hashlib import sha256
from typing import ClassVar

from api.oauth import tokens
from api.oauth.attempt import Attempt
from api.oauth.checks.proof import CHALLENGE
from api.oauth.signatures import Unusable
from compliance.refusals import Refusal
from compliance.vocabulary import PartnerClient

CREDENTIALS = re.compile(r"DPoP +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class DpopRequired(Refusal):
    """There is no access token, or it is not presented with the DPoP scheme (RFC 9449 section 7.1)."""

    status, code, title = 401, "dpop_required", "An access token with proof of possession is needed"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": f"DPoP {CHALLENGE}"}


class InvalidToken(Refusal):
    """The access token is not one that counts here and now (RFC 6750 section 3.1)."""

    status, code, title = 401, "invalid_token", "The access token does not count"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": f'DPoP error="invalid_token", {CHALLENGE}'}


async def verify(attempt: Attempt) -> None:
    """Verify the token of the Authorization header; one in the address or the body does not count.

    FAPI 2.0 section 5.3.4: only in the header. RFC 9449 section 7.2: a bound token is never taken as a bearer token.
    """
    given = attempt.request.headers.getall("authorization", [])
    match = CREDENTIALS.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        raise DpopRequired("exactly one Authorization header with the DPoP scheme is needed")
    attempt.token_digest = sha256(match[1].encode()).digest()
    try:
        attempt.token = tokens.verify(match[1], attempt.token_digest, issuer=attempt.issuer, now=attempt.now)
    except Unusable as why:
        raise InvalidToken(f"the access token cannot be used: {why}") from why
    attempt.client_id = attempt.token.client_id


async def admit(attempt: Attempt) -> None:
    """A suspension, and a scope taken away, count at once and not when the token ends."""
    standing = attempt.standing
    if standing.suspended:
        raise InvalidToken("the client is suspended")
    scopes = standing.scopes & frozenset(attempt.token.scope.split())
    attempt.caller = PartnerClient(standing.partner, attempt.client_id, scopes)
