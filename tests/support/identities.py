"""Certificates and their keys, of authorities, servers and clients."""

from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
DAY = timedelta(days=1)
NOTHING_ELSE = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@dataclass(frozen=True)
class Identity:
    """A certificate and the key that it is about."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def thumbprint(self) -> str:
        """The certificate's x5t#S256 (RFC 8705 section 3.1)."""
        return urlsafe_b64encode(sha256(self.der).digest()).decode().rstrip("=")

    @property
    def header(self) -> str:
        """As a proxy writes it (RFC 9440 section 2.1)."""
        return f":{b64encode(self.der).decode()}:"

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def written(self, file: Path) -> Path:
        """The certificate and the key in one file of PEM."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(self.certificate_pem + key)
        return file


def certify(
    subject: str,
    by: Identity | None = None,
    *,
    authority: bool = False,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    usage: x509.ObjectIdentifier | None = CLIENT,
    begins: timedelta = -DAY,
    ends: timedelta = DAY,
    alternative: x509.GeneralName | None = None,
) -> Identity:
    """A fresh certificate for an RFC 4514 subject, signed by another one or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name, signer, now = x509.Name.from_rfc4514_string(subject), by.key if by else key, datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by.certificate.subject if by else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                **NOTHING_ELSE,
            ),
            critical=True,
        )
    )
    if usage and not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    return Identity(builder.sign(signer, hashes.SHA256()), key)
