"""/v1/grants: a partner asks a person for consent, and sees how far that is."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api import asks
from api.access import AnyRequest, answered, client, request_act, request_view
from api.asks import GrantRequest
from api.oauth.scopes import Scope
from api.v1.wire import when
from compliance import ids
from compliance.act import Act, View
from compliance.vocabulary import GrantId, PartnerId, UserId
from consent import extensions, grants, life, people, receipts
from consent.extensions import Standing
from consent.tables import GrantRow


class ExtensionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many days, counted from the day of the yes, you ask that the consent goes on."""

    period_days: Annotated[int, msgspec.Meta(ge=1, le=365)]


class ExtensionView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Your newest request to extend: `requested`, `given`, `rejected` or `lapsed`."""

    state: str
    period_days: int
    asked_at: str
    page: str | None = None
    """Where the person answers, while it waits."""
    answered_at: str | None = None


class GrantView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A grant as its recipient sees it. `page` is where the person answers; `user` is there once they have."""

    id: str
    state: str
    purpose: str
    recipient: str
    asked: list[str]
    template: str
    answer: str
    requested_at: str
    page: str | None = None
    user: str | None = None
    categories: list[str] | None = None
    bureau: str | None = None
    given_at: str | None = None
    expires_at: str | None = None
    extensions: int = 0
    """How often the person let it go on."""
    extended_at: str | None = None
    extension: ExtensionView | None = None
    rejected_reason: str | None = None
    ended_code: str | None = None
    ended_at: str | None = None


@post("/v1/grants", opt=client(Scope.GRANTS), summary="Ask a person for consent")
async def ask_for_grant(request: AnyRequest, data: JSONBody[GrantRequest]) -> Response[bytes]:
    """Make a request that the person answers on our page; nothing may be used before they say yes.

    Send the person to `page`. It lapses after 60 minutes. The answer of the person, the categories they chose and
    your pseudonym of them are then in GET /v1/grants/{id}.
    """
    async with request_act(request) as act:
        wanted = await asks.of_caller(act, data)
        row = await grants.ask(act, wanted, offered=request.app.state.settings.offered)
        body = await view(act, row, request.app.state.settings.issuer)
        return answered(act, body, 201, {"Location": f"/v1/grants/{body.id}"})


@post("/v1/grants/{grant_id:str}/extension", opt=client(Scope.GRANTS), summary="Ask to extend a consent")
async def ask_for_extension(
    request: AnyRequest, grant_id: FromPath[str], data: JSONBody[ExtensionRequest]
) -> Response[bytes]:
    """Ask the person to let a live consent go on, with all else as they agreed to it; its id and tokens stay.

    Send the person to `extension.page`. The request lapses after seven days; after a no, ask again no sooner than
    90 days later.
    """
    async with request_act(request) as act:
        row = await extensions.ask(act, GrantId(ids.private("gnt", grant_id)), data.period_days)
        body = await view(act, row, request.app.state.settings.issuer)
        return answered(act, body, 201, {"Location": f"/v1/grants/{body.id}"})


@get(
    "/v1/grants/{grant_id:str}",
    opt=client(Scope.GRANTS, while_frozen=True),
    summary="See how far a consent is",
)
async def show_grant(request: AnyRequest, grant_id: FromPath[str]) -> GrantView:
    """The state of one of your grants, with the code of its end: withdrawn and expired are never shown as one."""
    async with request_view(request) as looking:
        row = await grants.find(looking, GrantId(ids.private("gnt", grant_id)))
        return await view(looking, row, request.app.state.settings.issuer)


async def view(at: Act | View, row: GrantRow, issuer: str) -> GrantView:
    """A grant as its recipient (or the bureau that relays) sees it."""
    state, code = life.state_now(row, at.now)
    known_as: UUID | None = None
    if row.user_id and state in ("active", "paused", "ended"):
        known_as = await people.known_as(at, UserId(row.user_id))
    return GrantView(
        id=ids.public("gnt", row.id),
        state=state,
        purpose=row.purpose,
        recipient=receipts.party(PartnerId(row.recipient)),
        asked=row.asked,
        template=row.template,
        answer=row.answer,
        requested_at=when(row.requested_at),
        page=f"{issuer}/ask/{ids.public('gnt', row.id)}" if state == "requested" else None,
        user=ids.public("usr", known_as) if known_as else None,
        categories=row.categories or None,
        bureau=receipts.party(PartnerId(row.bureau)) if row.bureau else None,
        given_at=when(row.given_at) if row.given_at else None,
        expires_at=when(row.expires_at) if row.expires_at else None,
        extensions=row.extensions,
        extended_at=when(row.extended_at) if row.extended_at else None,
        extension=await _extension(at, row, issuer),
        rejected_reason=row.rejected_reason,
        ended_code=code,
        ended_at=when(row.ended_at) if row.ended_at else None,
    )


async def _extension(at: Act | View, row: GrantRow, issuer: str) -> ExtensionView | None:
    asked = await extensions.newest_asked(at, GrantId(row.id))
    if asked is None:
        return None
    state = extensions.standing(asked, row, at.now)
    page = f"{issuer}/me/grants/{ids.public('gnt', row.id)}/extend"
    return ExtensionView(
        state=state,
        period_days=asked.period_days,
        asked_at=when(asked.asked_at),
        page=page if state is Standing.REQUESTED else None,
        answered_at=when(asked.answered_at) if asked.answered_at else None,
    )


routes = [ask_for_grant, ask_for_extension, show_grant]
