"""Every route says who may call it and why; the application refuses to start otherwise."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Message
from litestar.types import Scope as ASGIScope

from api import sessions
from api.oauth import pipeline
from api.oauth.scopes import DELEGATED, Scope
from compliance.act import Act, View, open_act, open_view, record_refusal
from compliance.refusals import Fault, Refusal
from compliance.replies import KEY_LENGTH_MAX, Once
from compliance.vocabulary import PartnerClient, Person, Principal, Purpose, Staff, StaffRole

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Access:
    """What a route demands of its caller."""

    kind: Literal["public", "client", "person", "staff"]
    purpose: Purpose | None = None
    scope: Scope | None = None
    roles: frozenset[StaffRole] = frozenset()
    once: bool = False
    """A repeat would cost: the call must carry an `Idempotency-Key`."""
    while_frozen: bool = False
    """Also a frozen partner may call: it has to learn what people withdraw."""
    fresh: bool = False
    """Sensitive: the person proved who they are within the last minutes."""
    unless_production: bool = False
    """Partners do it themselves where nobody real is served; in production the operator does it."""
    light: bool = False
    """Needed to stop a use: works while all else is degraded, on reserved connections and in the light server."""


class ScopeMissing(Refusal):
    """The token does not carry the scope (RFC 6750 section 3.1)."""

    status, code, title = 403, "insufficient_scope", "The access token lacks a scope"


class ByOperatorOnly(Refusal):
    """Partners do this themselves only where nobody real is served."""

    status, code, title = 403, "by_operator_only", "In production the operator does this"


class RoleMissing(Refusal):
    """The member of staff has another role."""

    status, code, title = 403, "role_missing", "Your role does not allow this"


class IdempotencyKeyMissing(Refusal):
    """A call that costs must be repeatable without costing twice."""

    status, code, title = 400, "idempotency_key_missing", "This call needs an Idempotency-Key"


class IdempotencyKeyUnusable(Refusal):
    """The key is not 1 to 128 visible ASCII characters, or came twice."""

    status, code, title = 400, "idempotency_key_unusable", "The Idempotency-Key cannot be used"


def public(*, light: bool = False) -> dict[str, Any]:
    """Anybody may call."""
    return {"access": Access("public", light=light)}


def client(
    scope: Scope,
    purpose: Purpose | None = None,
    *,
    once: bool = False,
    while_frozen: bool = False,
    unless_production: bool = False,
) -> dict[str, Any]:
    """A partner's client, with a token and proof that carry the scope."""
    return {
        "access": Access(
            "client",
            purpose,
            scope,
            once=once,
            while_frozen=while_frozen,
            unless_production=unless_production,
        )
    }


def person(
    purpose: Purpose | None = None, *, once: bool = False, fresh: bool = False, light: bool = False
) -> dict[str, Any]:
    """A person in their own session; `fresh`: who signed in a few minutes ago at most."""
    return {"access": Access("person", purpose, once=once, fresh=fresh, light=light)}


def staff(*roles: StaffRole) -> dict[str, Any]:
    """Staff with one of the roles."""
    return {"access": Access("staff", roles=frozenset(roles))}


