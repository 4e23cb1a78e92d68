"""Authorizations: what a client asks of a person, the person's answer as a code, and the tokens that the code becomes.

One row from the pushed request to the last refresh. Secrets are kept as hashes. Whether what was issued still counts is
never written: it counts while the grant lives and nobody revoked it.
"""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from api import asks
from api.oauth.attempt import Attempt
from api.oauth.authorization_request import DETAIL_TYPE, AuthorizationRequest
from api.oauth.checks.form import InvalidRequest
from api.oauth.tokens import Delegation
from api.tables import AuthorizationRow
from compliance import ids
from compliance.act import Act, View, open_upkeep
from compliance.refusals import NotFound, Refusal
from compliance.vocabulary import Categories, Category, GrantId
from consent import endings, grants, life, people
from consent.grants import Ask
from consent.tables import GrantRow
from partners.directory import PartnerSuspended

SECRET_BYTES = 32
REQUEST_URI = "urn:ietf:params:oauth:request_uri:"
REQUEST_SECONDS = 540
"""FAPI 2.0 section 5.3.2.2, item 12: less than 600; the person signs in meanwhile."""
CODE_SECONDS = 60
"""FAPI 2.0 section 5.3.2.1, item 11."""
FORGOTTEN_AFTER = timedelta(days=1)
endings.keep(
    "api_authorization", "a token lives while its grant does: that is read on each call, never written"
)

PENDING = """
select a.grant_id from api_authorization a
join api_client c on c.client_id = a.client_id join partners_partner p on p.id = a.partner
where a.request_hash = $1 and a.client_id = $2 and a.request_expires_at > $3 and a.answered_at is null
  and c.suspended_at is null and p.suspended_at is null
"""
WAITING = "select redirect_uri, state from api_authorization where grant_id = $1 and answered_at is null"
STOPPED = """
select 1 from api_authorization a join api_client c on c.client_id = a.client_id
where a.grant_id = $1 and a.answered_at is null and c.suspended_at is not null
"""
CONSUME = """
update api_authorization set redeemed_at = $3, refresh_hash = $4
where code_hash = $1 and client_id = $2 and redeemed_at is null and code_expires_at > $3 and revoked_at is null
returning id
"""
REVOKE_REPLAYED = """
update api_authorization set revoked_at = coalesce(revoked_at, $3)
where code_hash = $1 and client_id = $2 and redeemed_at is not null returning grant_id
"""


class RequestUnusable(Refusal):
    """The address does not lead to an authorization request that waits for an answer; nobody is sent anywhere."""

    status, code, title = 400, "request_unusable", "This request cannot be answered"


class InvalidGrant(Refusal):
    """The code or refresh token does not count, or not for this client (RFC 6749 section 5.2)."""

    status, code, title = 400, "invalid_grant", "The code or refresh token does not count"


