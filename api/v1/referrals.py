"""/v1/referrals: a lender sees who was handed over to it, and reports how far it is."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, client, request_act
from api.oauth.scopes import Scope
from api.v1 import cursors
from api.v1.wire import CursorParameter, LimitParameter, Page, when
from compliance import ids
from compliance.vocabulary import Purpose
from partners import referrals
from partners.referrals import Listed, State

ReasonCode = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,60}$", description="A code; nothing about the person")
]


class StatusReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How far you are with a referral. A decline needs a reason code, which the person is shown."""

    state: State
    reason: ReasonCode | None = None


class ReferralView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person who picked you. Where their consent has ended, only `id` and `state` are there."""

    id: str
    state: str
    user: str | None = None
    grant: str | None = None
    wish: dict[str, Any] | None = None
    reason: str | None = None
    made_at: str | None = None
    changed_at: str | None = None


@get(
    "/v1/referrals",
    opt=client(Scope.REFERRALS, Purpose.LOAN_REFERRAL),
    summary="List who was handed over to you",
)
async def list_referrals(
    request: AnyRequest, limit: LimitParameter = 50, cursor: CursorParameter = None
) -> Page[ReferralView]:
    """Your referrals, newest first. Each person shown is recorded in their log and in yours."""
    before = UUID(cursors.read("referrals", cursor)[0]) if cursor else None
    async with request_act(request) as act:
        found = await referrals.list_mine(act, before, limit)
    following = cursors.sign("referrals", str(found[-1].row.id)) if len(found) == limit else None
    return Page([view(listed) for listed in found], following)


@post(
    "/v1/referrals/{referral_id:str}/status",
    opt=client(Scope.REFERRALS, Purpose.LOAN_REFERRAL),
    status_code=200,
    summary="Report how far a referral is",
)
async def report_status(
    request: AnyRequest, referral_id: FromPath[str], data: JSONBody[StatusReport]
) -> Response[bytes]:
    """Take one step of the published table of states; the same state again is fine, any other step is a 409."""
    async with request_act(request) as act:
        row = await referrals.report(act, ids.private("ref", referral_id), data.state, data.reason)
        return answered(act, view(Listed(row, shown=False)), 200)


def view(listed: Listed) -> ReferralView:
    """A referral as its lender may see it now."""
    row = listed.row
    if not listed.shown:
        return ReferralView(ids.public("ref", row.id), row.state)
    return ReferralView(
        id=ids.public("ref", row.id),
        state=row.state,
        user=ids.public("usr", row.pseudonym),
        grant=ids.public("gnt", row.grant_id),
        wish=row.wish,
        reason=row.reason,
        made_at=when(row.made_at),
        changed_at=when(row.changed_at),
    )


routes = [list_referrals, report_status]
