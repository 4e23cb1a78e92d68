"""Sets of public keys (JWK sets, RFC 7517): what counts of a set that a client registers."""

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import OctKey

from api.oauth import keys, signatures
from api.oauth.keys import KeyUnusable
from compliance.refusals import Fault

KEY_ID = re.compile(r"[\x21-\x7e]{1,128}")
MOST_KEYS = 8
LONGEST_CERTIFICATE = 16_384
"""Characters of a certificate in base64."""
THUMBPRINT = "x5t#S256"
"""The member that names a certificate by its SHA-256 (RFC 7517 section 4.9)."""

KeySet = Mapping[str, Mapping[str, str]]
"""Keys by key id: of each the members that count, and nothing else."""


def accept(jwks: object, faults: list[Fault], *, certified: bool = False) -> KeySet:
    """The keys as they are stored; what is wrong with the set is added to `faults`, by pointer.

    Each is EC P-256, RSA of 2048 to 4096 bits, or Ed25519, and each key id is there once. `certified`: each key comes
    with its certificate (`x5c`), of which the thumbprint is stored (RFC 8705 section 2.2.2).
    """
    given = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(given, list) or not 0 < len(given) <= MOST_KEYS:
        faults.append(Fault("/jwks/keys", "malformed", f"give 1 to {MOST_KEYS} keys"))
        return {}
    accepted: dict[str, dict[str, str]] = {}
    for position, jwk in enumerate(given):
        try:
            key = signing_key(jwk)
            if certified:
                key[THUMBPRINT] = _thumbprint(jwk)
        except KeyUnusable as why:
            faults.append(Fault(f"/jwks/keys/{position}", "key_unusable", str(why)))
            continue
        if key["kid"] in accepted:
            # FAPI 2.0 section 5.4.1 and RFC 7517 section 4.5: a key id names one key.
            faults.append(Fault(f"/jwks/keys/{position}/kid", "key_id_repeated", "give each key its own kid"))
        accepted[key["kid"]] = key
    return accepted


def signing_key(jwk: object) -> dict[str, str]:
    """A key for signatures, with the members that count; raises `KeyUnusable`. Without a kid it gets its thumbprint."""
    if not isinstance(jwk, dict):
        raise KeyUnusable("a key is a JSON object")
    key = keys.public_key(jwk)
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise KeyUnusable("the key is not for signatures")
    if signatures.current_name(str(jwk.get("alg", key.alg))) != key.alg:
        raise KeyUnusable(f"this kind of key is used with {key.alg} only")
    kid = jwk.get("kid", key.thumbprint)
    if not isinstance(kid, str) or KEY_ID.fullmatch(kid) is None:
        raise KeyUnusable("a kid is 1 to 128 visible ASCII characters")
    members = ("kty", *keys.KINDS[jwk["kty"]].members)
    return {m: str(jwk[m]) for m in members} | {"kid": kid, "alg": key.alg, "use": "sig"}


def _thumbprint(jwk: Mapping[str, object]) -> str:
    """The x5t#S256 of the certificate that comes with the key, and is of this key (RFC 7517 section 4.7)."""
    chain = jwk.get("x5c")
    text = chain[0] if isinstance(chain, list) and chain else None
    if not isinstance(text, str) or len(text) > LONGEST_CERTIFICATE:
        raise KeyUnusable("the key comes without its certificate (x5c)")
    try:
        der = b64decode(text, validate=True)
        certified = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise KeyUnusable("its certificate (x5c) is not DER in base64") from error
    spki = certified.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = keys.public_key(jwk).key
    if isinstance(key, OctKey) or key.as_der(private=False) != spki:
        raise KeyUnusable("its certificate (x5c) is of another key")
    return urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()
