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


def fictional() -> tuple[bytes, bytes]:
    """The files of two custodians made up on the spot: the public keys, and the private ones."""
    made = [ECKey.generate_key(CURVE, auto_kid=True) for _ in range(2)]
    public = {"keys": [key.as_dict(private=False) for key in made]}
    return json.dumps(public, indent=1).encode(), json.dumps(
        {"keys": [key.as_dict(private=True) for key in made]}, indent=1
    ).encode()


def are_appointed(folder: Path) -> bool:
    """Whether an installation's custodians are real: what is sealed to made-up ones is open to itself."""
    return (folder / FILE).exists() and not (folder / FICTIONAL).exists()
