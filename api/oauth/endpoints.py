"""The addresses of the authorization server for programs: requests, tokens, and what it says of itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Reference, RequestBody, Schema

from api import access
from api.oauth import (
    authorizations,
    grant_management,
    introspection,
    pipeline,
    registration,
    revocation,
    server,
)
from api.oauth.attempt import Attempt
from api.oauth.authorization_request import DETAIL_TYPE
from api.oauth.checks import client_assertion, form
from api.oauth.checks.authorization_request import ACTIONS, InvalidAuthorizationDetails
from api.oauth.pipeline import Endpoint
from api.oauth.scopes import Scope
from api.oauth.server import Answer
from api.oauth.signatures import ALGORITHMS
from api.problems import RESOURCE_METADATA
from api.settings import Settings
from compliance.database import ground
from compliance.keys import SIGNING_ALGORITHM
from compliance.refusals import Refusal, Unacceptable

AUTHORIZATION_PATH, PAR_PATH = "/oauth/authorize", "/oauth/par"
INTROSPECTION_PATH, REVOCATION_PATH = "/oauth/introspect", "/oauth/revoke"
KEYS_PATH = "/.well-known/jwks.json"
KEPT = {"Cache-Control": "public, max-age=300"}
NO_STORE = {"Cache-Control": "no-store"}
TEXT = Schema(type=OpenAPIType.STRING)
CLIENT: dict[str, Reference | Schema] = {
    "client_assertion_type": Schema(type=OpenAPIType.STRING, const=client_assertion.ASSERTION_TYPE),
    "client_assertion": Schema(
        type=OpenAPIType.STRING, description="A JWT as in RFC 7523; aud is the issuer"
    ),
    "client_id": Schema(type=OpenAPIType.STRING, description="Needed by a client with a certificate"),
}
TOKEN_FORM = CLIENT | {
    "grant_type": Schema(type=OpenAPIType.STRING, enum=list(server.GRANT_TYPES)),
    "scope": Schema(type=OpenAPIType.STRING, description="Left out: all that the client is registered for"),
    "code": TEXT,
    "redirect_uri": TEXT,
    "code_verifier": TEXT,
    "refresh_token": TEXT,
}
PAR_FORM = CLIENT | {
    "response_type": Schema(type=OpenAPIType.STRING, const="code"),
    "redirect_uri": TEXT,
    "scope": TEXT,
    "state": TEXT,
    "code_challenge": TEXT,
    "code_challenge_method": Schema(type=OpenAPIType.STRING, const="S256"),
    "authorization_details": Schema(
        type=OpenAPIType.STRING,
        description=f"JSON (RFC 9396): one object of type {DETAIL_TYPE} with purpose, categories and, if wanted, "
        "template, period_days, data_life_days, calls_per_month, answer",
    ),
    "dpop_jkt": TEXT,
    "grant_management_action": Schema(type=OpenAPIType.STRING, enum=list(ACTIONS)),
    "grant_id": TEXT,
}
ABOUT_A_TOKEN = CLIENT | {"token": TEXT, "token_type_hint": TEXT}


class TokenAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An access token (RFC 6749 section 5.1, RFC 9449 section 5, RFC 9396 section 7)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | None = None
    authorization_details: list[dict[str, Any]] | None = None
    grant_id: str | None = None


class PushedAnswer(msgspec.Struct, frozen=True):
    """Where the person is sent: the authorization endpoint with this (RFC 9126 section 2.2)."""

    request_uri: str
    expires_in: int


class TokenError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why it is refused (RFC 6749 section 5.2)."""

    error: str
    error_description: str | None = None


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client has to know of the authorization server (RFC 8414 section 2 and the extensions named beside)."""

    issuer: str
    authorization_endpoint: str
    pushed_authorization_request_endpoint: str
    require_pushed_authorization_requests: bool  # RFC 9126 section 5
    token_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    jwks_uri: str
    scopes_supported: list[Scope]
    response_types_supported: list[str]
    response_modes_supported: list[str]
    grant_types_supported: list[str]
    code_challenge_methods_supported: list[str]
    authorization_response_iss_parameter_supported: bool  # RFC 9207 section 3
    authorization_details_types_supported: list[str]  # RFC 9396 section 10
    token_endpoint_auth_methods_supported: list[str]
    token_endpoint_auth_signing_alg_values_supported: list[str]
    introspection_endpoint_auth_methods_supported: list[str]
    introspection_endpoint_auth_signing_alg_values_supported: list[str]
    introspection_signing_alg_values_supported: list[str]  # RFC 9701 section 7
    revocation_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_signing_alg_values_supported: list[str]
    dpop_signing_alg_values_supported: list[str]  # RFC 9449 section 5.1
    tls_client_certificate_bound_access_tokens: bool  # RFC 8705 section 3.3
    grant_management_endpoint: str
    grant_management_actions_supported: list[str]
    ui_locales_supported: list[str]
    protected_resources: list[str]  # RFC 9728 section 4
    mtls_endpoint_aliases: dict[str, str] | None = None  # RFC 8705 section 5


class ResourceMetadata(msgspec.Struct, frozen=True):
    """What a client has to know of the protected resource (RFC 9728 section 2)."""

    resource: str
    authorization_servers: list[str]
    scopes_supported: list[Scope]
    bearer_methods_supported: list[str]
    authorization_details_types_supported: list[str]
    dpop_signing_alg_values_supported: list[str]
    tls_client_certificate_bound_access_tokens: bool
    jwks_uri: str


class PublicKeys(msgspec.Struct, frozen=True):
    """A JWK set (RFC 7517)."""

    keys: list[dict[str, Any]]


def _described(fields: dict[str, Reference | Schema], *required: str) -> type[Operation]:
    """An operation whose form the endpoint reads itself, to see what is repeated."""

    @dataclass
    class FormOperation(Operation):
        def __post_init__(self) -> None:
            schema = Schema(type=OpenAPIType.OBJECT, properties=fields, required=list(required))
            self.request_body = RequestBody(
                content={form.FORM_TYPE: OpenAPIMediaType(schema=schema)}, required=True
            )

    return FormOperation


def _answers(status: int, shape: type | None, description: str) -> dict[int, ResponseSpec]:
    return {
        status: ResponseSpec(shape, description=description, generate_examples=False),
        400: ResponseSpec(TokenError, description="The request is refused", generate_examples=False),
        401: ResponseSpec(TokenError, description="The client is not authenticated", generate_examples=False),
        429: ResponseSpec(TokenError, description="Too many calls in this minute", generate_examples=False),
    }


async def _answered(
    request: Request[Any, Any, Any], endpoint: Endpoint, work: Callable[[Attempt], Awaitable[Answer]]
) -> Response[Any]:
    """Do the work of an endpoint if its checks admit the call; a refusal is told as RFC 6749 section 5.2 says."""
    try:
        answer = await work(await pipeline.run(endpoint, request))
    except Unacceptable as refusal:
        what = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in refusal.faults)
        answer = server.refuse(InvalidAuthorizationDetails(what or refusal.detail))
    except Refusal as refusal:
        answer = server.refuse(refusal)
    return Response(
        answer.body,
        status_code=answer.status,
        headers={**NO_STORE, **answer.headers},
        media_type=answer.media_type,
    )


@post(
    PAR_PATH,
    status_code=201,
    opt=access.public(),
    request_max_body_size=form.MOST_BYTES,
    summary="Push an authorization request",
    operation_class=_described(
        PAR_FORM,
        "response_type",
        "redirect_uri",
        "code_challenge",
        "code_challenge_method",
        "authorization_details",
    ),
    responses=_answers(201, PushedAnswer, "Where to send the person"),
)
async def push(request: Request[Any, Any, Any]) -> Response[Any]:
    """Ask for a person's consent (RFC 9126): everything is checked before you send them here with the `request_uri`."""
    return await _answered(request, Endpoint.PAR, _pushed)


