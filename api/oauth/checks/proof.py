"""Proof of possession: the caller shows for each call that it holds its key (DPoP, RFC 9449)."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import ClassVar
from urllib.parse import urlsplit

import msgspec
from msgspec.json import Decoder

from api.oauth import keys, signatures
from api.oauth.attempt import Attempt, Proof, SingleUse
from api.oauth.keys import KeyUnusable
from api.oauth.signatures import ALGORITHMS, CLOCK_AHEAD_SECONDS, Seconds, Unusable
from compliance.refusals import Refusal

TYPE = "dpop+jwt"
CHALLENGE = f'algs="{" ".join(ALGORITHMS)}"'
AGE_SECONDS = 60
"""How old a proof may be; with the clock's tolerance, a proof counts within 60 s on either side of now."""
LONGEST_ID = 256
DEFAULT_PORTS = {"https": 443, "http": 80}
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


class InvalidDpopProof(Refusal):
    """The proof of possession is missing or wrong (RFC 9449 section 5)."""

    status, code, title = 401, "invalid_dpop_proof", "The proof of possession is missing or wrong"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": f'DPoP error="invalid_dpop_proof", {CHALLENGE}'}


class ProofClaims(msgspec.Struct, frozen=True):
    """The claims of a proof (RFC 9449 section 4.2)."""

    jti: str
    htm: str
    htu: str
    iat: Seconds
    ath: str | None = None
    exp: Seconds | None = None
    nbf: Seconds = 0


CLAIMS = Decoder(ProofClaims)


async def verify(attempt: Attempt) -> None:
    """Verify the proof of this call, where there is one (RFC 9449 section 4.3, items 1 to 11); it can be used once."""
    given = attempt.request.headers.getall("dpop", [])
    attempt.proof = None
    if not given:
        return
    if len(given) != 1:
        raise InvalidDpopProof("exactly one DPoP header is needed")
    try:
        signed = signatures.read(given[0], CLAIMS, TYPE)
        _check_claims(signed.claims, attempt)
        key = keys.public_key(signed.header.jwk or {})
        signatures.verify(signed, key)
    except (Unusable, KeyUnusable) as why:
        raise InvalidDpopProof(f"the proof cannot be used: {why}") from why
    attempt.proof = Proof(key.thumbprint, signed.claims.ath)
    attempt.single_uses.append(_single_use(key.thumbprint, signed.claims))


def _check_claims(claims: ProofClaims, attempt: Attempt) -> None:
    if claims.htm != attempt.request.method:
        raise Unusable("its htm is another method")
    named = normalised(claims.htu)
    if named is None or named not in {normalised(origin + _path(attempt)) for origin in _origins(attempt)}:
        raise Unusable("its htu is another address")
    if claims.iat <= attempt.now - AGE_SECONDS:
        raise Unusable("it is too old")
    if claims.exp is not None and claims.exp <= attempt.now:
        raise Unusable("it has expired")
    if max(claims.iat, claims.nbf) > attempt.now + CLOCK_AHEAD_SECONDS:
        raise Unusable("it is from the future")
    if not 0 < len(claims.jti) <= LONGEST_ID:
        raise Unusable(f"its jti must have 1 to {LONGEST_ID} characters")


def _origins(attempt: Attempt) -> tuple[str, ...]:
    """Where we are reached: as the issuer, and where clients call with a certificate (RFC 8705 section 5)."""
    with_certificate = attempt.settings.mtls_origin
    return (attempt.issuer, with_certificate) if with_certificate else (attempt.issuer,)


def _path(attempt: Attempt) -> str:
    """The path as it was sent. The rest of the address is the configured issuer's, never the Host header's."""
    path: bytes = attempt.request.scope["raw_path"]
    return path.partition(b"?")[0].decode("latin-1")


def normalised(address: str) -> tuple[str, str, int | None, str] | None:
    """Scheme, host, port and path, as RFC 3986 sections 6.2.2 and 6.2.3 make them comparable; None if unusable."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None:
        return None
    path = ESCAPE.sub(_unescaped, parts.path) or "/"
    return parts.scheme, parts.hostname, DEFAULT_PORTS.get(parts.scheme) if port is None else port, path


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if UNRESERVED.match(character) else escape[0].upper()


def _single_use(thumbprint: str, claims: ProofClaims) -> SingleUse:
    # RFC 9449 section 11.1. Ids are unique per key, so that nobody can use up another's.
    key = sha256(f"proof {thumbprint} {claims.jti}".encode()).digest()
    until = datetime.fromtimestamp(claims.iat, UTC) + timedelta(seconds=AGE_SECONDS)
    return SingleUse(key, until, InvalidDpopProof("the proof was used before"))
