"""/v1/me/deletion: a person deletes everything about themselves; /v1/deletions: what became of it."""

from typing import Literal

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api import erasing
from api.access import AnyRequest, person, public, request_view
from api.v1.wire import when
from compliance import ids
from consent import deletion, effects, receipts
from consent.deletion import Deletion
from consent.effects import Effect


class DeletionWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Your word that you mean it; nobody can undo this."""

    confirmation: Literal["delete_everything_about_me"]


class RecipientAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far one recipient is with deleting what it got."""

    recipient: str
    purpose: str
    state: str
    settle_by: str
    settled_at: str | None = None
    basis: str | None = None
    retained_until: str | None = None


class DeletionState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A deletion: when, the signed certificate (compact JWS), and what recipients did since."""

    id: str
    erased_at: str
    certificate: str
    recipients: list[RecipientAnswer]
    finished_at: str | None = None
    """When your key had been destroyed and every sign-in was gone."""


@post("/v1/me/deletion", opt=person(fresh=True), status_code=200, summary="Delete everything about me")
async def delete_me(request: AnyRequest, data: JSONBody[DeletionWish]) -> Response[bytes]:  # noqa: ARG001 - its shape is all it says
    """Delete everything about you: every consent ends, recipients are asked to delete, your key is destroyed.

    Keep the id: with it, and without signing in, you can see what recipients answer.
    """
    made = await erasing.delete(request, lambda act, made: act.answer(200, _written(made)))
    return Response(_written(made), media_type="application/json", headers={"Cache-Control": "no-store"})


@get("/v1/deletions/{deletion_id:str}", opt=public(), summary="What became of a deletion")
async def show_deletion(request: AnyRequest, deletion_id: FromPath[str]) -> DeletionState:
    """For whoever holds its id: whether it is finished, and how far each recipient is."""
    wanted = ids.private("del", deletion_id)
    async with request_view(request) as view:
        made = await deletion.look(view, wanted)
        return _shown(made, await effects.of_deletion(view, wanted))


def _written(made: Deletion) -> bytes:
    return msgspec.json.encode(_shown(made, []))


def _shown(made: Deletion, asked: list[Effect]) -> DeletionState:
    return DeletionState(
        id=ids.public("del", made.id),
        erased_at=when(made.erased_at),
        certificate=made.certificate,
        recipients=[_answer(effect) for effect in asked],
        finished_at=when(made.finished_at) if made.finished_at else None,
    )


def _answer(effect: Effect) -> RecipientAnswer:
    return RecipientAnswer(
        recipient=receipts.party(effect.recipient),
        purpose=effect.purpose,
        state=effect.state,
        settle_by=when(effect.settle_by),
        settled_at=when(effect.settled_at) if effect.settled_at else None,
        basis=effect.retention.basis if effect.retention else None,
        retained_until=effect.retention.until.isoformat() if effect.retention else None,
    )


routes = [delete_me, show_deletion]