async def _pushed(attempt: Attempt) -> Answer:
    async with access.client_act(attempt.caller) as act:
        offered = attempt.settings.offered
        uri = await authorizations.push(act, attempt.client_id, attempt.asked, offered=offered)
    return Answer(201, {"request_uri": uri, "expires_in": authorizations.REQUEST_SECONDS}, {})


@post(
    server.TOKEN_PATH,
    status_code=200,
    opt=access.public(),
    request_max_body_size=form.MOST_BYTES,
    summary="Get an access token",
    operation_class=_described(TOKEN_FORM, "grant_type"),
    responses=_answers(
        200, TokenAnswer, "A token that is bound to the key of the proof, or to the certificate"
    ),
)
async def token(request: Request[Any, Any, Any]) -> Response[Any]:
    """For yourself (`client_credentials`), for what a person agreed to (`authorization_code`), or once more (`refresh_token`)."""
    return await _answered(request, Endpoint.TOKEN, _granted)


REDEEM = {"authorization_code": authorizations.redeem, "refresh_token": authorizations.refresh}


async def _granted(attempt: Attempt) -> Answer:
    redeem = REDEEM.get(attempt.form["grant_type"])
    if redeem is None:
        return server.grant(attempt)
    async with access.client_act(attempt.caller) as act:
        redeemed = await redeem(act, attempt)
        answer = server.grant(attempt, redeemed)
        if redeemed and answer.status != 200:
            raise server.TokenRefused(answer)
    return answer


