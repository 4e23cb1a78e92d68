"""Grant Management for OAuth 2.0 (a draft: FAPI working group, draft 3): look at a consent, give it back."""

from typing import Any

import msgspec
from litestar import delete, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from api.access import AnyRequest, client, request_act, request_view
from api.oauth import authorizations
from api.oauth.scopes import USUAL, Scope
from compliance import ids
from compliance.refusals import NotFound
from compliance.vocabulary import GrantId
from consent import grants, life, people

PATH = "/oauth/grants"


class GrantedScopes(msgspec.Struct, frozen=True):
    """Scopes that a token for the consent can have, and where."""

    scope: str
    resource: list[str]


class ManagedGrant(msgspec.Struct, frozen=True):
    """What a consent allows (draft 3, section 6.3)."""

    scopes: list[GrantedScopes]
    authorization_details: list[dict[str, Any]]
    last_updated: int


@get(
    f"{PATH}/{{grant_id:str}}",
    opt=client(Scope.GRANT_MANAGEMENT_QUERY, while_frozen=True),
    summary="See what a consent allows (Grant Management, draft)",
)
async def query(request: AnyRequest, grant_id: FromPath[str]) -> ManagedGrant:
    """What one of your consents allows now; 404 once it has ended, like one that never was."""
    async with request_view(request) as view:
        row = await grants.find(view, GrantId(ids.private("gnt", grant_id)))
        known_as = await people.known_as(view, grants.user_of(row))
        if life.state_now(row, view.now)[0] not in life.LIVE or row.given_at is None or known_as is None:
            raise NotFound
        detail = authorizations.detail(row, ids.public("usr", known_as))
        scopes = GrantedScopes(" ".join(sorted(USUAL)), [request.app.state.settings.issuer])
        return ManagedGrant([scopes], [detail], int(row.given_at.timestamp()))


@delete(
    f"{PATH}/{{grant_id:str}}",
    opt=client(Scope.GRANT_MANAGEMENT_REVOKE, while_frozen=True),
    summary="Give a consent back (Grant Management, draft)",
)
async def give_back(request: AnyRequest, grant_id: FromPath[str]) -> None:
    """End one of your consents: all that rests on it stops at once, its tokens too, and the person sees who ended it."""
    async with request_act(request) as act:
        await grants.relinquish(act, GrantId(ids.private("gnt", grant_id)))


routes: list[HTTPRouteHandler] = [query, give_back]
