"""/v1/me: a person's own consents, the JSON twin of the pages."""

import asyncio
from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api import answers, counting
from api.access import AnyRequest, answered, person, person_of, request_act, request_view
from api.v1.wire import Page, when
from compliance import ids
from compliance.act import Act, View
from compliance.vocabulary import Category, GrantId, Language, PartnerId
from consent import copies, extensions, grants, life, permits, receipts
from consent.grants import RejectionReason
from consent.tables import GrantRow


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Your yes: to these categories, having read the notice in this language (and, if given, with this digest)."""

    categories: Annotated[list[Category], msgspec.Meta(min_length=1, max_length=9)]
    language: Language
    notice_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None


class OwnGrant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A consent as its person sees it."""

    id: str
    state: str
    purpose: str
    recipient: str
    asked: list[str]
    categories: list[str]
    requested_at: str
    bureau: str | None = None
    given_at: str | None = None
    expires_at: str | None = None
    extensions: int = 0
    """How often you let it go on."""
    extended_at: str | None = None
    ended_code: str | None = None
    ended_at: str | None = None
    receipt: str | None = None
    """The signed receipt (compact JWS) of what was just given or withdrawn."""
    back: str | None = None
    """Where you go on, if you came from the recipient's own page."""


class Rejection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Your no; a reason only if you care to give one."""

    reason: RejectionReason | None = None


class ExtensionAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Your yes or no to a longer period; `period_days` only where nobody asked and the wish is your own."""

    answer: Literal["yes", "no"]
    language: Language
    period_days: Annotated[int, msgspec.Meta(ge=1, le=365)] | None = None
    notice_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None


class Switched(msgspec.Struct, frozen=True):
    """How many of your consents changed."""

    changed: int


