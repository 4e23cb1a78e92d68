"""/v1/grants: a partner asks a person for consent, and sees how far that is."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, client, client_of, request_act, request_view
from api.oauth.scopes import Scope
from api.v1.wire import Id, when
from compliance import ids
from compliance.act import Act, View
from compliance.vocabulary import Category, GrantId, PartnerId, Purpose
from consent import grants, people, receipts
from consent.grants import Ask
from consent.people import Pseudonym
from consent.tables import GrantRow
from partners import directory


class GrantRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom you ask for what. Without `user`, whoever opens the page and signs in is asked."""

    purpose: Purpose
    categories: Annotated[list[Category], msgspec.Meta(min_length=1, max_length=9)]
    user: Id | None = None
    recipient: Id | None = None
    """A bureau that relays names the bank."""
    period_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 90
    data_life_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 90
    calls_per_month: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None
    """Absent: as many as the template of the purpose allows."""


class GrantView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A grant as its recipient sees it. `page` is where the person answers; `user` is there once they have."""

    id: str
    state: str
    purpose: str
    recipient: str
    asked: list[str]
    template: str
    requested_at: str
    page: str | None = None
    user: str | None = None
    categories: list[str] | None = None
    bureau: str | None = None
    given_at: str | None = None
    expires_at: str | None = None
    ended_code: str | None = None
    ended_at: str | None = None


@post("/v1/grants", opt=client(Scope.GRANTS), summary="Ask a person for consent")
async def ask_for_grant(request: AnyRequest, data: JSONBody[GrantRequest]) -> Response[bytes]:
    """Make a request that the person answers on our page; nothing may be used before they say yes.

    Send the person to `page`. It lapses after 60 minutes. The answer of the person, the categories they chose and
    your pseudonym of them are then in GET /v1/grants/{id}.
    """
    async with request_act(request) as act:
        row = await grants.ask(
            act, await _ask(act, request, data), offered=request.app.state.settings.offered
        )
        body = await view(act, row, request.app.state.settings.issuer)
        return answered(act, body, 201, {"Location": f"/v1/grants/{body.id}"})


async def _ask(act: Act, request: AnyRequest, data: GrantRequest) -> Ask:
    caller = client_of(request).partner
    recipient = await directory.relayed_for(act, data.recipient) if data.recipient else caller
    user = None
    if data.user:
        user = await people.by_pseudonym(act, Pseudonym(ids.private("usr", data.user)))
    return Ask(
        recipient=recipient,
        bureau=caller if recipient != caller else None,
        user=user,
        purpose=data.purpose,
        categories=frozenset(data.categories),
        period_days=data.period_days,
        data_life_days=data.data_life_days,
        calls_per_month=data.calls_per_month or grants.TEMPLATES[data.purpose].calls_per_month_max,
        channel="bank_redirect",
    )


@get("/v1/grants/{grant_id:str}", opt=client(Scope.GRANTS), summary="See how far a consent is")
async def show_grant(request: AnyRequest, grant_id: FromPath[str]) -> GrantView:
    """The state of one of your grants, with the code of its end: withdrawn and expired are never shown as one."""
    async with request_view(request) as looking:
        row = await grants.find(looking, GrantId(ids.private("gnt", grant_id)))
        return await view(looking, row, request.app.state.settings.issuer)


async def view(at: Act | View, row: GrantRow, issuer: str) -> GrantView:
    """A grant as its recipient (or the bureau that relays) sees it."""
    state, code = grants.state_now(row, at.now)
    known_as: UUID | None = None
    if row.user_id and state in ("active", "paused", "ended"):
        rows = await at.db.execute_query_dict(
            "select id from consent_pseudonym where user_id = $1", [row.user_id]
        )
        known_as = rows[0]["id"] if rows else None
    return GrantView(
        id=ids.public("gnt", row.id),
        state=state,
        purpose=row.purpose,
        recipient=receipts.party(PartnerId(row.recipient)),
        asked=row.asked,
        template=row.template,
        requested_at=when(row.requested_at),
        page=f"{issuer}/ask/{ids.public('gnt', row.id)}" if state == "requested" else None,
        user=ids.public("usr", known_as) if known_as else None,
        categories=row.categories or None,
        bureau=receipts.party(PartnerId(row.bureau)) if row.bureau else None,
        given_at=when(row.given_at) if row.given_at else None,
        expires_at=when(row.expires_at) if row.expires_at else None,
        ended_code=code,
        ended_at=when(row.ended_at) if row.ended_at else None,
    )


routes = [ask_for_grant, show_grant]