@post(
    INTROSPECTION_PATH,
    status_code=200,
    opt=access.public(),
    request_max_body_size=form.MOST_BYTES,
    summary="See how a token stands",
    operation_class=_described(ABOUT_A_TOKEN, "token"),
    responses=_answers(200, dict[str, Any], "`active`, and what the token says while it is (RFC 7662)"),
)
async def introspect(request: Request[Any, Any, Any]) -> Response[Any]:
    """How one of your tokens stands now; signed (RFC 9701) if you accept `application/token-introspection+jwt`."""
    return await _answered(request, Endpoint.INTROSPECTION, _introspected)


async def _introspected(attempt: Attempt) -> Answer:
    told = await introspection.access_token(attempt)
    if told is None:
        async with access.client_view(attempt.caller) as view:
            told = await introspection.refresh_token(view, attempt)
    if introspection.SIGNED_TYPE in attempt.request.headers.get("accept", ""):
        return Answer(200, introspection.signed(told, attempt), {}, introspection.SIGNED_TYPE)
    return Answer(200, told, {})


@post(
    REVOCATION_PATH,
    status_code=200,
    opt=access.public(),
    request_max_body_size=form.MOST_BYTES,
    summary="Give a token back",
    operation_class=_described(ABOUT_A_TOKEN, "token"),
    responses=_answers(200, dict[str, Any], "It counts no more, or never did (RFC 7009)"),
)
async def revoke(request: Request[Any, Any, Any]) -> Response[Any]:
    """A refresh token takes with it whatever was issued from it; the person's consent stands."""
    return await _answered(request, Endpoint.REVOCATION, _revoked)


async def _revoked(attempt: Attempt) -> Answer:
    async with access.client_view(attempt.caller) as view:
        found = await revocation.find(view, attempt)
    if found is not None:
        async with access.client_act(attempt.caller) as act:
            await revocation.revoke(act, found)
    return Answer(200, {}, {})


