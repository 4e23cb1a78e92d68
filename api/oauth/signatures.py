"""Signed statements (compact JWS of JSON objects): taken apart strictly, verified with the algorithms we allow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode
from msgspec import UNSET
from msgspec.json import Decoder

from api.oauth.keys import PublicKey

ALGORITHMS = ("ES256", "PS256", "EdDSA", "Ed25519")
"""FAPI 2.0 Security Profile section 5.4.1; "Ed25519" is the present name of what was "EdDSA" (RFC 9864)."""
LONGEST = 4096
"""Characters of a signed statement."""
CLOCK_AHEAD_SECONDS = 60
"""How far a client's clock may run ahead of ours: 10 s must be accepted, more than 60 s must not (FAPI 2.0, 5.3.2.1)."""

Seconds = int | float
"""Seconds since the epoch (NumericDate, RFC 7519 section 2)."""
Claims = TypeVar("Claims")


class Unusable(Exception):
    """The statement cannot be relied on; the message says why and repeats nothing of it."""


class Header(msgspec.Struct, frozen=True):
    """The protected header; what is not named here is ignored (RFC 7515 section 4)."""

    alg: str
    typ: str = ""
    kid: str | None = None
    jwk: dict[str, Any] | None = None
    crit: Any = UNSET
    b64: Any = UNSET


class Registry(JWSRegistry):
    """The library's verification, with room for an RSA key in the header and both names of Ed25519."""

    max_header_length = LONGEST

    def get_alg(self, name: str) -> Any:
        """The algorithm, by either of its names."""
        return super().get_alg(current_name(name))


HEADER = Decoder(Header)
REGISTRY = Registry(algorithms=ALGORITHMS, strict_check_header=False)


@dataclass(frozen=True, slots=True)
class Signed(Generic[Claims]):
    """A statement taken apart; nothing in it counts before `verify`."""

    text: str
    header: Header
    claims: Claims


def current_name(alg: str) -> str:
    """The algorithm under its present name (RFC 9864)."""
    return "Ed25519" if alg == "EdDSA" else alg


def read(text: str, claims: Decoder[Claims], kind: str | None = None) -> Signed[Claims]:
    """Take a statement of a kind (`typ`; None: any) apart without verifying it; raises `Unusable`."""
    if len(text) > LONGEST:
        raise Unusable("it is too long")
    parts = text.split(".")
    if len(parts) != 3:
        raise Unusable("it is not a compact JWS")
    try:
        header = HEADER.decode(urlsafe_b64decode(parts[0].encode()))
        payload = claims.decode(urlsafe_b64decode(parts[1].encode()))
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Unusable("its header or its claims are malformed or incomplete") from error
    # RFC 7515 section 4.1.11: what is critical and not understood must be refused; we understand no extension.
    if header.crit is not UNSET or header.b64 is not UNSET:
        raise Unusable("it needs an extension that is not supported")
    if header.alg not in ALGORITHMS:
        raise Unusable(f"its algorithm is none of {' '.join(ALGORITHMS)}")
    # RFC 7515 section 4.1.9: the prefix of a media type may be left out.
    if kind is not None and header.typ.lower().removeprefix("application/") != kind:
        raise Unusable(f"its typ is not {kind}")
    return Signed(text, header, payload)


def key_of(signed: Signed[Any], known: Mapping[str, PublicKey]) -> PublicKey | None:
    """The key, among those known by their ids, that the statement names; without a name, the only one that fits its alg."""
    alg, kid = current_name(signed.header.alg), signed.header.kid
    fitting = [key for name, key in known.items() if key.alg == alg and kid in (None, name)]
    return fitting[0] if len(fitting) == 1 else None


def verify(signed: Signed[Any], key: PublicKey) -> None:
    """Verify the signature; also the algorithm must be one for this kind of key. Raises `Unusable`."""
    try:
        jws.deserialize_compact(signed.text, key.key, registry=REGISTRY)
    except (JoseError, ValueError) as error:
        raise Unusable("its signature does not verify with the key") from error
