"""/v1/prescreens: a bank states criteria and an offer, and gets a list that takes people back."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, client, request_act, request_view
from api.oauth.scopes import Scope
from api.v1 import cursors
from api.v1.wire import CurrencyCode, CursorParameter, DecimalString, Id, LimitParameter, Page, when
from compliance import ids
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import Purpose
from partners import prescreens
from partners.prescreens import Offer, Wanted
from partners.tables import PrescreenRow


class OfferTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What everybody on the list is offered: a product of yours (`GET /v1/products`), a limit within it, its price."""

    product: Id
    limit_minor: Annotated[int, msgspec.Meta(ge=10_000, le=10**11)]
    currency: CurrencyCode
    daily_rate: DecimalString


class PrescreenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Criteria (CQL2-JSON subset over band, age_band, region, income_band), an offer, a cap, and how long it holds."""

    criteria: dict[str, Any]
    offer: OfferTerms
    cap: int
    valid_until: datetime


class PrescreenView(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a list is."""

    id: str
    state: str
    criteria_digest: str
    cap: int
    valid_until: str
    made_at: str
    entries: int | None = None
    snapshot: str | None = None
    why_failed: str | None = None
    ready_at: str | None = None


class EntryView(msgspec.Struct, frozen=True):
    """A line: no score, no attribute, and an order that says nothing."""

    id: str
    limit_minor: int
    currency: str
    daily_rate: str
    valid_until: str


class RecallView(msgspec.Struct, frozen=True):
    """A line taken back on this day (UTC+8): stop contacting this entry."""

    entry: str
    reason: str
    recalled_on: date


class RecallPage(msgspec.Struct, frozen=True):
    """Lines taken back, oldest first; ask again with `cursor` = `next`, always given, for those to come."""

    items: list[RecallView]
    next: str


@post("/v1/prescreens", opt=client(Scope.PRESCREENS, Purpose.PRESCREEN, once=True), summary="Ask for a list")
async def request_prescreen(request: AnyRequest, data: JSONBody[PrescreenRequest]) -> Response[bytes]:
    """Freeze criteria and an offer; the list is made by a job: watch the address in `Location`."""
    if data.valid_until.tzinfo is None:
        raise Unacceptable("name the zone", Fault("/valid_until", "zone_missing", "end the time with Z"))
    offer = Offer(data.offer.product, data.offer.limit_minor, data.offer.currency, data.offer.daily_rate)
    async with request_act(request) as act:
        row = await prescreens.request(act, Wanted(data.criteria, offer, data.cap, data.valid_until))
        body = view(row)
        return answered(act, body, 202, {"Location": f"/v1/prescreens/{body.id}"})


@get(
    "/v1/prescreens/{prescreen_id:str}",
    opt=client(Scope.PRESCREENS, Purpose.PRESCREEN),
    summary="See how far a list is",
)
async def show_prescreen(request: AnyRequest, prescreen_id: FromPath[str]) -> PrescreenView:
    """State, size and digest of one of your lists."""
    async with request_view(request) as looking:
        return view(await prescreens.find(looking, ids.private("pre", prescreen_id)))


@get(
    "/v1/prescreens/{prescreen_id:str}/entries",
    opt=client(Scope.PRESCREENS, Purpose.PRESCREEN),
    summary="Read a list",
)
async def list_entries(
    request: AnyRequest,
    prescreen_id: FromPath[str],
    limit: LimitParameter = 50,
    cursor: CursorParameter = None,
) -> Page[EntryView]:
    """The lines that still hold now; whoever withdrew since the list was made is not on it any more.

    Each page counts as one use of each consent on it: read a list once, then follow its recalls.
    """
    after = UUID(cursors.read("entries", cursor)[0]) if cursor else None
    async with request_act(request) as act:
        rows = await prescreens.entries(act, ids.private("pre", prescreen_id), after=after, limit=limit)
    items = [
        EntryView(ids.public("ent", e.id), e.limit_minor, e.currency, e.daily_rate, when(e.valid_until))
        for e in rows
    ]
    return Page(items, cursors.sign("entries", str(rows[-1].id)) if len(rows) == limit else None)


@get(
    "/v1/prescreens/{prescreen_id:str}/recalls",
    opt=client(Scope.PRESCREENS, Purpose.PRESCREEN, while_frozen=True),
    summary="Who was taken back",
)
async def list_recalls(
    request: AnyRequest,
    prescreen_id: FromPath[str],
    limit: LimitParameter = 50,
    cursor: CursorParameter = None,
) -> RecallPage:
    """Lines that were taken back since the cursor, oldest first."""
    transaction, number = cursors.read("recalls", cursor) if cursor else ("0", "0")
    async with request_act(request) as act:
        identity = ids.private("pre", prescreen_id)
        rows = await prescreens.recalls(act, identity, after=(transaction, number), limit=limit)
    if rows:
        transaction, number = rows[-1]["transaction"], str(rows[-1]["seq"])
    items = [RecallView(ids.public("ent", r["entry"]), r["reason"], r["recalled_on"]) for r in rows]
    return RecallPage(items, cursors.sign("recalls", transaction, number))


def view(row: PrescreenRow) -> PrescreenView:
    """A list request as its bank sees it."""
    return PrescreenView(
        id=ids.public("pre", row.id),
        state=row.state,
        criteria_digest=row.criteria_digest,
        cap=row.cap,
        valid_until=when(row.valid_until),
        made_at=when(row.made_at),
        entries=row.entries,
        snapshot=row.snapshot,
        why_failed=row.why_failed,
        ready_at=when(row.ready_at) if row.ready_at else None,
    )


routes = [request_prescreen, show_prescreen, list_entries, list_recalls]
