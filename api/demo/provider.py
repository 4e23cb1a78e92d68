"""A small OpenID Connect provider for development: it signs fictional people in by name and password, and nobody real."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote_plus, urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State

from api import passwords, serving, sessions
from api.oauth.authorizations import RequestUnusable
from api.oidc import discovery
from api.oidc.relying_party import RETURN_PATH
from api.passwords import SignInRefused
from api.settings import Provider, Settings, SettingUnusable
from api.web import failures, page, problem_pages, static_files
from compliance import database as databases
from compliance.act import open_view
from compliance.database import ground
from compliance.refusals import Fault
from compliance.vocabulary import Worker
from consent import people

AUTHORIZE, TOKEN, KEYS = "/authorize", "/token", "/keys"
PROVIDER = Worker("development_provider")
CODE_SECONDS, TOKEN_SECONDS = 60, 300
WAITING_MAX = 1_000
"""Codes and assertions remembered; the oldest are forgotten first."""
FORM_BYTES_MAX = 8_192
LENGTH_MAX = 512
ASKED = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
)
AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """What a code stands for."""

    subject: str
    nonce: str
    challenge: str
    auth_time: int


@dataclass(slots=True)
class Desk:
    """What the provider remembers, in memory: it is one process, and nothing it knows is worth more than a minute."""

    settings: Settings
    """Of the installation that it signs people in for."""
    registered: Provider
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", auto_kid=True))
    codes: dict[str, Given] = field(default_factory=dict)
    assertions: dict[str, bool] = field(default_factory=dict)

    @property
    def redirect_uri(self) -> str:
        """The one address that people are sent back to."""
        return self.settings.issuer + RETURN_PATH


def create_provider(
    settings: Settings, *lifespan: Callable[[Litestar], AbstractAsyncContextManager[None]]
) -> Litestar:
    """The provider's application, for the one client that `settings` names; refuses where people are real.

    It looks names up in the installation's database, which `lifespan` opens unless it is open already.
    """
    if settings.in_production:
        raise SettingUnusable(
            "the development provider knows fictional people: not in a production installation"
        )
    if settings.provider is None:
        raise SettingUnusable("XINQIAO_PROVIDER_ISSUER says where the development provider is reached")
    # Its pages are ours, and must take their forms from its own address alone.
    shown_at = replace(settings, issuer=settings.provider.issuer.rstrip("/"))
    return Litestar(
        [describe, keys, ask, answer, redeem, *static_files.routes, *problem_pages.routes],
        state=State({"settings": shown_at, "desk": Desk(settings, settings.provider)}),
        exception_handlers=failures.HANDLERS,
        lifespan=lifespan,
        request_max_body_size=FORM_BYTES_MAX,
        openapi_config=None,
    )


def from_worker() -> Litestar:
    """What the provider's server process calls; the database is the installation's."""
    settings, database = serving.inherited()

    @asynccontextmanager
    async def standing(_: Litestar) -> AsyncIterator[None]:
        async with databases.opened(database, settings.home, settings.origin):
            yield

    return create_provider(settings, standing)


@get(discovery.PATH)
async def describe(request: AnyRequest) -> dict[str, Any]:
    """Its metadata (OpenID Connect Discovery 1.0 section 3)."""
    issuer = _desk(request).registered.issuer
    at = issuer.rstrip("/")
    return {
        "issuer": issuer,
        "authorization_endpoint": at + AUTHORIZE,
        "token_endpoint": at + TOKEN,
        "jwks_uri": at + KEYS,
        "scopes_supported": ["openid"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "amr"],
        "authorization_response_iss_parameter_supported": True,
    }


@get(KEYS)
async def keys(request: AnyRequest) -> dict[str, Any]:
    """The key that it signs with; another one after each start."""
    return {"keys": [_desk(request).key.as_dict(private=False) | {"use": "sig", "alg": "ES256"}]}


@get(AUTHORIZE)
async def ask(request: AnyRequest) -> Response[Any]:
    """The form for a name and a password; it is shown whoever signed in before."""
    asked = _asked(request, dict(request.query_params))
    if "none" in asked["prompt"].split():
        return _back(request, asked, error="login_required")
    return _form(request, asked)


@post(AUTHORIZE, status_code=303)
async def answer(request: AnyRequest) -> Response[Any]:
    """Back with a code for whoever knows a name and its password, or with a no; ask again where they do not."""
    sessions.refuse_other_sites(request)
    sent = await request.form()
    fields = {name: value for name, value in sent.items() if isinstance(value, str)}
    asked = _asked(request, fields)
    if "cancel" in fields:
        return _back(request, asked, error="access_denied")
    try:
        user = await passwords.verify(fields.get("name", "").strip(), fields.get("password", ""))
    except SignInRefused as refused:
        return _form(request, asked, refused.status)
    async with open_view(PROVIDER) as view:
        subject = await people.reference_of(view, user)
    code = secrets.token_urlsafe()
    given = Given(subject, asked["nonce"], asked["code_challenge"], int(time.time()))
    _remember(_desk(request).codes, code, given)
    return _back(request, asked, code=code)


@post(TOKEN, status_code=200)
async def redeem(request: AnyRequest) -> Response[dict[str, Any]]:
    """The ID token for a code, once, for the client that it was given to (OpenID Connect Core 1.0 section 3.1.3)."""
    desk = _desk(request)
    sent = await request.form()
    form = {name: value for name, value in sent.items() if isinstance(value, str)}
    if not _is_client(desk, request, form):
        return _told({"error": "invalid_client"}, 401)
    given = desk.codes.pop(form.get("code", ""), None)
    now = int(time.time())
    if (
        given is None
        or now > given.auth_time + CODE_SECONDS
        or form.get("grant_type") != "authorization_code"
        or form.get("redirect_uri") != desk.redirect_uri
        or not hmac.compare_digest(_challenge(form.get("code_verifier", "")), given.challenge)
    ):
        return _told({"error": "invalid_grant"}, 400)
    claims = {
        "iss": desk.registered.issuer,
        "sub": given.subject,
        "aud": desk.registered.client_id,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "auth_time": given.auth_time,
        "nonce": given.nonce,
        "amr": ["pwd"],
    }
    signed = jwt.encode({"alg": "ES256", "kid": desk.key.kid}, claims, desk.key, algorithms=["ES256"])
    useless = {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": CODE_SECONDS}
    return _told({"id_token": signed, **useless}, 200)


def _is_client(desk: Desk, request: AnyRequest, form: Mapping[str, str]) -> bool:
    """Whether the client shows its secret, or signs with a key that the installation publishes."""
    if file := desk.registered.secret_file:
        secret = file.read_text(encoding="utf-8").partition("\n")[0]
        pair = f"{quote_plus(desk.registered.client_id)}:{quote_plus(secret)}"
        right = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), right.encode())
    published = KeySet([*ground().keyring.published()])
    try:
        said = jwt.decode(form.get("client_assertion", ""), published, algorithms=["ES256"]).claims
    except (JoseError, ValueError):
        return False
    client_id, jti = desk.registered.client_id, str(said.get("jti"))
    named = (said.get("iss"), said.get("sub"), said.get("aud"))
    expires, now = said.get("exp"), time.time()
    alive = isinstance(expires, int) and now < expires <= now + TOKEN_SECONDS
    if named != (client_id, client_id, desk.registered.issuer) or not alive or jti in desk.assertions:
        return False
    _remember(desk.assertions, jti, True)
    return True


def _asked(request: AnyRequest, given: Mapping[str, str]) -> dict[str, str]:
    """The authorization request; whatever is wrong with it is told here, and leads nowhere."""
    desk = _desk(request)
    asked = {name: given.get(name, "") for name in ASKED}
    right = {
        "response_type": "code",
        "client_id": desk.registered.client_id,
        "redirect_uri": desk.redirect_uri,
        "code_challenge_method": "S256",
    }
    wrong = [name for name, value in right.items() if asked[name] != value]
    wrong += [name for name in ("state", "nonce", "code_challenge") if not asked[name]]
    wrong += [name for name, value in asked.items() if len(value) > LENGTH_MAX or not value.isprintable()]
    wrong += [] if "openid" in asked["scope"].split() else ["scope"]
    if wrong:
        raise RequestUnusable(
            "ask as the metadata says", *(Fault(f"/{name}", "invalid", "") for name in wrong)
        )
    return asked


def _form(request: AnyRequest, asked: Mapping[str, str], status: int = 200) -> Response[str]:
    return page.show(
        request,
        "sign_in_by_name.html",
        status,
        leads_to=asked["redirect_uri"],
        asked={name: value for name, value in asked.items() if value},
        action=AUTHORIZE,
        wrong=status != 200,
    )


def _back(request: AnyRequest, asked: Mapping[str, str], **said: str) -> Response[Any]:
    # RFC 9207: also with a no, the client learns who says it.
    told = {**said, "state": asked["state"], "iss": _desk(request).registered.issuer}
    return page.go(request, f"{asked['redirect_uri']}?{urlencode(told)}")


def _told(body: dict[str, Any], status: int) -> Response[dict[str, Any]]:
    return Response(body, status_code=status, headers={"Cache-Control": "no-store"})


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode(errors="replace")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _remember(kept: dict[str, Any], key: str, value: object) -> None:
    kept[key] = value
    if len(kept) > WAITING_MAX:
        del kept[next(iter(kept))]


def _desk(request: AnyRequest) -> Desk:
    desk: Desk = request.app.state.desk
    return desk
