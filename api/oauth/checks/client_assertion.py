"""Client authentication by a signed assertion (private_key_jwt)."""

from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from msgspec.json import Decoder

from api.oauth import clients, signatures
from api.oauth.attempt import Attempt, SingleUse
from api.oauth.clients import Client
from api.oauth.keys import PublicKey
from api.oauth.signatures import CLOCK_AHEAD_SECONDS, Seconds, Signed, Unusable
from compliance.refusals import Refusal

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFETIME_SECONDS = 300
LONGEST_ID = 256
KINDS = ("", "jwt", "client-authentication+jwt")
"""RFC 7523 section 3, and the kind that a draft gives it. A proof of possession is no assertion."""
NO_KEY = "no single key of its client fits its kid and alg"
"""Also where there is no such client: which ones there are is not told."""


class InvalidClient(Refusal):
    """The client is not authenticated (RFC 6749 section 5.2)."""

    status, code, title = 401, "invalid_client", "The client is not authenticated"


class Assertion(msgspec.Struct, frozen=True):
    """The claims of an assertion (RFC 7523 section 3)."""

    iss: str
    sub: str
    aud: str  # one string, never a list (FAPI 2.0 section 5.3.2.1, item 8)
    exp: Seconds
    jti: str
    iat: Seconds = 0
    nbf: Seconds = 0


CLAIMS = Decoder(Assertion)


async def verify(attempt: Attempt) -> Client:
    """The client that signed the assertion, which can be used once."""
    form = attempt.form
    if form.get("client_assertion_type") != ASSERTION_TYPE or "client_assertion" not in form:
        raise InvalidClient(f"a client_assertion of type {ASSERTION_TYPE} is needed")
    try:
        signed = signatures.read(form["client_assertion"], CLAIMS)
        _check_kind(signed)
        _check_claims(signed.claims, attempt)
        client = await _client(signed, attempt)
        signatures.verify(signed, _key(client, signed))
    except Unusable as why:
        raise InvalidClient(f"the assertion cannot be used: {why}") from why
    attempt.single_uses.append(_single_use(signed.claims))
    return client


def _check_kind(signed: Signed[Assertion]) -> None:
    if signed.header.typ.lower() not in KINDS:
        raise Unusable("its typ is another kind of statement's")


def _check_claims(claims: Assertion, attempt: Attempt) -> None:
    now = attempt.now
    if claims.iss != claims.sub or attempt.form.get("client_id", claims.iss) != claims.iss:
        raise Unusable("iss, sub and client_id must be the same client")
    if claims.aud != attempt.issuer:
        raise Unusable("aud must be the issuer of this server, as one string")
    if claims.exp <= now:
        raise Unusable("it has expired")
    if claims.exp > now + LIFETIME_SECONDS + CLOCK_AHEAD_SECONDS:
        raise Unusable(f"it is valid for more than {LIFETIME_SECONDS} seconds")
    if max(claims.iat, claims.nbf) > now + CLOCK_AHEAD_SECONDS:
        raise Unusable("it is from the future")
    if not 0 < len(claims.jti) <= LONGEST_ID:
        raise Unusable(f"its jti must have 1 to {LONGEST_ID} characters")


async def _client(signed: Signed[Assertion], attempt: Attempt) -> Client:
    loopback = not attempt.settings.in_production
    found = await clients.find(signed.claims.iss, signed.header.kid, loopback=loopback)
    attempt.remembered = found
    if found is None:
        raise Unusable(NO_KEY)
    if found.method != "private_key_jwt":
        raise Unusable("its client is registered with a certificate")
    return found


def _key(client: Client, signed: Signed[Assertion]) -> PublicKey:
    key = signatures.key_of(signed, client.keys)
    if key is None:
        raise Unusable(NO_KEY)
    return key


def _single_use(claims: Assertion) -> SingleUse:
    # RFC 7523 section 3, item 7. Ids are unique per client.
    key = sha256(f"assertion {claims.iss} {claims.jti}".encode()).digest()
    until = datetime.fromtimestamp(claims.exp, UTC)
    return SingleUse(key, until, InvalidClient("the assertion was used before"))
