"""What a provider signs about somebody who signed in (ID token): believed only if every check holds."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode
from msgspec.json import Decoder

from api.oauth import signatures
from api.oauth.keys import PublicKey
from api.oauth.signatures import Header, Registry, Seconds
from api.sessions import Proof

ALGORITHMS = (*signatures.ALGORITHMS, "RS256")
"""RS256 is what OpenID Connect Core 1.0 section 15.1 makes every provider offer; nothing symmetric, and never `none`."""
OF_KEY = {"ES256": ("ES256",), "Ed25519": ("Ed25519", "EdDSA"), "PS256": ("PS256", "RS256")}
"""Which of them a key may have been used with."""
LONGEST = 16_384
CLOCKS_DIFFER_SECONDS = 60
ISSUED_WITHIN_SECONDS = 600
"""How old a token may be that was asked for a moment ago."""
SUBJECT_LENGTH_MAX = 255
ACR_LENGTH_MAX = 256
REGISTRY = Registry(algorithms=ALGORITHMS, strict_check_header=False)


class NotBelieved(Exception):
    """The token proves nothing; the message says why and repeats nothing of it."""


class Claims(msgspec.Struct, frozen=True):
    """The claims that count (OpenID Connect Core 1.0 section 2)."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: Seconds
    iat: Seconds
    nonce: str
    auth_time: Seconds
    nbf: Seconds = 0
    azp: str | None = None
    acr: str | None = None


HEADER, CLAIMS = Decoder(Header), Decoder(Claims)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token must say."""

    issuer: str
    client_id: str
    nonce: str
    algorithms: frozenset[str]
    """Those that the provider says it signs with."""
    acr: tuple[str, ...]
    proven_since: float
    """The earliest moment at which the person may have proven who they are, in seconds since 1970."""


KeysNamed = Callable[[str | None], Awaitable[Mapping[str, PublicKey]]]


async def believe(text: str, expected: Expected, keys: KeysNamed, now: float) -> Proof:
    """Who signed in, after everything was checked (OpenID Connect Core 1.0 section 3.1.3.7); raises `NotBelieved`."""
    header, claims = _taken_apart(text)
    if header.alg not in ALGORITHMS or header.alg not in expected.algorithms:
        raise NotBelieved("its algorithm is not one that the provider signs with")
    key = _fitting(header, await keys(header.kid))
    try:
        jws.deserialize_compact(text, key.key, registry=REGISTRY)
    except (JoseError, ValueError) as error:
        raise NotBelieved("its signature does not verify") from error
    _check_parties(claims, expected)
    _check_times(claims, expected, now)
    # Who is sure a little later than now is treated as sure now: the clocks differ.
    return Proof(claims.sub, datetime.fromtimestamp(min(claims.auth_time, now), UTC), claims.acr)


def _taken_apart(text: str) -> tuple[Header, Claims]:
    parts = text.split(".")
    if len(text) > LONGEST or len(parts) != 3:
        raise NotBelieved("it is not a compact JWS of a sensible length")
    try:
        header = HEADER.decode(urlsafe_b64decode(parts[0].encode()))
        claims = CLAIMS.decode(urlsafe_b64decode(parts[1].encode()))
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise NotBelieved("its header or its claims are malformed or incomplete") from error
    # RFC 7515 section 4.1.11: what is critical and not understood must be refused; we understand no extension.
    if header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET:
        raise NotBelieved("it needs an extension that is not supported")
    # RFC 8725 section 3.11: another kind of statement by the same signer is no ID token.
    if header.typ.lower().removeprefix("application/") not in ("", "jwt"):
        raise NotBelieved("it is another kind of statement")
    return header, claims


def _fitting(header: Header, known: Mapping[str, PublicKey]) -> PublicKey:
    fitting = [
        key
        for name, key in known.items()
        if header.kid in (None, name) and header.alg in OF_KEY.get(key.alg, ())
    ]
    if len(fitting) != 1:
        raise NotBelieved("no single key of the provider fits its kid and alg")
    return fitting[0]


def _check_parties(claims: Claims, expected: Expected) -> None:
    """By whom, about whom, for whom, and in answer to what."""
    if claims.iss != expected.issuer:
        raise NotBelieved("its issuer is another one")
    # Item 3: a token that is for others too is refused, because we trust no others.
    if claims.aud not in (expected.client_id, [expected.client_id]):
        raise NotBelieved("it is not for us, or not for us alone")
    if claims.azp not in (None, expected.client_id):
        raise NotBelieved("it was issued to another client")
    if not hmac.compare_digest(claims.nonce.encode(errors="replace"), expected.nonce.encode()):
        raise NotBelieved("its nonce is another sign-in's")
    if not (1 <= len(claims.sub) <= SUBJECT_LENGTH_MAX and claims.sub.isascii() and claims.sub.isprintable()):
        raise NotBelieved("its sub is not 1 to 255 ASCII characters")
    if expected.acr and claims.acr not in expected.acr:
        raise NotBelieved("the person did not prove who they are in a way that counts (acr)")
    if claims.acr is not None and not (len(claims.acr) <= ACR_LENGTH_MAX and claims.acr.isprintable()):
        raise NotBelieved("its acr is not a line of text")


def _check_times(claims: Claims, expected: Expected, now: float) -> None:
    if claims.exp <= now - CLOCKS_DIFFER_SECONDS:
        raise NotBelieved("it has expired")
    if max(claims.iat, claims.nbf, claims.auth_time) > now + CLOCKS_DIFFER_SECONDS:
        raise NotBelieved("it is from the future")
    if claims.iat < now - ISSUED_WITHIN_SECONDS:
        raise NotBelieved("it was issued too long ago")
    if claims.auth_time < expected.proven_since - CLOCKS_DIFFER_SECONDS:
        raise NotBelieved("the person proved too long ago who they are (auth_time)")
