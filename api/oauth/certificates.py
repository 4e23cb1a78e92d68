"""Client certificates: shown by the proxy that ends TLS (RFC 9440), judged here and not by the proxy's word."""

import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from litestar import Request

from api.settings import Settings

HEADER, CHAIN_HEADER = "client-cert", "client-cert-chain"
LONGEST = 16_384
"""Bytes of one certificate."""
MOST_INTERMEDIATES = 5
RSA_BITS_MIN, CURVE_BITS_MIN = 2048, 256
KEPT_CERTIFICATES = 256
KEPT_SECONDS = 300


class CertificateUnusable(Exception):
    """The certificate that was presented is not one that we look at; the message repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of a connection, whose key the client holds: the TLS handshake proved that.

    `thumbprint`: x5t#S256 (RFC 8705 section 3.1); `subject`: RFC 4514; `trusted`: for clients, by our authorities.
    """

    thumbprint: str
    subject: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class _Examined:
    certificate: Certificate
    valid_from: datetime
    valid_until: datetime


def presented(request: Request[Any, Any, Any]) -> Certificate | None:
    """The certificate of the connection, if one was used; raises `CertificateUnusable`.

    Only a trusted proxy can tell; from anybody else the headers are ignored (RFC 9440 section 4). A self-signed
    certificate is not trusted, and still tells one client from another (RFC 8705 section 2.2).
    """
    settings: Settings = request.app.state.settings
    hop = request.scope["client"]
    if hop is None or hop[0] not in settings.trusted_proxies:
        return None
    leaf, chain = request.headers.getall(HEADER, []), request.headers.getall(CHAIN_HEADER, [])
    if not leaf and not chain:
        return None
    if len(leaf) != 1:
        raise CertificateUnusable("exactly one certificate of the client is needed")
    examined = _examine(
        _bytes(leaf[0]), _intermediates(chain), settings.client_ca, int(time.time()) // KEPT_SECONDS
    )
    # Also for a self-signed certificate: its client said itself how long it counts.
    if not examined.valid_from <= datetime.now(UTC) <= examined.valid_until:
        raise CertificateUnusable("it has expired or is not valid yet")
    return examined.certificate


def _intermediates(lines: Sequence[str]) -> tuple[bytes, ...]:
    """RFC 9440 section 2.3: a list, which may be spread over several lines (RFC 8941 section 4.2)."""
    if not lines:
        return ()
    items = ",".join(lines).split(",", MOST_INTERMEDIATES)
    if len(items) > MOST_INTERMEDIATES:
        raise CertificateUnusable(f"its chain has more than {MOST_INTERMEDIATES} certificates")
    return tuple(_bytes(item) for item in items)


def _bytes(item: str) -> bytes:
    """A byte sequence (RFC 8941 section 3.3.5), without parameters: RFC 9440 defines none."""
    text = item.strip(" \t")
    try:
        der = b64decode(text[1:-1], validate=True) if text[:1] == text[-1:] == ":" else b""
    except ValueError:
        der = b""
    if not 0 < len(der) <= LONGEST:
        raise CertificateUnusable(f"it is not one byte sequence of at most {LONGEST} bytes")
    return der


@lru_cache(maxsize=KEPT_CERTIFICATES)
def _examine(der: bytes, chain: tuple[bytes, ...], authorities: Path | None, _period: int) -> _Examined:
    """Clients keep their certificates; what was found out counts until the period ends."""
    leaf, intermediates = _parsed(der), [_parsed(one) for one in chain]
    try:
        key, subject = leaf.public_key(), leaf.subject.rfc4514_string()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable("its key or its subject cannot be read") from error
    if not _is_strong(key):
        raise CertificateUnusable(
            f"its key is weak or unusual: RSA of {RSA_BITS_MIN} bits, P-256, Ed25519 or stronger"
        )
    thumbprint = urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()
    certificate = Certificate(thumbprint, subject, _is_trusted(leaf, intermediates, authorities))
    return _Examined(certificate, leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def _parsed(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateUnusable("it is not a certificate in DER") from error


def _is_strong(key: object) -> bool:
    """FAPI 2.0 section 5.4.1: RSA of at least 2048 bits; the curves that are in use have at least 256."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= RSA_BITS_MIN
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size >= CURVE_BITS_MIN
    return isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)


def _is_trusted(
    leaf: x509.Certificate, intermediates: list[x509.Certificate], authorities: Path | None
) -> bool:
    """Whether one of our authorities vouches for it as a client's, at this moment (RFC 5280 section 6)."""
    if authorities is None:
        return False
    verifier = (
        PolicyBuilder()
        .store(Store(x509.load_pem_x509_certificates(authorities.read_bytes())))
        .max_chain_depth(MOST_INTERMEDIATES)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_client_policy())
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, intermediates)
    except VerificationError:
        return False
    return True


def _client_policy() -> ExtensionPolicy:
    """Clients are told apart by their subject, so no alternative name is demanded of them."""
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_purpose)
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_no_authority)
    )


def _check_purpose(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("the certificate is not for clients")


def _check_no_authority(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("the certificate is an authority's")
