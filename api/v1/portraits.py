"""/v1/portraits: a partner asks for a few coarse attributes of a person who consented."""

from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, client, request_act
from api.oauth.scopes import Scope
from api.v1.evaluated import Evaluated, evaluated
from api.v1.wire import Id
from compliance import ids
from compliance.vocabulary import Category
from consent import people
from consent.people import Pseudonym
from partners import directory
from scoring.answers import given, portraits
from scoring.answers.given import Answer
from scoring.release import Released
from scoring.tables import AnswerRow


class PortraitRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose portrait, from what. A licensed bureau that relays names the `recipient`."""

    user: Id
    purpose: Literal["portrait"]
    categories: Annotated[list[Category], msgspec.Meta(min_length=1, max_length=9)]
    recipient: Id | None = None


class Attribute(msgspec.Struct, frozen=True):
    """An attribute in three steps, and the version of the published rule that it follows."""

    step: Literal["low", "medium", "high"]
    version: int


class PortraitTold(msgspec.Struct, frozen=True):
    """What a portrait says."""

    attributes: dict[str, Attribute]


class PortraitView(Evaluated, frozen=True, omit_defaults=True, kw_only=True):
    """Coarse attributes by published rules; an attribute whose categories are not shared is not there."""

    attributes: dict[str, Attribute]


@post(
    "/v1/portraits",
    opt=client(Scope.SCORES, portraits.PURPOSE, once=True),
    summary="Draw a consenting person's portrait",
)
async def issue_portrait(request: AnyRequest, data: JSONBody[PortraitRequest]) -> Response[bytes]:
    """Place a person on `risk_appetite` and `product_need`, each low, medium or high, from what they consented to."""
    async with request_act(request) as act:
        user = await people.by_pseudonym(act, Pseudonym(ids.private("usr", data.user)))
        recipient = await directory.relayed_for(act, data.recipient) if data.recipient else None
        body = view(await portraits.issue(act, user, frozenset(data.categories), recipient=recipient))
        return answered(act, body, 201, {"Location": f"/v1/portraits/{body.id}"})


@get(
    "/v1/portraits/{portrait_id:str}",
    opt=client(Scope.SCORES, portraits.PURPOSE),
    summary="See an earlier portrait",
)
async def show_portrait(request: AnyRequest, portrait_id: FromPath[str]) -> PortraitView:
    """Look at a portrait again, while the consent it rests on lives. Each look is recorded like the first."""
    async with request_act(request) as act:
        return view(await given.show(act, ids.private("ans", portrait_id), portraits.KIND))


def view(released: Released[Answer]) -> PortraitView:
    """A portrait as its recipient sees it."""
    return evaluated(PortraitView, released, attributes=told(released.value.row).attributes)


def told(row: AnswerRow) -> PortraitTold:
    """What a portrait says."""
    return PortraitTold({name: Attribute(**each) for name, each in row.told.items()})


routes = [issue_portrait, show_portrait]
