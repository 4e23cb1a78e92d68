"""Sessions of people and staff: one-time links, hashed tokens, cookies that scripts cannot read.

Their bookkeeping takes a reserved connection: whoever wants to stop a use must get as far as that.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from litestar import Request
from litestar.datastructures import Cookie

from api.settings import Settings
from compliance import ids
from compliance.act import Upkeep, open_act, open_upkeep
from compliance.database import ground
from compliance.refusals import Refusal
from compliance.vocabulary import Person, Principal, Staff, StaffId, StaffRole, UserId

TOKEN_BYTES = 32
METHOD = "one_time_link"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class NotSignedIn(Refusal):
    """There is no live session of the right kind."""

    status, code, title = 401, "not_signed_in", "You are not signed in"


class LinkSpent(Refusal):
    """A sign-in link works once, for an hour."""

    status, code, title = 410, "link_spent", "This sign-in link no longer works"


class OriginRefused(Refusal):
    """A change that was asked for from another site."""

    status, code, title = 403, "origin_refused", "This request came from another site"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session: its token goes into the cookie and is stored nowhere."""

    token: str
    kind: Literal["person", "staff"]


def cookie_name(settings: Settings) -> str:
    """`__Host-` binds the cookie to this host over HTTPS; on plain loopback browsers would refuse it."""
    return "__Host-xinqiao" if settings.https else "xinqiao"


def cookie(settings: Settings, token: str) -> Cookie:
    """The session's cookie; Lax, so that the bank's redirect arrives signed in."""
    return Cookie(
        key=cookie_name(settings),
        value=token,
        path="/",
        httponly=True,
        secure=settings.https,
        samesite="lax",
        max_age=settings.session_seconds,
    )


async def make_link(
    by: Principal, settings: Settings, *, user: UserId | None = None, staff: StaffId | None = None
) -> str:
    """A one-time sign-in link's token, for somebody whom the operator has identified. Records `link_made`."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    async with open_act(by, None) as act:
        act.record("link_made", {"for": "staff" if staff else "person"}, person=user)
    async with open_upkeep(reserved=True) as upkeep:
        await upkeep.db.execute_query(
            "insert into api_link (token_hash, user_id, staff, expires_at) values ($1, $2, $3, $4)",
            [_hash(token), user, staff, upkeep.now + timedelta(seconds=settings.link_seconds)],
        )
    return token


async def sign_in(settings: Settings, link: str) -> SignedIn:
    """Spend a link and start a session."""
    async with open_upkeep(reserved=True) as upkeep:
        rows = await upkeep.db.execute_query_dict(
            """update api_link set used_at = $2 where token_hash = $1 and used_at is null and expires_at > $2
               returning user_id, staff""",
            [_hash(link), upkeep.now],
        )
        if not rows:
            raise LinkSpent("ask for a new sign-in link")
        return await _begin(upkeep, settings, METHOD, user=rows[0]["user_id"], staff=rows[0]["staff"])


async def start(settings: Settings, user: UserId, method: str) -> SignedIn:
    """Start a session of a person who has just proven who they are; `method` says how."""
    async with open_upkeep(reserved=True) as upkeep:
        return await _begin(upkeep, settings, method, user=user, staff=None)


async def _begin(
    upkeep: Upkeep, settings: Settings, method: str, *, user: UserId | None, staff: StaffId | None
) -> SignedIn:
    """A session with a token of its own: none that came from outside is adopted."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await upkeep.db.execute_query(
        """insert into api_session (id, token_hash, user_id, staff, method, signed_in_at, expires_at)
           values ($1, $2, $3, $4, $5, $6, $7)""",
        [
            ids.random_id(),
            _hash(token),
            user,
            staff,
            method,
            upkeep.now,
            upkeep.now + timedelta(seconds=settings.session_seconds),
        ],
    )
    return SignedIn(token, "person" if user else "staff")


async def signed_in(request: Request[Any, Any, Any], kind: str) -> Person | Staff:
    """Whose session the cookie belongs to; refuses the other kind, and changes asked for from other sites."""
    settings: Settings = request.app.state.settings
    refuse_other_sites(request)
    token = request.cookies.get(cookie_name(settings), "")
    if not token:
        raise NotSignedIn("open your sign-in link first")
    async with open_upkeep(reserved=True) as upkeep:
        rows = await upkeep.db.execute_query_dict(
            """select s.id, s.user_id, s.staff, s.method, s.signed_in_at, f.role
               from api_session s left join api_staff f on f.id = s.staff
               where s.token_hash = $1 and s.ended_at is null and s.expires_at > $2""",
            [_hash(token), upkeep.now],
        )
    if not rows or (rows[0]["user_id"] is not None) != (kind == "person"):
        raise NotSignedIn("open your sign-in link first")
    row = rows[0]
    if kind == "person":
        return Person(UserId(row["user_id"]), row["id"], row["signed_in_at"], row["method"])
    return Staff(StaffId(row["staff"]), StaffRole(row["role"]))


def has_cookie(request: Request[Any, Any, Any]) -> bool:
    """Whether the browser carries a session, alive or not."""
    return cookie_name(request.app.state.settings) in request.cookies


async def sign_out(settings: Settings, request: Request[Any, Any, Any]) -> None:
    """End the session of the cookie."""
    token = request.cookies.get(cookie_name(settings), "")
    async with open_upkeep(reserved=True) as upkeep:
        await upkeep.db.execute_query(
            "update api_session set ended_at = $2 where token_hash = $1 and ended_at is null",
            [_hash(token), upkeep.now],
        )


def csrf_token(request: Request[Any, Any, Any]) -> str:
    """The form token of a session: an HMAC of its cookie, so that nothing need be stored and none can be forged."""
    cookie_token = request.cookies.get(cookie_name(request.app.state.settings), "")
    return hmac.new(ground().keyring.derived("csrf"), cookie_token.encode(), hashlib.sha256).hexdigest()


def csrf_holds(request: Request[Any, Any, Any], given: str) -> bool:
    """Whether a form's token is this session's, in constant time."""
    return hmac.compare_digest(csrf_token(request).encode(), given.encode())


def refuse_other_sites(request: Request[Any, Any, Any]) -> None:
    """A cookie proves who, not who asked: a change must not come from another site's page."""
    if request.method in SAFE:
        return
    settings: Settings = request.app.state.settings
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if (origin is not None and origin != settings.issuer) or site not in ("same-origin", "none"):
        raise OriginRefused("make this change from our own pages")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
