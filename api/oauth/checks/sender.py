"""Sender constraint: a token is of use only to whoever holds the key or the certificate it is bound to."""

from base64 import urlsafe_b64encode
from hmac import compare_digest

from api.oauth.attempt import Attempt
from api.oauth.checks.access_token import InvalidToken
from api.oauth.checks.proof import InvalidDpopProof
from api.oauth.tokens import Confirmation


async def bind(attempt: Attempt) -> None:
    """What a new token will be bound to: the proof's key, else the certificate of a client that is registered for it.

    FAPI 2.0 section 5.3.2.1, items 4 and 5.
    """
    if attempt.proof is not None:
        attempt.binding = Confirmation(jkt=attempt.proof.thumbprint)
    elif attempt.certificate is not None and attempt.client.certificate_bound:
        attempt.binding = Confirmation(x5t=attempt.certificate.thumbprint)
    else:
        raise InvalidDpopProof("exactly one DPoP header is needed")


async def match_token(attempt: Attempt) -> None:
    """The call comes from whom its token is bound to."""
    bound_to = attempt.token.cnf if attempt.token else Confirmation()
    if bound_to.jkt:
        _match_proof(attempt, bound_to.jkt)
    if bound_to.x5t and (
        attempt.certificate is None or not compare_digest(attempt.certificate.thumbprint, bound_to.x5t)
    ):
        # RFC 8705 section 3
        raise InvalidToken("the access token is bound to a certificate that this connection does not have")


def _match_proof(attempt: Attempt, thumbprint: str) -> None:
    """The proof is for this token, and by the key the token is bound to (RFC 9449 section 4.3, item 12)."""
    proof = attempt.proof
    if proof is None:
        raise InvalidDpopProof("exactly one DPoP header is needed")
    ath = urlsafe_b64encode(attempt.token_digest).rstrip(b"=").decode()
    if proof.ath != ath:
        raise InvalidDpopProof("the proof is not for this access token")
    if proof.thumbprint != thumbprint:
        raise InvalidDpopProof("the access token is bound to another key")