class InvalidGrantId(Refusal):
    """The consent that is to be changed is not one of the client's that lives (Grant Management, draft)."""

    status, code, title = 400, "invalid_grant_id", "There is no such consent to change"


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a code or a refresh token stands for; `refresh_token` where one was made."""

    delegation: Delegation
    scopes: frozenset[str]
    redirect_uri: str
    code_challenge: str
    refresh_token: str | None = None
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        """Where the person was sent back to (as Authlib asks)."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """What may be asked for at most (as Authlib asks)."""
        return " ".join(sorted(self.scopes))

    def check_client(self, _client: object) -> bool:
        """It was looked up by its client (as Authlib asks)."""
        return True


async def push(act: Act, client_id: str, asked: AuthorizationRequest, *, offered: Categories) -> str:
    """Keep a pushed request and ask for its consent; returns the `request_uri`. Records `grant_requested`."""
    row = await grants.ask(act, await _wanted(act, asked), offered=offered)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    await AuthorizationRow.create(
        id=ids.ordered_id(),
        client_id=client_id,
        partner=act.tenant,
        grant_id=row.id,
        scopes=sorted(asked.scopes),
        redirect_uri=asked.redirect_uri,
        state=asked.state,
        code_challenge=asked.code_challenge,
        proof_key=asked.proof_key,
        made_at=act.now,
        request_hash=_hash(secret),
        request_expires_at=act.now + timedelta(seconds=REQUEST_SECONDS),
        using_db=act.db,
    )
    return REQUEST_URI + secret


async def _wanted(act: Act, asked: AuthorizationRequest) -> Ask:
    """The consent asked for. A changed consent is a new one, which ends the old when the person says yes."""
    wanted = await asks.of_caller(act, asked.detail)
    if asked.replaces is None:
        return wanted
    try:
        old = await grants.find(act, GrantId(ids.private("gnt", asked.replaces)))
    except NotFound:
        old = None
    if old is None or life.state_now(old, act.now)[0] not in life.LIVE:
        raise InvalidGrantId("name a consent of yours that lives")
    if (old.recipient, old.bureau, old.purpose) != (wanted.recipient, wanted.bureau, wanted.purpose):
        raise InvalidGrantId("another recipient or purpose is another consent: create one")
    if wanted.user not in (None, old.user_id):
        raise InvalidGrantId("the consent is another person's than the one you name")
    kept = frozenset(Category(c) for c in old.categories) if asked.action == "merge" else frozenset()
    return replace(wanted, user=grants.user_of(old), categories=wanted.categories | kept)


async def pending(client_id: str, request_uri: str) -> GrantId:
    """The consent that a pushed request waits for; a request_uri counts until it is answered, for its client alone."""
    secret = request_uri.removeprefix(REQUEST_URI)
    async with open_upkeep() as upkeep:
        rows = await upkeep.db.execute_query_dict(PENDING, [_hash(secret), client_id, upkeep.now])
    if not rows or secret == request_uri:
        raise RequestUnusable("go back to where you came from and start again")
    return GrantId(rows[0]["grant_id"])


async def refuse_stopped(act: Act, grant: GrantId) -> None:
    """Nobody says yes to a client that was suspended meanwhile; raises `RequestUnusable`."""
    if await act.db.execute_query_dict(STOPPED, [grant]):
        raise RequestUnusable("this request was stopped; nothing was agreed")


async def answer(act: Act, grant: GrantId, *, given: bool, issuer: str) -> str | None:
    """After the person's answer: the address that carries it back to the client; none where no client waits for it."""
    code = secrets.token_urlsafe(SECRET_BYTES)
    rows = await act.db.execute_query_dict(
        """update api_authorization set answered_at = $2, code_hash = $3, code_expires_at = $4
           where grant_id = $1 and answered_at is null returning redirect_uri, state""",
        [
            grant,
            act.now,
            _hash(code) if given else None,
            act.now + timedelta(seconds=CODE_SECONDS) if given else None,
        ],
    )
    if not rows:
        return None
    said = {"code": code} if given else {"error": "access_denied"}
    return _back(rows[0]["redirect_uri"], rows[0]["state"], said, issuer)


async def refusal(view: View, grant: GrantId, issuer: str) -> str | None:
    """The address that tells a waiting client no, where the person cannot answer; none where no client waits."""
    rows = await view.db.execute_query_dict(WAITING, [grant])
    return (
        _back(rows[0]["redirect_uri"], rows[0]["state"], {"error": "access_denied"}, issuer) if rows else None
    )


def _back(redirect_uri: str, state: str | None, said: dict[str, str], issuer: str) -> str:
    # RFC 9207: the issuer stands in every answer, so that one server's code is never taken to another.
    said |= ({"state": state} if state is not None else {}) | {"iss": issuer}
    return f"{redirect_uri}{'&' if urlsplit(redirect_uri).query else '?'}{urlencode(said)}"


