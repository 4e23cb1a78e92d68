"""The grant of access tokens: Authlib decides, on values that were proven before; it reads and writes nothing."""

# mypy: disable-error-code="import-untyped, misc, no-untyped-call"
# Authlib ships no types.

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidScopeError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge

from api.oauth import tokens
from api.oauth.attempt import Attempt
from api.oauth.authorizations import Redeemed
from api.oauth.checks.client_assertion import InvalidClient
from api.oauth.checks.rate import RateLimited
from api.oauth.tokens import Confirmation
from compliance.refusals import Refusal

TOKEN_PATH = "/oauth/token"  # noqa: S105 - an address, not a password
GRANT_TYPES = ("authorization_code", "client_credentials", "refresh_token")
PROVEN = "proven"
"""How Authlib calls the authentication that the checks did."""
NOT_IN_AN_ERROR = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
"""What may not stand in an error's description (RFC 6749 section 5.2)."""

# Authlib writes whole tokens to its log at level DEBUG.
logging.getLogger("authlib").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an OAuth endpoint answers: `body` is JSON as in RFC 6749 section 5, or the text of a signed statement."""

    status: int
    body: Any
    headers: Mapping[str, str]
    media_type: str = "application/json"


class TokenRefused(Refusal):
    """Authlib declined a code or a refresh token that exists: what was done about it is undone."""

    status, code, title = 400, "token_refused", "The token request is refused"

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.body.get("error_description", answer.body["error"])))
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Grantee:
    """The authenticated client as Authlib sees it, with all that its token will say.

    `redeemed` is what its code or refresh token stands for, where it presented one that counts.
    """

    client_id: str
    scopes: frozenset[str]
    binding: Confirmation
    issuer: str
    token_seconds: int
    now: float
    redeemed: Redeemed | None

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """The checks authenticated the client in the one way that it is registered for."""
        return method == PROVEN and endpoint == "token"

    def check_grant_type(self, grant_type: str) -> bool:
        """Every client may ask in its own name, and in a person's with a code."""
        return grant_type in GRANT_TYPES


class ClientCredentials(ClientCredentialsGrant):
    """A client asks in its own name (RFC 6749 section 4.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = [PROVEN]  # noqa: RUF012 - Authlib's own form

    def validate_requested_scope(self) -> None:
        """Nothing beyond what the client is registered for; Authlib would compare with the server's scopes."""
        if not _wanted(self.request.payload.scope, self.client) <= self.client.scopes:
            raise InvalidScopeError


class AuthorizationCode(AuthorizationCodeGrant):
    """A client presents the code of a person's yes (RFC 6749 section 4.1.3); it was consumed before Authlib is asked."""

    TOKEN_ENDPOINT_AUTH_METHODS = [PROVEN]  # noqa: RUF012 - Authlib's own form

    def query_authorization_code(self, _code: str, client: Grantee) -> Redeemed | None:
        """What the code stands for; none where it does not count."""
        return client.redeemed

    def authenticate_user(self, code: Redeemed) -> str:
        """Who said yes."""
        return code.delegation.subject

    def delete_authorization_code(self, _code: Redeemed) -> None:
        """It counts no more already."""


class RefreshToken(RefreshTokenGrant):
    """A client asks for a fresh access token (RFC 6749 section 6); the refresh token stays (FAPI 2.0, 5.3.2.1, 9)."""

    TOKEN_ENDPOINT_AUTH_METHODS = [PROVEN]  # noqa: RUF012 - Authlib's own form

    def authenticate_refresh_token(self, _refresh_token: str) -> Redeemed | None:
        """What the refresh token stands for; none where it does not count."""
        redeemed: Redeemed | None = self.request.client.redeemed
        return redeemed

    def authenticate_user(self, refresh_token: Redeemed) -> str:
        """Who said yes."""
        return refresh_token.delegation.subject

    def revoke_old_credential(self, _refresh_token: Redeemed) -> None:
        """No rotation."""


class TokenRequest(OAuth2Request):
    """A request whose form was read before."""

    @property
    def form(self) -> Mapping[str, str]:
        """The parameters."""
        data: Mapping[str, str] = self.payload.data
        return data


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
        """Access tokens are not stored: they are short, bound, and how they stand is read on each call."""


def grant(attempt: Attempt, redeemed: Redeemed | None = None) -> Answer:
    """Answer a token request that passed the checks of its endpoint."""
    request = TokenRequest("POST", attempt.issuer + TOKEN_PATH)
    request.payload = BasicOAuth2Payload(dict(attempt.form))
    request.client = Grantee(
        attempt.client_id,
        attempt.standing.scopes,
        attempt.binding,
        attempt.issuer,
        attempt.settings.token_seconds,
        attempt.now,
        redeemed,
    )
    answer: Answer = SERVER.create_token_response(request)
    return answer


def refuse(refusal: Refusal) -> Answer:
    """Answer a request that a check declined, in the shape of RFC 6749 section 5.2."""
    if isinstance(refusal, TokenRefused):
        return refusal.answer
    status = refusal.status if isinstance(refusal, InvalidClient | RateLimited) else 400
    description = NOT_IN_AN_ERROR.sub("?", refusal.detail)
    error = OAuth2Error(error=refusal.code, description=description, status_code=status)
    answer: Answer = SERVER.handle_error_response(None, error)
    headers: dict[str, str] = getattr(refusal, "headers", {})
    wait = {name: value for name, value in headers.items() if name == "Retry-After"}
    return Answer(answer.status, answer.body, {**answer.headers, **wait})


def _wanted(scope: str | None, client: Grantee) -> frozenset[str]:
    """The scopes that are asked for; without any, all that the client is registered for (RFC 6749 section 3.3)."""
    return frozenset((scope or "").split()) or client.scopes


def _within(scope: str | None, granted: frozenset[str]) -> frozenset[str]:
    """The scopes that are asked for among those granted; without any, all of them."""
    return frozenset((scope or "").split()) & granted or granted


def _proven_client(_query: object, request: OAuth2Request) -> Grantee:
    """The checks authenticated the client before Authlib was asked."""
    proven: Grantee = request.client
    return proven


def _token(client: Grantee, scope: str | None, **_: object) -> dict[str, Any]:
    """What the client gets (RFC 6749 section 5.1, RFC 9449 section 5, RFC 9396 section 7)."""
    redeemed = client.redeemed
    scopes, seconds = _wanted(scope, client), client.token_seconds
    if redeemed:
        # At most what the person's yes was to, and not what was taken from the client since.
        scopes = _within(scope, redeemed.scopes) & client.scopes
        seconds = max(1, min(seconds, int(redeemed.delegation.until.timestamp() - client.now)))
    signed = tokens.issue(
        issuer=client.issuer,
        client_id=client.client_id,
        scopes=scopes,
        binding=client.binding,
        ttl_seconds=seconds,
        delegation=redeemed.delegation if redeemed else None,
    )
    answer: dict[str, Any] = {
        "access_token": signed,
        "token_type": client.binding.token_type,
        "expires_in": seconds,
        "scope": " ".join(sorted(scopes)),
    }
    if redeemed:
        answer["authorization_details"] = redeemed.delegation.details
        answer["grant_id"] = redeemed.delegation.details[0]["grant_id"]
        if redeemed.refresh_token:
            answer["refresh_token"] = redeemed.refresh_token
    return answer


SERVER = Server()
SERVER.register_client_auth_method(PROVEN, _proven_client)
SERVER.register_grant(ClientCredentials)
SERVER.register_grant(AuthorizationCode, [CodeChallenge(required=True)])
SERVER.register_grant(RefreshToken)
SERVER.register_token_generator("default", _token)
