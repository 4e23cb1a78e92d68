"""The access token of a protected call: ours, still valid, and of a client that may still call."""

import re
from hashlib import sha256
from typing import ClassVar

from api.oauth import tokens
from api.oauth.attempt import Attempt
from api.oauth.checks.proof import CHALLENGE
from api.oauth.signatures import Unusable
from compliance import ids
from compliance.refusals import Refusal
from compliance.vocabulary import GrantId, PartnerClient
from partners.directory import PartnerSuspended

CREDENTIALS = re.compile(r"(DPoP|Bearer) +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class DpopRequired(Refusal):
    """There is no access token, or it is not presented as it has to be (RFC 9449 section 7.1)."""

    status, code, title = 401, "dpop_required", "An access token with proof of possession is needed"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": f"DPoP {CHALLENGE}"}


class InvalidToken(Refusal):
    """The access token is not one that counts here and now (RFC 6750 section 3.1)."""

    status, code, title = 401, "invalid_token", "The access token does not count"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": f'DPoP error="invalid_token", {CHALLENGE}'}


async def verify(attempt: Attempt) -> None:
    """Verify the token of the Authorization header; one in the address or the body does not count.

    FAPI 2.0 section 5.3.4: only in the header. RFC 9449 section 7.2: a token that is bound to a key is never taken as
    a bearer token.
    """
    given = attempt.request.headers.getall("authorization", [])
    match = CREDENTIALS.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        raise DpopRequired("exactly one Authorization header with the DPoP scheme is needed")
    attempt.token_digest = sha256(match[2].encode()).digest()
    try:
        token = tokens.verify(match[2], attempt.token_digest, issuer=attempt.issuer, now=attempt.now)
    except Unusable as why:
        raise InvalidToken(f"the access token cannot be used: {why}") from why
    if match[1].lower() != token.cnf.token_type.lower():
        raise DpopRequired(f"this access token is presented with the {token.cnf.token_type} scheme")
    attempt.token, attempt.client_id = token, token.client_id


async def admit(attempt: Attempt) -> None:
    """A revocation, a suspension, the end of a consent, and a scope taken away count at once, not when the token ends."""
    standing, token = attempt.standing, attempt.token
    if token is None or not standing.alive:
        raise InvalidToken("the access token was revoked, or the consent that it rests on has ended")
    if standing.suspended:
        raise InvalidToken("the client is suspended")
    if standing.frozen and not attempt.while_frozen:
        raise PartnerSuspended
    grant = GrantId(ids.private("gnt", token.grant_id)) if token.grant_id else None
    scopes = standing.scopes & frozenset(token.scope.split())
    attempt.caller = PartnerClient(standing.partner, attempt.client_id, scopes, standing.purposes, grant)
