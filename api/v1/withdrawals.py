"""/v1/withdrawals: a partner learns which consents ended, confirms that it stopped, and attests what it deleted."""

from datetime import date
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api import attestations
from api.access import AnyRequest, answered, client, client_of, person, person_of, request_act, request_view
from api.attestations import Attestation, Outcome
from api.oauth import clients, signatures
from api.oauth.scopes import Scope
from api.v1 import cursors
from api.v1.wire import PLAIN, CursorParameter, LimitParameter, Page, when
from compliance import ids
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import GrantId
from consent import effects, receipts
from consent.effects import Effect, Retention

Basis = Annotated[
    str,
    msgspec.Meta(
        max_length=effects.BASIS_LENGTH_MAX, pattern=PLAIN, description="The law; shown to the person"
    ),
]


class WithdrawalView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A consent of yours that ended: stop, confirm by `acknowledge_by`, delete or say why not by `settle_by`."""

    grant_id: str
    purpose: str
    ended_code: str
    ended_at: str
    state: str
    acknowledge_by: str
    settle_by: str
    user: str | None = None
    basis: str | None = None
    until: date | None = None


class WithdrawalPage(msgspec.Struct, frozen=True):
    """Ended consents, oldest first; ask again with `cursor` = `next`, always given, for those to come."""

    items: list[WithdrawalView]
    next: str


class AttestationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of the person's data, and the same signed with a key of the calling client.

    `basis` and `until` say which law you keep them under and until which day; with `purged` leave them out.
    `attestation`: a compact JWS, `typ` purge-attestation+jwt, with the claims iss (your client id), aud (our issuer),
    grant_id, outcome, iat and, where you keep them, basis and until.
    """

    outcome: Outcome
    attestation: Annotated[str, msgspec.Meta(max_length=signatures.LONGEST)]
    basis: Basis | None = None
    until: date | None = None


class OwnWithdrawal(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one recipient did after a consent of yours ended, each step with its time."""

    grant_id: str
    recipient: str
    purpose: str
    ended_code: str
    ended_at: str
    state: str
    overdue: bool
    requested_at: str
    acknowledge_by: str
    settle_by: str
    delivered_at: str | None = None
    acknowledged_at: str | None = None
    settled_at: str | None = None
    basis: str | None = None
    until: date | None = None


@get("/v1/withdrawals", opt=client(Scope.GRANTS, while_frozen=True), summary="Which consents ended")
async def list_withdrawals(
    request: AnyRequest, limit: LimitParameter = 50, cursor: CursorParameter = None
) -> WithdrawalPage:
    """Your consents that ended since the cursor, in order. The person sees when you first read of theirs."""
    transaction, number = cursors.read("withdrawals", cursor) if cursor else ("0", "0")
    async with request_act(request) as act:
        found = await effects.feed(act, after=(transaction, number), limit=limit)
    if found:
        transaction, number = found[-1].position
    return WithdrawalPage(
        [view(effect) for effect in found], cursors.sign("withdrawals", transaction, number)
    )


@post(
    "/v1/withdrawals/{ended_grant_id:str}/acknowledgement",
    opt=client(Scope.GRANTS, while_frozen=True),
    status_code=200,
    summary="Confirm that you stopped",
)
async def acknowledge_withdrawal(request: AnyRequest, ended_grant_id: FromPath[str]) -> Response[bytes]:
    """Say that you stopped using what the consent allowed. Twice is fine."""
    async with request_act(request) as act:
        effect = await effects.acknowledge(act, GrantId(ids.private("gnt", ended_grant_id)))
        return answered(act, view(effect), 200)


@post(
    "/v1/withdrawals/{ended_grant_id:str}/attestation",
    opt=client(Scope.GRANTS, while_frozen=True),
    status_code=200,
    summary="Attest what you deleted",
)
async def attest_withdrawal(
    request: AnyRequest, ended_grant_id: FromPath[str], data: JSONBody[AttestationRequest]
) -> Response[bytes]:
    """Say, signed, that you deleted the data, or which law makes you keep them until when; it confirms too.

    The same again is fine. What you had to keep, you can attest as deleted later.
    """
    grant, caller, settings = (
        GrantId(ids.private("gnt", ended_grant_id)),
        client_of(request),
        request.app.state.settings,
    )
    retention, signed = _retention(data), attestations.read(data.attestation)
    registered = await clients.find(caller.client_id, signed.header.kid, loopback=not settings.in_production)
    said = Attestation(
        caller.client_id, settings.issuer, ended_grant_id, data.outcome, 0, data.basis, data.until
    )
    async with request_act(request) as act:
        await effects.held(act, grant)  # whether it is the caller's comes before whether it is well said
        attestations.verify(signed, registered, said, act.now)
        effect = await effects.attest(act, grant, retention, data.attestation)
        return answered(act, view(effect), 200)


def _retention(data: AttestationRequest) -> Retention | None:
    if data.outcome == "retained_by_law" and data.basis is not None and data.until is not None:
        return Retention(data.basis, data.until)
    if data.outcome == "purged" and data.basis is None and data.until is None:
        return None
    faults = [
        Fault(f"/{name}", "not_fitting", "give it with retained_by_law, and only with that")
        for name, value in (("basis", data.basis), ("until", data.until))
        if (value is None) == (data.outcome == "retained_by_law")
    ]
    raise Unacceptable("say under which law it is kept, and until which day", *faults)


@get("/v1/me/withdrawals", opt=person(light=True), summary="My withdrawals")
async def list_own_withdrawals(request: AnyRequest) -> Page[OwnWithdrawal]:
    """What each recipient did after your consents ended, newest first."""
    async with request_view(request) as looking:
        found = await effects.mine(looking, person_of(request).user)
        return Page([_own_view(effect, overdue=effect.overdue(looking.now)) for effect in found])


def view(effect: Effect) -> WithdrawalView:
    """An ended consent as its recipient sees it."""
    return WithdrawalView(
        grant_id=ids.public("gnt", effect.grant),
        purpose=effect.purpose,
        ended_code=effect.ended_code,
        ended_at=when(effect.ended_at),
        state=effect.state,
        acknowledge_by=when(effect.acknowledge_by),
        settle_by=when(effect.settle_by),
        user=ids.public("usr", effect.known_as) if effect.known_as else None,
        basis=effect.retention.basis if effect.retention else None,
        until=effect.retention.until if effect.retention else None,
    )


def _own_view(effect: Effect, *, overdue: bool) -> OwnWithdrawal:
    return OwnWithdrawal(
        grant_id=ids.public("gnt", effect.grant),
        recipient=receipts.party(effect.recipient),
        purpose=effect.purpose,
        ended_code=effect.ended_code,
        ended_at=when(effect.ended_at),
        state=effect.state,
        overdue=overdue,
        requested_at=when(effect.requested_at),
        acknowledge_by=when(effect.acknowledge_by),
        settle_by=when(effect.settle_by),
        delivered_at=when(effect.delivered_at) if effect.delivered_at else None,
        acknowledged_at=when(effect.acknowledged_at) if effect.acknowledged_at else None,
        settled_at=when(effect.settled_at) if effect.settled_at else None,
        basis=effect.retention.basis if effect.retention else None,
        until=effect.retention.until if effect.retention else None,
    )


routes = [list_withdrawals, acknowledge_withdrawal, attest_withdrawal, list_own_withdrawals]
