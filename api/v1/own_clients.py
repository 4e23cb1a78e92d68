"""/v1/clients: a partner registers and stops its own clients where nobody real is served; in production the operator does."""

from typing import Any, Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, client, client_of, request_act, request_view
from api.oauth import clients
from api.oauth.scopes import Scope
from api.tables import ClientRow
from api.v1 import cursors
from api.v1.clients import Described, OwnClientRequest, described
from api.v1.wire import CursorParameter, LimitParameter, Page

OWN = client(Scope.CLIENTS, unless_production=True)


class KeysRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client's keys from now on, as a JWK set (RFC 7517)."""

    jwks: dict[str, Any]


class OwnClientView(Described, frozen=True, kw_only=True):
    """A client as its partner sees it. What the operator suspended, the operator lets go on."""

    suspended_by: Literal["partner", "operator"] | None = None


@post("/v1/clients", opt=OWN, summary="Register a client of your own")
async def register_own_client(request: AnyRequest, data: JSONBody[OwnClientRequest]) -> Response[bytes]:
    """It counts at once. It may do no more than the token that you call with; its redirect URIs may be http on 127.0.0.1."""
    async with request_act(request) as act:
        asked = msgspec.structs.asdict(data) | {"partner": client_of(request).partner}
        body = view(await clients.register_client(act, loopback=True, **asked))
        return answered(act, body, 201, {"Location": f"/v1/clients/{body.client_id}"})


@get("/v1/clients", opt=OWN, summary="List your clients")
async def list_own_clients(
    request: AnyRequest, limit: LimitParameter = 50, cursor: CursorParameter = None
) -> Page[OwnClientView]:
    """In the order of their ids."""
    after = cursors.read("own clients", cursor)[0] if cursor else ""
    async with request_view(request) as looking:
        rows = await clients.listed(looking, after, limit)
    following = cursors.sign("own clients", rows[-1].client_id) if len(rows) == limit else None
    return Page([view(row) for row in rows], following)


@get("/v1/clients/{client_id:str}", opt=OWN, summary="See one of your clients")
async def show_own_client(request: AnyRequest, client_id: FromPath[str]) -> OwnClientView:
    """How it is registered, and whether it is suspended."""
    async with request_view(request) as looking:
        return view(await clients.look_up(looking, client_id))


@put("/v1/clients/{client_id:str}/jwks", opt=OWN, summary="Replace a client's keys")
async def replace_keys(
    request: AnyRequest, client_id: FromPath[str], data: JSONBody[KeysRequest]
) -> Response[bytes]:
    """The keys before stop at once. Your token must be for every scope that the client has, also if it is your own."""
    async with request_act(request) as act:
        return answered(act, view(await clients.replace_keys(act, client_id, data.jwks)), 200)


@post(
    "/v1/clients/{client_id:str}/suspension", opt=OWN, status_code=200, summary="Suspend one of your clients"
)
async def suspend_own_client(request: AnyRequest, client_id: FromPath[str]) -> Response[bytes]:
    """It gets no token, and the tokens it has count no more, at once. Twice is fine."""
    async with request_act(request) as act:
        return answered(act, view(await clients.suspend(act, client_id)), 200)


@delete("/v1/clients/{client_id:str}/suspension", opt=OWN, status_code=200, summary="End your suspension")
async def resume_own_client(request: AnyRequest, client_id: FromPath[str]) -> Response[bytes]:
    """It goes on, unless the operator suspended it. Twice is fine."""
    async with request_act(request) as act:
        return answered(act, view(await clients.resume(act, client_id)), 200)


def view(row: ClientRow) -> OwnClientView:
    """A client as its partner sees it: of the operator's people it learns nothing."""
    by: Literal["partner", "operator"] = "partner" if clients.suspended_by_partner(row) else "operator"
    return OwnClientView(**described(row), suspended_by=by if row.suspended_at else None)


routes = [
    register_own_client,
    list_own_clients,
    show_own_client,
    replace_keys,
    suspend_own_client,
    resume_own_client,
]
