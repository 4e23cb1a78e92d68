"""/v1/operator/cutoffs: the points from which on a product's threshold answers say `above`, set by two people."""

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, request_act, request_view, staff
from api.v1.wire import Id, Page, when
from compliance import ids
from compliance.vocabulary import StaffRole
from partners import products
from scoring import policy
from scoring.answers import thresholds
from scoring.tables import CutoffRow

SETTING = (StaffRole.PARTNER_MANAGER, StaffRole.RISK_OFFICER, StaffRole.COMPLIANCE_OFFICER)


class CutoffRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The product, and the least points that are above."""

    product: Id
    points: Annotated[int, msgspec.Meta(ge=policy.LOWEST_POINTS, le=policy.HIGHEST_POINTS)]


class CutoffView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cut-off; in force from its approval until the next one's."""

    id: str
    product: str
    partner: str
    points: int
    recorded_by: str
    recorded_at: str
    approved_by: str | None = None
    approved_at: str | None = None


@post("/v1/operator/cutoffs", opt=staff(*SETTING), summary="Record a product's cut-off")
async def record_cutoff(request: AnyRequest, data: JSONBody[CutoffRequest]) -> Response[bytes]:
    """Nothing changes before another member of staff approves it. A cut-off stays as it is for 90 days."""
    async with request_act(request) as act:
        product = ids.private("prd", data.product)
        partner = await products.owner(act, product)
        row = await thresholds.record_cutoff(act, partner, product, data.points)
        return answered(act, view(row), 201)


@post(
    "/v1/operator/cutoffs/{cutoff_id:str}/approval",
    opt=staff(*SETTING),
    status_code=200,
    summary="Approve a product's cut-off",
)
async def approve_cutoff(request: AnyRequest, cutoff_id: FromPath[str]) -> Response[bytes]:
    """Put it in force. Who recorded it cannot."""
    async with request_act(request) as act:
        return answered(act, view(await thresholds.approve_cutoff(act, ids.private("cut", cutoff_id))), 200)


@get("/v1/operator/cutoffs", opt=staff(*SETTING), summary="List the cut-offs of products")
async def list_cutoffs(request: AnyRequest) -> Page[CutoffView]:
    """The latest 500, newest first: those in force, those that were, those that wait."""
    async with request_view(request) as looking:
        return Page([view(row) for row in await thresholds.listed(looking)])


def view(row: CutoffRow) -> CutoffView:
    """A cut-off as staff see it."""
    return CutoffView(
        id=ids.public("cut", row.id),
        product=ids.public("prd", row.product),
        partner=ids.public("ptn", row.partner),
        points=row.points,
        recorded_by=row.recorded_by,
        recorded_at=when(row.recorded_at),
        approved_by=row.approved_by,
        approved_at=when(row.approved_at) if row.approved_at else None,
    )


routes = [record_cutoff, approve_cutoff, list_cutoffs]
