"""The public keys that clients sign with: three kinds, one algorithm each, nothing weaker."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key
from joserfc.util import urlsafe_b64decode

RSA_BITS = range(2048, 4097)
EXPONENT_BITS_MAX = 32
"""A longer exponent only makes verification slow."""
KEPT_KEYS = 4096
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class KeyUnusable(Exception):
    """The key is not one that we accept; the message says why and repeats nothing of the key."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of key: its one algorithm, its one curve, and its required members in order (RFC 7638 section 3.2)."""

    alg: str
    curve: str | None
    members: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "EC": Kind("ES256", "P-256", ("crv", "x", "y")),
    "OKP": Kind("Ed25519", "Ed25519", ("crv", "x")),
    "RSA": Kind("PS256", None, ("e", "n")),
}
"""FAPI 2.0 Security Profile section 5.4.1."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key, the one algorithm it is used with, and its SHA-256 thumbprint (RFC 7638)."""

    key: Key
    alg: str
    thumbprint: str


def public_key(jwk: Mapping[str, object]) -> PublicKey:
    """Import the public key of a JWK; only its required members count. Raises `KeyUnusable`."""
    if PRIVATE_MEMBERS & jwk.keys():
        raise KeyUnusable("the key holds private members")
    kty = jwk.get("kty")
    kind = KINDS.get(kty) if isinstance(kty, str) else None
    if kind is None or jwk.get("crv") != kind.curve:
        raise KeyUnusable("the key is neither EC P-256, nor RSA, nor OKP Ed25519")
    members = {"kty": str(kty)}
    for name in kind.members:
        value = jwk.get(name)
        if not isinstance(value, str):
            raise KeyUnusable("a member of the key is missing or not text")
        members[name] = value
    return _imported(tuple(members.items()))


@lru_cache(maxsize=KEPT_KEYS)
def _imported(members: tuple[tuple[str, str], ...]) -> PublicKey:
    """Importing costs about as much as verifying a signature, and clients keep their keys."""
    jwk: dict[str, Any] = dict(members)
    try:
        if jwk["kty"] == "RSA":
            _check_rsa(_bits(jwk["n"]), _bits(jwk["e"]))
        key = JWKRegistry.import_key(jwk)
    except (JoseError, ValueError) as error:
        raise KeyUnusable("the key cannot be read") from error
    return PublicKey(key, KINDS[jwk["kty"]].alg, key.thumbprint())


def _check_rsa(modulus_bits: int, exponent_bits: int) -> None:
    if modulus_bits not in RSA_BITS or exponent_bits > EXPONENT_BITS_MAX:
        raise KeyUnusable("an RSA key has 2048 to 4096 bits and an exponent of at most 32")


def _bits(number: str) -> int:
    return int.from_bytes(urlsafe_b64decode(number.encode()), "big").bit_length()
