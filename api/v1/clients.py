"""/v1/operator/clients: staff propose clients of partners, let them in by four eyes, stop them and let them go on."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, request_act, request_view, staff
from api.oauth import clients
from api.oauth.clients import State
from api.oauth.registration import BY_ASSERTION
from api.tables import ClientRow
from api.v1 import cursors
from api.v1.wire import PLAIN, CursorParameter, Id, LimitParameter, Page, when
from compliance import ids
from compliance.vocabulary import PartnerId, Purpose, StaffRole
from consent.grants import PARTNERS_ASK_FOR
from partners import directory

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=PLAIN)]
Words = Annotated[list[Text], msgspec.Meta(max_length=20)]
OPERATING = (StaffRole.PARTNER_MANAGER, StaffRole.COMPLIANCE_OFFICER)


class OwnClientRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client is to be. It is known by one of `jwks`, `jwks_uri` and `tls_subject`, as its method needs."""

    client_id: Text
    scopes: Words
    purposes: list[Purpose] = msgspec.field(default_factory=lambda: sorted(PARTNERS_ASK_FOR))
    redirect_uris: Words = []
    method: Text = BY_ASSERTION
    jwks: dict[str, Any] | None = None
    jwks_uri: Text | None = None
    tls_subject: Text | None = None
    certificate_bound: bool = False


class ClientRequest(OwnClientRequest, frozen=True, kw_only=True):
    """What a client is to be, and whose."""

    partner: Id


class Described(msgspec.Struct, frozen=True, omit_defaults=True):
    """A client. `jwks` holds of each key what counts, and of its certificate the thumbprint."""

    client_id: str
    state: State
    method: str
    scopes: list[str]
    purposes: list[str]
    redirect_uris: list[str]
    made_at: str
    certificate_bound: bool = False
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    tls_subject: str | None = None
    suspended_at: str | None = None


class ClientView(Described, frozen=True, kw_only=True):
    """A client, or a proposal of one, and who answers for it."""

    partner: str
    proposed_by: str
    approved_by: str | None = None
    approved_at: str | None = None
    suspended_by: str | None = None


@post("/v1/operator/clients", opt=staff(*OPERATING), summary="Propose a client of a partner")
async def propose_client(request: AnyRequest, data: JSONBody[ClientRequest]) -> Response[bytes]:
    """Nobody can use it before another member of staff approves it."""
    loopback = not request.app.state.settings.in_production
    async with request_act(request) as act:
        partner = await directory.find(act, PartnerId(ids.private("ptn", data.partner)))
        asked = msgspec.structs.asdict(data) | {"partner": partner.id}
        row = await clients.propose(act, loopback=loopback, **asked)
        return answered(act, view(row), 201)


@get("/v1/operator/clients", opt=staff(*OPERATING), summary="List the clients of partners")
async def list_clients(
    request: AnyRequest, limit: LimitParameter = 50, cursor: CursorParameter = None
) -> Page[ClientView]:
    """Clients and proposals, in the order of their ids."""
    after = cursors.read("clients", cursor)[0] if cursor else ""
    async with request_view(request) as looking:
        rows = await clients.listed(looking, after, limit)
    following = cursors.sign("clients", rows[-1].client_id) if len(rows) == limit else None
    return Page([view(row) for row in rows], following)


@post(
    "/v1/operator/clients/{client_id:str}/approval",
    opt=staff(*OPERATING),
    status_code=200,
    summary="Approve a proposed client",
)
async def approve_client(request: AnyRequest, client_id: FromPath[str]) -> Response[bytes]:
    """Let the client in. Who proposed it cannot."""
    async with request_act(request) as act:
        return answered(act, view(await clients.approve(act, client_id)), 200)


@post(
    "/v1/operator/clients/{client_id:str}/suspension",
    opt=staff(*OPERATING),
    status_code=200,
    summary="Suspend a client",
)
async def suspend_client(request: AnyRequest, client_id: FromPath[str]) -> Response[bytes]:
    """It gets no token, and the tokens it has count no more, at once. Twice is fine."""
    async with request_act(request) as act:
        return answered(act, view(await clients.suspend(act, client_id)), 200)


@delete(
    "/v1/operator/clients/{client_id:str}/suspension",
    opt=staff(*OPERATING),
    status_code=200,
    summary="End a client's suspension",
)
async def resume_client(request: AnyRequest, client_id: FromPath[str]) -> Response[bytes]:
    """It may do again what it was approved for. Twice is fine."""
    async with request_act(request) as act:
        return answered(act, view(await clients.resume(act, client_id)), 200)


def view(row: ClientRow) -> ClientView:
    """A client as staff see it."""
    return ClientView(
        **described(row),
        partner=ids.public("ptn", row.partner),
        proposed_by=row.proposed_by,
        approved_by=row.approved_by,
        approved_at=when(row.approved_at) if row.approved_at else None,
        suspended_by=row.suspended_by,
    )


def described(row: ClientRow) -> dict[str, Any]:
    """What everybody who may see a client sees of it: the fields of `Described`."""
    return {
        "client_id": row.client_id,
        "state": clients.state(row),
        "method": row.method,
        "scopes": row.scopes,
        "purposes": row.purposes,
        "redirect_uris": row.redirect_uris,
        "made_at": when(row.made_at),
        "certificate_bound": row.certificate_bound,
        "jwks": row.jwks,
        "jwks_uri": row.jwks_uri,
        "tls_subject": row.tls_subject,
        "suspended_at": when(row.suspended_at) if row.suspended_at else None,
    }


routes = [propose_client, list_clients, approve_client, suspend_client, resume_client]
