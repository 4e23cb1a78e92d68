"""The client's certificate: which one the connection was made with, if any (RFC 8705)."""

from api.oauth import certificates
from api.oauth.attempt import Attempt
from api.oauth.certificates import CertificateUnusable
from api.oauth.checks.form import InvalidRequest


async def read(attempt: Attempt) -> None:
    """Note the certificate; whether one is needed, and which, is for later checks to say."""
    try:
        attempt.certificate = certificates.presented(attempt.request)
    except CertificateUnusable as why:
        raise InvalidRequest(f"the client certificate cannot be used: {why}") from why
