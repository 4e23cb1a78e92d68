"""The two custodians of evidence capsules: the installation knows their public keys and nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

FILE, FICTIONAL = "custodians.json", "custodians-fictional.json"
"""The public keys; and, where nobody real is served, the private parts of the fictional custodians."""
CURVE = "P-256"

Custodians = tuple[ECKey, ECKey]


class CustodiansUnusable(Exception):
    """The file does not hold the public keys of two custodians; the message says what is wrong."""


def chosen(key_set: Mapping[str, object]) -> Custodians:
    """Two public P-256 keys from a JWK set (RFC 7517), each with its RFC 7638 thumbprint as `kid`."""
    written = key_set.get("keys")
    if (
        not isinstance(written, list)
        or len(written) != 2
        or not all(isinstance(key, dict) for key in written)
    ):
        raise CustodiansUnusable("give a JWK set with two keys")
    if any("d" in key for key in written):
        raise CustodiansUnusable("a custodian's private key is never given away: give the public part")
    first, second = (_public(key) for key in written)
    if first.kid == second.kid:
        raise CustodiansUnusable("two custodians have a key each, not the same one")
    return first, second


def _public(written: dict[str, str]) -> ECKey:
    try:
        key = ECKey.import_key({name: written[name] for name in ("kty", "crv", "x", "y")})
        if key.curve_name != CURVE:
            raise CustodiansUnusable(f"give keys on the curve {CURVE}")
        return ECKey.import_key(key.as_dict(private=False) | {"kid": key.thumbprint()})
    except (ValueError, KeyError, TypeError, JoseError) as error:
        raise CustodiansUnusable("give public EC keys, whole and of one curve") from error


def fictional() -> Custodians:
    """Two made up on the spot, with their private keys."""
    return ECKey.generate_key(CURVE, auto_kid=True), ECKey.generate_key(CURVE, auto_kid=True)


def written(both: Custodians, *, private: bool) -> bytes:
    """As a JWK set; of the public one `chosen` is the inverse."""
    return json.dumps({"keys": [key.as_dict(private=private) for key in both]}, indent=1).encode()


def are_appointed(folder: Path) -> bool:
    """Whether an installation's custodians are real: what is sealed to made-up ones is open to itself."""
    return (folder / FILE).exists() and not (folder / FICTIONAL).exists()
