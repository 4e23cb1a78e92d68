"""The grant of access tokens: Authlib decides, on values that were proven before; it reads and writes nothing."""

# mypy: disable-error-code="import-untyped, misc, no-untyped-call"
# Authlib ships no types.

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from api.oauth import tokens
from api.oauth.attempt import Attempt
from api.oauth.checks.client_assertion import InvalidClient
from compliance.refusals import Refusal

TOKEN_PATH = "/oauth/token"  # noqa: S105 - an address, not a password
METHOD = "private_key_jwt"
GRANT_TYPE = "client_credentials"

# Authlib writes whole tokens to its log at level DEBUG.
logging.getLogger("authlib").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an OAuth endpoint answers: JSON as in RFC 6749 section 5."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Grantee:
    """The authenticated client as Authlib sees it, with all that its token will say."""

    client_id: str
    scopes: frozenset[str]
    thumbprint: str
    issuer: str
    token_seconds: int

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Every client authenticates in the one way there is, at every endpoint."""
        return method == METHOD and endpoint == "token"

    def check_grant_type(self, grant_type: str) -> bool:
        """Every client may ask in its own name."""
        return grant_type == GRANT_TYPE


class ClientCredentials(ClientCredentialsGrant):
    """A client asks in its own name (RFC 6749 section 4.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = [METHOD]  # noqa: RUF012 - Authlib's own form

    def validate_requested_scope(self) -> None:
        """Nothing beyond what the client is registered for; Authlib would compare with the server's scopes."""
        if not _wanted(self.request.payload.scope, self.client) <= self.client.scopes:
            raise InvalidScopeError


class Server(AuthorizationServer):
    """Authlib's core between values in and an answer out."""

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        """Requests arrive in Authlib's own form."""
        return request

    def handle_response(self, status: int, body: dict[str, Any], headers: list[tuple[str, str]]) -> Answer:
        """Answers leave in ours."""
        return Answer(status, body, dict(headers))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def save_token(self, token: Mapping[str, Any], request: OAuth2Request) -> None:
        """Access tokens are not stored: they are short, bound to a key, and the client's standing is read on each call."""


def grant(attempt: Attempt, token_seconds: int) -> Answer:
    """Answer a token request that passed the checks of its endpoint."""
    request = OAuth2Request("POST", attempt.issuer + TOKEN_PATH)
    request.payload = BasicOAuth2Payload(dict(attempt.form))
    request.client = Grantee(
        attempt.client_id,
        attempt.standing.scopes,
        attempt.proof.thumbprint,
        attempt.issuer,
        token_seconds,
    )
    answer: Answer = SERVER.create_token_response(request)
    return answer


def refuse(refusal: Refusal) -> Answer:
    """Answer a request that a check declined, in the shape of RFC 6749 section 5.2."""
    status = 401 if isinstance(refusal, InvalidClient) else 400
    error = OAuth2Error(error=refusal.code, description=refusal.detail, status_code=status)
    answer: Answer = SERVER.handle_error_response(None, error)
    return answer


def _wanted(scope: str | None, client: Grantee) -> frozenset[str]:
    """The scopes that are asked for; without any, all that the client is registered for (RFC 6749 section 3.3)."""
    return frozenset((scope or "").split()) or client.scopes


def _proven_client(_query: object, request: OAuth2Request) -> Grantee:
    """The checks authenticated the client before Authlib was asked."""
    proven: Grantee = request.client
    return proven


def _token(client: Grantee, scope: str | None, **_: object) -> dict[str, Any]:
    """What the client gets (RFC 6749 section 5.1, RFC 9449 section 5)."""
    scopes = _wanted(scope, client)
    signed = tokens.issue(
        issuer=client.issuer,
        client_id=client.client_id,
        scopes=scopes,
        thumbprint=client.thumbprint,
        ttl_seconds=client.token_seconds,
    )
    return {
        "access_token": signed,
        "token_type": "DPoP",
        "expires_in": client.token_seconds,
        "scope": " ".join(sorted(scopes)),
    }


SERVER = Server()
SERVER.register_client_auth_method(METHOD, _proven_client)
SERVER.register_grant(ClientCredentials)
SERVER.register_token_generator("default", _token)