@get(
    "/.well-known/oauth-authorization-server",
    opt=access.public(),
    summary="Describe the authorization server",
)
async def metadata(request: Request[Any, Any, Any]) -> Response[Metadata]:
    """Authorization server metadata (RFC 8414)."""
    settings: Settings = request.app.state.settings
    issuer, algorithms = settings.issuer, list(ALGORITHMS)
    methods = list(registration.METHODS if settings.trusted_proxies else registration.METHODS[:1])
    described = Metadata(
        issuer=issuer,
        authorization_endpoint=issuer + AUTHORIZATION_PATH,
        pushed_authorization_request_endpoint=issuer + PAR_PATH,
        require_pushed_authorization_requests=True,
        token_endpoint=issuer + server.TOKEN_PATH,
        introspection_endpoint=issuer + INTROSPECTION_PATH,
        revocation_endpoint=issuer + REVOCATION_PATH,
        jwks_uri=issuer + KEYS_PATH,
        scopes_supported=list(Scope),
        response_types_supported=["code"],
        response_modes_supported=["query"],
        grant_types_supported=list(server.GRANT_TYPES),
        code_challenge_methods_supported=["S256"],
        authorization_response_iss_parameter_supported=True,
        authorization_details_types_supported=[DETAIL_TYPE],
        token_endpoint_auth_methods_supported=methods,
        token_endpoint_auth_signing_alg_values_supported=algorithms,
        introspection_endpoint_auth_methods_supported=methods,
        introspection_endpoint_auth_signing_alg_values_supported=algorithms,
        introspection_signing_alg_values_supported=[SIGNING_ALGORITHM],
        revocation_endpoint_auth_methods_supported=methods,
        revocation_endpoint_auth_signing_alg_values_supported=algorithms,
        dpop_signing_alg_values_supported=algorithms,
        tls_client_certificate_bound_access_tokens=bool(settings.trusted_proxies),
        grant_management_endpoint=issuer + grant_management.PATH,
        grant_management_actions_supported=["query", "revoke", *ACTIONS],
        ui_locales_supported=["zh-CN", "en"],
        protected_resources=[issuer],
        mtls_endpoint_aliases=_aliases(settings.mtls_origin) if settings.mtls_origin else None,
    )
    return Response(described, headers=KEPT)


def _aliases(origin: str) -> dict[str, str]:
    """Where the same endpoints are reached with a certificate."""
    return {
        "pushed_authorization_request_endpoint": origin + PAR_PATH,
        "token_endpoint": origin + server.TOKEN_PATH,
        "introspection_endpoint": origin + INTROSPECTION_PATH,
        "revocation_endpoint": origin + REVOCATION_PATH,
        "grant_management_endpoint": origin + grant_management.PATH,
    }


@get(RESOURCE_METADATA, opt=access.public(), summary="Describe the protected resource")
async def resource_metadata(request: Request[Any, Any, Any]) -> Response[ResourceMetadata]:
    """Protected resource metadata (RFC 9728)."""
    settings: Settings = request.app.state.settings
    described = ResourceMetadata(
        resource=settings.issuer,
        authorization_servers=[settings.issuer],
        scopes_supported=list(Scope),
        bearer_methods_supported=["header"],
        authorization_details_types_supported=[DETAIL_TYPE],
        dpop_signing_alg_values_supported=list(ALGORITHMS),
        tls_client_certificate_bound_access_tokens=bool(settings.trusted_proxies),
        jwks_uri=settings.issuer + KEYS_PATH,
    )
    return Response(described, headers=KEPT)


@get(KEYS_PATH, opt=access.public(light=True), summary="Give the public keys of what we sign")
async def public_keys() -> Response[PublicKeys]:
    """The keys that our signatures are verified with (RFC 7517)."""
    public = ground().keyring.published()
    keys = [key.as_dict(private=False, use="sig", alg=SIGNING_ALGORITHM) for key in public]
    return Response(PublicKeys(keys), headers=KEPT)


routes: list[HTTPRouteHandler] = [
    push,
    token,
    introspect,
    revoke,
    *grant_management.routes,
    metadata,
    resource_metadata,
    public_keys,
]
