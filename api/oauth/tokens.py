"""Access tokens: signed by us, bound to the client's key, valid for minutes."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable

import msgspec
from joserfc import jwt
from msgspec.json import Decoder

from api.oauth import keys, signatures
from api.oauth.signatures import Seconds, Unusable
from compliance.database import ground

TYPE = "at+jwt"
ALGORITHM = "ES256"
KEPT_TOKENS = 4096


class Confirmation(msgspec.Struct, frozen=True):
    """The key that the token is bound to, by its thumbprint (RFC 9449 section 6.1)."""

    jkt: str


class AccessClaims(msgspec.Struct, frozen=True):
    """The claims of an access token that we look at (RFC 9068 section 2.2)."""

    iss: str
    aud: str
    exp: Seconds
    client_id: str
    scope: str
    cnf: Confirmation


CLAIMS = Decoder(AccessClaims)
verified: OrderedDict[tuple[str | None, bytes], AccessClaims] = OrderedDict()
"""Tokens whose signature was verified, by our key and their digest; the one unused for longest goes first."""


def issue(*, issuer: str, client_id: str, scopes: Iterable[str], thumbprint: str, ttl_seconds: int) -> str:
    """Sign an access token for the key with this thumbprint (RFC 9068, RFC 9449 section 6).

    ES256, because signing it costs a twelfth of PS256; the audience is this server itself.
    """
    key, now = ground().keyring.signing, int(time.time())
    claims = {
        "iss": issuer,
        "aud": issuer,
        "sub": client_id,
        "client_id": client_id,
        "iat": now,
        "exp": now + ttl_seconds,
        "jti": secrets.token_urlsafe(16),
        "scope": " ".join(sorted(scopes)),
        "cnf": {"jkt": thumbprint},
    }
    return jwt.encode({"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


def verify(text: str, digest: bytes, *, issuer: str, now: float) -> AccessClaims:
    """The claims of one of our tokens that is still valid; raises `Unusable`. `digest` is its SHA-256."""
    place = (ground().keyring.signing.kid, digest)
    claims = verified.get(place)
    if claims is None:
        claims = verified[place] = _signed_by_us(text)
        if len(verified) > KEPT_TOKENS:
            verified.popitem(last=False)
    verified.move_to_end(place)
    if claims.iss != issuer or claims.aud != issuer:
        raise Unusable("it is not for this server")
    if claims.exp <= now:
        raise Unusable("it has expired")
    return claims


def _signed_by_us(text: str) -> AccessClaims:
    token = signatures.read(text, CLAIMS, TYPE)
    signatures.verify(token, keys.public_key(ground().keyring.signing.as_dict(private=False)))
    return token.claims