async def demand_access(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: find out who calls, before the body is read."""
    if _tells_methods(handler):
        return
    wanted: Access = handler.opt["access"]
    if wanted.kind == "public":
        return
    request: AnyRequest = Request(connection.scope)
    principal: Principal
    if wanted.kind == "client":
        principal = await pipeline.protected_call(request, while_frozen=wanted.while_frozen)
        if wanted.unless_production and request.app.state.settings.in_production:
            await _refuse(principal, wanted, ByOperatorOnly("ask the operator: two people let a client in"))
        await _demand_scope(principal, wanted)
    else:
        principal = await sessions.signed_in(request, wanted.kind)
        if isinstance(handler, HTTPRouteHandler):
            _demand_json(request, handler)
        if isinstance(principal, Person) and wanted.fresh:
            sessions.refuse_stale(principal)
        if isinstance(principal, Staff) and principal.role not in wanted.roles:
            await _refuse(principal, wanted, RoleMissing("ask a colleague who has the role"))
    connection.scope["principal"] = principal  # type: ignore[typeddict-unknown-key]


def _demand_json(request: AnyRequest, handler: HTTPRouteHandler) -> None:
    """What a person's session is asked to change comes as JSON, which no other site's form can send."""
    if request.method != "POST" or not handler.resolve_include_in_schema():
        return
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and request.content_type[0] != "application/json":
        raise HTTPException("send application/json", status_code=415)


async def keep_private(message: Message, scope: ASGIScope) -> None:
    """Before an answer leaves: nothing that was said to somebody is kept by a cache, unless its route says so.

    A client is told with each answer how many calls it has left.
    """
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    if "principal" in scope:
        headers.setdefault("Cache-Control", "no-store")
    left: dict[str, str] = scope.get("rate_limit", {})  # type: ignore[assignment]
    for name, value in left.items():
        headers[name] = value


async def _demand_scope(principal: PartnerClient, wanted: Access) -> None:
    # A token that a consent stands behind opens the few doors that look at which consent it is.
    usable = principal.scopes if principal.grant is None else principal.scopes & DELEGATED
    if wanted.scope not in usable:
        await _refuse(principal, wanted, ScopeMissing(f"ask for a token with the scope {wanted.scope}"))


async def _refuse(principal: Principal, wanted: Access, refusal: Refusal) -> None:
    await record_refusal(principal, wanted.purpose, refusal, reserved=wanted.light)
    raise refusal


def principal_of(request: AnyRequest) -> Principal:
    """Who calls, as the guard found out."""
    principal: Principal = request.scope["principal"]  # type: ignore[typeddict-item]
    return principal


def client_of(request: AnyRequest) -> PartnerClient:
    """The calling client, on routes that only clients may call."""
    principal = principal_of(request)
    if not isinstance(principal, PartnerClient):
        raise TypeError("this route is for clients")
    return principal


def person_of(request: AnyRequest) -> Person:
    """The calling person, on routes that only people may call."""
    principal = principal_of(request)
    if not isinstance(principal, Person):
        raise TypeError("this route is for people")
    return principal


@asynccontextmanager
async def request_act(request: AnyRequest) -> AsyncGenerator[Act]:
    """Open the act this route declared, once per idempotency key where one came."""
    wanted: Access = request.route_handler.opt["access"]
    principal = principal_of(request)
    try:
        once = await _once(request, principal, wanted)
    except Refusal as refusal:
        await _refuse(principal, wanted, refusal)
        raise
    async with open_act(principal, wanted.purpose, once, reserved=wanted.light) as act:
        yield act


@asynccontextmanager
async def client_act(caller: PartnerClient) -> AsyncGenerator[Act]:
    """Open an act for a client that authenticated itself to the authorization server."""
    async with open_act(caller, None) as act:
        yield act


@asynccontextmanager
async def client_view(caller: PartnerClient) -> AsyncGenerator[View]:
    """Open a read-only look for a client that authenticated itself to the authorization server."""
    async with open_view(caller) as view:
        yield view


@asynccontextmanager
async def request_view(request: AnyRequest) -> AsyncGenerator[View]:
    """Open a read-only look at the caller's own things; where anybody may call, at what is public."""
    wanted: Access = request.route_handler.opt["access"]
    principal: Principal | None = request.scope.get("principal")  # type: ignore[assignment]
    async with open_view(principal, reserved=wanted.light) as view:
        yield view


def answered(
    act: Act, body: msgspec.Struct, status: int, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """Answer with a struct, inside the act, so that a repeat of the call is answered the same."""
    reply = act.answer(status, msgspec.json.encode(body))
    return Response(
        reply.body,
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


async def _once(request: AnyRequest, principal: Principal, wanted: Access) -> Once | None:
    if not request.route_handler.resolve_include_in_schema():  # a page: its form carries a token instead
        return None
    if request.method != "POST":  # reading again is reading again
        return None
    keys = request.headers.getall("idempotency-key", [])
    if not keys:
        if wanted.once:
            fault = Fault("/Idempotency-Key", "missing", "send a fresh random key with each new call")
            raise IdempotencyKeyMissing("repeat the call with an Idempotency-Key header", fault)
        return None
    key = keys[0]
    if len(keys) > 1 or not 1 <= len(key) <= KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        raise IdempotencyKeyUnusable(f"send one header with 1 to {KEY_LENGTH_MAX} visible ASCII characters")
    content = b"\x00".join((request.url.path.encode(), request.scope["query_string"], await request.body()))
    return Once.of(principal, f"{request.method} {request.scope['path_template']}", key, content)


def every_route_declares_access(app: Litestar) -> None:
    """Start-up check: deny by default, at build time."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and "access" not in handler.opt:
                if _tells_methods(handler):
                    continue
                raise RuntimeError(f"{route.path} declares no access")


def _tells_methods(handler: BaseRouteHandler) -> bool:
    """Whether it is the framework's own answer to OPTIONS: which methods a path knows, and nothing else."""
    return isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}
