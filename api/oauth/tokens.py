"""Access tokens: signed by us, bound to the client's key or certificate, valid for minutes."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from msgspec.json import Decoder

from api.oauth import keys, signatures
from api.oauth.signatures import Seconds, Unusable
from compliance import ids
from compliance.database import ground
from compliance.vocabulary import GrantId

TYPE = "at+jwt"
KEPT_TOKENS = 4096
LONGEST_SECONDS = 900
"""No token of ours lives longer, whoever signed it."""


class Confirmation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the token is bound to: the thumbprint of a key (RFC 9449 section 6.1) or certificate (RFC 8705 section 3.1)."""

    jkt: str | None = None
    x5t: str | None = msgspec.field(default=None, name="x5t#S256")

    @property
    def token_type(self) -> str:
        """How the token is presented (RFC 9449 section 5, RFC 8705 section 3)."""
        return "DPoP" if self.jkt else "Bearer"


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a person agreed to, as a token tells it. `details` is RFC 9396; `until` is the end of the consent."""

    authorization: UUID
    grant: GrantId
    subject: str
    details: list[dict[str, Any]]
    until: datetime


class AccessClaims(msgspec.Struct, frozen=True):
    """The claims of an access token that we look at (RFC 9068 section 2.2)."""

    iss: str
    aud: str
    sub: str
    exp: Seconds
    iat: Seconds
    jti: str
    client_id: str
    scope: str
    cnf: Confirmation
    authorization_id: str | None = None
    grant_id: str | None = None
    authorization_details: list[dict[str, Any]] | None = None

    @property
    def key(self) -> bytes:
        """What the token's revocation is noted under; its text would not do, one token has several spellings."""
        return sha256(f"token {self.jti}".encode()).digest()

    @property
    def authorization(self) -> UUID | None:
        """Which authorization it was issued from, if a person stands behind it."""
        return ids.private("aut", self.authorization_id) if self.authorization_id else None


CLAIMS = Decoder(AccessClaims)
verified: OrderedDict[tuple[str | None, bytes], AccessClaims] = OrderedDict()
"""Tokens whose signature was verified, by our key and their digest; the one unused for longest goes first."""


def issue(
    *,
    issuer: str,
    client_id: str,
    scopes: Iterable[str],
    binding: Confirmation,
    ttl_seconds: int,
    delegation: Delegation | None = None,
) -> str:
    """Sign an access token bound to a key or certificate (RFC 9068), for the client itself or for what a person agreed to.

    ES256, because signing it costs a twelfth of PS256; the audience is this server itself.
    """
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": issuer,
        "sub": client_id,
        "client_id": client_id,
        "iat": now,
        "exp": now + ttl_seconds,
        "jti": secrets.token_urlsafe(16),
        "scope": " ".join(sorted(scopes)),
        "cnf": msgspec.to_builtins(binding),
    }
    if delegation:
        claims |= {
            "sub": delegation.subject,
            "authorization_id": ids.public("aut", delegation.authorization),
            "grant_id": ids.public("gnt", delegation.grant),
            "authorization_details": delegation.details,
        }
    return ground().keyring.sign(TYPE, claims)


def verify(text: str, digest: bytes, *, issuer: str, now: float) -> AccessClaims:
    """The claims of one of our tokens that has not expired; raises `Unusable`. `digest` is its SHA-256."""
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
    if claims.exp > now + LONGEST_SECONDS:
        raise Unusable("it lives too long to be ours")
    return claims


def of_client(text: str, client_id: str, *, issuer: str, now: float) -> AccessClaims | None:
    """The claims of an access token that was issued to this client and has not expired; None for anything else."""
    try:
        claims = verify(text, sha256(text.encode()).digest(), issuer=issuer, now=now)
    except Unusable:
        return None
    return claims if claims.client_id == client_id else None


def _signed_by_us(text: str) -> AccessClaims:
    token = signatures.read(text, CLAIMS, TYPE)
    key = ground().keyring.verification_key(token.header.kid or "")
    if key is None:
        raise Unusable("it is signed with no key of ours")
    signatures.verify(token, keys.public_key(key.as_dict(private=False)))
    if not (token.claims.cnf.jkt or token.claims.cnf.x5t):
        raise Unusable("it is bound to nothing")
    return token.claims
