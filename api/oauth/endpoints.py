"""The addresses of the authorization server: tokens, its description, its public key."""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Reference, RequestBody, Schema

from api import access
from api.oauth import pipeline, server
from api.oauth.checks import client_assertion, form
from api.oauth.pipeline import Endpoint
from api.oauth.scopes import Scope
from api.oauth.signatures import ALGORITHMS
from compliance.database import ground
from compliance.refusals import Refusal

KEYS_PATH = "/.well-known/jwks.json"
KEPT = {"Cache-Control": "public, max-age=300"}
PARAMETERS: dict[str, Reference | Schema] = {
    "grant_type": Schema(type=OpenAPIType.STRING, const=server.GRANT_TYPE),
    "client_assertion_type": Schema(type=OpenAPIType.STRING, const=client_assertion.ASSERTION_TYPE),
    "client_assertion": Schema(
        type=OpenAPIType.STRING, description="A JWT as in RFC 7523; aud is the issuer"
    ),
    "scope": Schema(type=OpenAPIType.STRING, description="Left out: all that the client is registered for"),
}


class TokenAnswer(msgspec.Struct, frozen=True):
    """An access token (RFC 6749 section 5.1, RFC 9449 section 5)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class TokenError(msgspec.Struct, frozen=True):
    """Why there is no token (RFC 6749 section 5.2)."""

    error: str
    error_description: str


class Metadata(msgspec.Struct, frozen=True):
    """What a client has to know of the authorization server (RFC 8414 section 2, RFC 9449 section 5.1)."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    scopes_supported: list[Scope]
    response_types_supported: list[str]
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    token_endpoint_auth_signing_alg_values_supported: list[str]
    dpop_signing_alg_values_supported: list[str]


class PublicKeys(msgspec.Struct, frozen=True):
    """A JWK set (RFC 7517)."""

    keys: list[dict[str, Any]]


@dataclass
class TokenOperation(Operation):
    """Describes the form, which the endpoint reads itself to see what is repeated."""

    def __post_init__(self) -> None:
        required = ["grant_type", "client_assertion_type", "client_assertion"]
        schema = Schema(type=OpenAPIType.OBJECT, properties=PARAMETERS, required=required)
        self.request_body = RequestBody(
            content={form.FORM_TYPE: OpenAPIMediaType(schema=schema)}, required=True
        )


@post(
    server.TOKEN_PATH,
    status_code=200,
    opt=access.public(),
    request_max_body_size=form.MOST_BYTES,
    summary="Get an access token",
    tags=["oauth"],
    operation_class=TokenOperation,
    responses={
        200: ResponseSpec(
            TokenAnswer, description="A token that is bound to the key of the proof", generate_examples=False
        ),
        400: ResponseSpec(
            TokenError,
            description="The request or its proof of possession is refused",
            generate_examples=False,
        ),
        401: ResponseSpec(TokenError, description="The client is not authenticated", generate_examples=False),
    },
)
async def token(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """`client_credentials` with `private_key_jwt` and DPoP; errors as in RFC 6749 section 5.2."""
    try:
        attempt = await pipeline.run(Endpoint.TOKEN, request)
        answer = server.grant(attempt, request.app.state.settings.token_seconds)
    except Refusal as refusal:
        answer = server.refuse(refusal)
    return Response(dict(answer.body), status_code=answer.status, headers=dict(answer.headers))


@get(
    "/.well-known/oauth-authorization-server",
    opt=access.public(),
    summary="Describe the authorization server",
    tags=["oauth"],
)
async def metadata(request: Request[Any, Any, Any]) -> Response[Metadata]:
    """Authorization server metadata (RFC 8414)."""
    issuer = request.app.state.settings.issuer
    described = Metadata(
        issuer=issuer,
        token_endpoint=issuer + server.TOKEN_PATH,
        jwks_uri=issuer + KEYS_PATH,
        scopes_supported=list(Scope),
        response_types_supported=[],
        grant_types_supported=[server.GRANT_TYPE],
        token_endpoint_auth_methods_supported=[server.METHOD],
        token_endpoint_auth_signing_alg_values_supported=list(ALGORITHMS),
        dpop_signing_alg_values_supported=list(ALGORITHMS),
    )
    return Response(described, headers=KEPT)


@get(KEYS_PATH, opt=access.public(), summary="Give the public key of access tokens", tags=["oauth"])
async def public_keys() -> Response[PublicKeys]:
    """The keys that our signatures are verified with (RFC 7517)."""
    key = ground().keyring.signing.as_dict(private=False, use="sig", alg="ES256")
    return Response(PublicKeys([key]), headers=KEPT)


routes: list[HTTPRouteHandler] = [token, metadata, public_keys]