class OwnLogCount(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many entries about you the log holds, checked just now against the newest signed map of people.

    `counted` of your `listed` entries are from before `until`. `none`: no map covers the log yet. `failed`: your list
    and what was signed do not agree, and staff were told.
    """

    state: Literal["verified", "none", "failed"]
    listed: int
    counted: int = 0
    until: str | None = None


@get("/v1/me/log/completeness", opt=person(), summary="Is my log whole")
async def own_log_count(request: AnyRequest) -> OwnLogCount:
    """Whether anything is missing from what you are shown; the proof for your own verifier is at `/me/log/proof`."""
    count = await counting.counted(request)
    return OwnLogCount(count.state, count.listed, count.counted, when(count.until) if count.until else None)


@get("/v1/me/grants", opt=person(light=True), summary="My consents")
async def list_own_grants(request: AnyRequest) -> Page[OwnGrant]:
    """Everything you ever allowed or were asked for, newest first."""
    async with request_view(request) as looking:
        rows = await grants.mine(looking, person_of(request).user)
        return Page([view(looking, row) for row in rows])


@post("/v1/me/grants/{grant_id:str}/approve", opt=person(), status_code=200, summary="Say yes")
async def approve_grant(
    request: AnyRequest, grant_id: FromPath[str], data: JSONBody[Approval]
) -> Response[bytes]:
    """Say yes to all or some of the categories a partner asked for; answers with your signed receipt."""
    async with request_act(request) as act:
        grant = GrantId(ids.private("gnt", grant_id))
        said = await answers.say_yes(
            act,
            grant,
            frozenset(data.categories),
            data.language,
            issuer=request.app.state.settings.issuer,
            shown=data.notice_sha256,
        )
        return answered(act, view(act, said.grant, said.receipt, said.back), 200)


@post("/v1/me/grants/{grant_id:str}/reject", opt=person(), status_code=200, summary="Say no")
async def reject_grant(
    request: AnyRequest, grant_id: FromPath[str], data: JSONBody[Rejection | None] = None
) -> Response[bytes]:
    """Say no; nothing else changes for you."""
    async with request_act(request) as act:
        grant, reason = GrantId(ids.private("gnt", grant_id)), data.reason if data else None
        said = await answers.say_no(act, grant, reason, issuer=request.app.state.settings.issuer)
        return answered(act, view(act, said.grant, back=said.back), 200)


@post(
    "/v1/me/grants/{grant_id:str}/pause", opt=person(light=True), status_code=200, summary="Pause a consent"
)
async def pause_grant(request: AnyRequest, grant_id: FromPath[str]) -> Response[bytes]:
    """Stop every use for as long as you like; the consent stands. Twice is fine."""
    async with request_act(request) as act:
        row = await grants.pause(act, GrantId(ids.private("gnt", grant_id)))
        return answered(act, view(act, row), 200)


@post(
    "/v1/me/grants/{grant_id:str}/resume", opt=person(light=True), status_code=200, summary="Resume a consent"
)
async def resume_grant(request: AnyRequest, grant_id: FromPath[str]) -> Response[bytes]:
    """Let a paused consent be used again. Twice is fine."""
    async with request_act(request) as act:
        row = await grants.resume(act, GrantId(ids.private("gnt", grant_id)))
        return answered(act, view(act, row), 200)


@post("/v1/me/grants/{grant_id:str}/extension", opt=person(), status_code=200, summary="Extend a consent")
async def extend_grant(
    request: AnyRequest, grant_id: FromPath[str], data: JSONBody[ExtensionAnswer]
) -> Response[bytes]:
    """Let a consent go on, as asked or of your own accord, or say no; a yes answers with your new receipt."""
    async with request_act(request) as act:
        grant = GrantId(ids.private("gnt", grant_id))
        if data.answer == "no":
            return answered(act, view(act, await extensions.reject(act, grant)), 200)
        row, receipt = await extensions.agree(
            act, grant, data.language, period_days=data.period_days, shown=data.notice_sha256
        )
        return answered(act, view(act, row, receipt), 200)


@post("/v1/me/pause", opt=person(light=True), status_code=200, summary="Pause everything")
async def pause_everything(request: AnyRequest) -> Response[bytes]:
    """Stop every use of your data at once, until you resume."""
    async with request_act(request) as act:
        return answered(act, Switched(await grants.pause_all(act)), 200)


@post("/v1/me/resume", opt=person(light=True), status_code=200, summary="Resume everything")
async def resume_everything(request: AnyRequest) -> Response[bytes]:
    """Let all that is paused be used again."""
    async with request_act(request) as act:
        return answered(act, Switched(await grants.resume_all(act)), 200)


@post(
    "/v1/me/grants/{grant_id:str}/withdraw",
    opt=person(light=True),
    status_code=200,
    summary="Withdraw a consent",
)
async def withdraw_grant(request: AnyRequest, grant_id: FromPath[str]) -> Response[bytes]:
    """End a consent: every use of it stops in this same step. Withdrawing twice is fine."""
    async with request_act(request) as act:
        row = await grants.withdraw(act, GrantId(ids.private("gnt", grant_id)))
        return answered(act, view(act, row), 200)


@get("/v1/me/copy", opt=person(fresh=True), summary="A copy of everything about me")
async def copy_everything(request: AnyRequest) -> Response[bytes]:
    """Everything that is held about you, part by part: each row as it stands, with what was sealed opened."""
    async with request_act(request) as act:
        made = await copies.make(act, permits.own_permit(act))
    written = await asyncio.to_thread(made.as_json)
    return Response(written, media_type="application/json", headers={"Cache-Control": "no-store"})


def view(at: Act | View, row: GrantRow, receipt: str | None = None, back: str | None = None) -> OwnGrant:
    """A grant as its person sees it."""
    state, code = life.state_now(row, at.now)
    return OwnGrant(
        id=ids.public("gnt", row.id),
        state=state,
        purpose=row.purpose,
        recipient=receipts.party(PartnerId(row.recipient)),
        asked=row.asked,
        categories=row.categories,
        requested_at=when(row.requested_at),
        bureau=receipts.party(PartnerId(row.bureau)) if row.bureau else None,
        given_at=when(row.given_at) if row.given_at else None,
        expires_at=when(row.expires_at) if row.expires_at else None,
        extensions=row.extensions,
        extended_at=when(row.extended_at) if row.extended_at else None,
        ended_code=code,
        ended_at=when(row.ended_at) if row.ended_at else None,
        receipt=receipt,
        back=back,
    )


routes = [
    own_log_count,
    list_own_grants,
    approve_grant,
    reject_grant,
    pause_grant,
    resume_grant,
    extend_grant,
    pause_everything,
    resume_everything,
    withdraw_grant,
    copy_everything,
]