async def redeem(act: Act, attempt: Attempt) -> Redeemed | None:
    """Consume the code of a token request, once; the first thing done, so that of many at once one succeeds.

    None: it was redeemed before, and what came of it is revoked now (RFC 6749 section 4.1.2). Records
    `authorization_redeemed` or `code_replayed`. Raises `InvalidGrant`.
    """
    if "code" not in attempt.form:
        raise InvalidRequest("code is missing")
    if attempt.standing.frozen:
        raise PartnerSuspended
    code, refresh_token = _hash(attempt.form["code"]), secrets.token_urlsafe(SECRET_BYTES)
    rows = await act.db.execute_query_dict(CONSUME, [code, attempt.client_id, act.now, _hash(refresh_token)])
    if not rows:
        await _revoke_replayed(act, code, attempt.client_id)
        return None
    row = await AuthorizationRow.get(id=rows[0]["id"], using_db=act.db)
    if row.proof_key not in (None, attempt.binding.jkt):
        raise InvalidGrant("the code is bound to another key")
    return replace(await _redeemed(act, row, "authorization_redeemed"), refresh_token=refresh_token)


async def _revoke_replayed(act: Act, code: bytes, client_id: str) -> None:
    rows = await act.db.execute_query_dict(REVOKE_REPLAYED, [code, client_id, act.now])
    if not rows:
        raise InvalidGrant("the code is unknown, too old, or not yours")
    grant = await grants.find(act, GrantId(rows[0]["grant_id"]))
    act.record("code_replayed", {"client": client_id}, person=grants.user_of(grant), grant=GrantId(grant.id))


async def refresh(act: Act, attempt: Attempt) -> Redeemed:
    """What the refresh token of a token request stands for. Records `token_refreshed`. Raises `InvalidGrant`."""
    if "refresh_token" not in attempt.form:
        raise InvalidRequest("refresh_token is missing")
    row = await by_refresh_token(act, attempt.client_id, attempt.form["refresh_token"])
    if row is None:
        raise InvalidGrant("the refresh token is unknown, revoked, or not yours")
    return await _redeemed(act, row, "token_refreshed")


async def by_refresh_token(at: Act | View, client_id: str, token: str) -> AuthorizationRow | None:
    """The authorization that a refresh token of the client's belongs to, unless it was revoked."""
    found = AuthorizationRow.filter(refresh_hash=_hash(token), client_id=client_id, revoked_at=None)
    return await found.using_db(at.db).first()


async def _redeemed(act: Act, row: AuthorizationRow, kind: str) -> Redeemed:
    # The lock that a withdrawal waits for: what is told here does not stand after it in the log.
    grant = await grants.held(act, GrantId(row.grant_id))
    delegation = await delegated(act, row, grant)
    if delegation is None:
        raise InvalidGrant("the consent has ended")
    client = {"client": row.client_id}
    act.record(kind, client, person=grants.user_of(grant), grant=delegation.grant)
    return Redeemed(delegation, frozenset(row.scopes), row.redirect_uri, row.code_challenge)


async def delegated(at: Act | View, row: AuthorizationRow, grant: GrantRow) -> Delegation | None:
    """What the person's consent allows, as a token tells it (RFC 9396 section 7); None once it has ended.

    While it is paused the token counts, and each use is refused as `consent_paused`.
    """
    known_as = await people.known_as(at, grants.user_of(grant))
    if life.state_now(grant, at.now)[0] not in life.LIVE or grant.expires_at is None or known_as is None:
        return None
    subject = ids.public("usr", known_as)
    return Delegation(row.id, GrantId(grant.id), subject, [detail(grant, subject)], grant.expires_at)


def detail(grant: GrantRow, subject: str) -> dict[str, Any]:
    """A given consent as authorization details (RFC 9396), with what became known through the person's answer."""
    return {
        "type": DETAIL_TYPE,
        "purpose": grant.purpose,
        "categories": sorted(grant.categories),
        "template": grant.template,
        "period_days": grant.period_days,
        "answer": grant.answer,
        "grant_id": ids.public("gnt", grant.id),
        "user": subject,
    }


async def forget() -> None:
    """Forget requests that nobody answered in time; the request for consent itself stays on record."""
    async with open_upkeep() as upkeep:
        await upkeep.db.execute_query(
            "delete from api_authorization where answered_at is null and made_at < $1",
            [upkeep.now - FORGOTTEN_AFTER],
        )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
