"""Sessions of people and staff: how they begin and end, hashed tokens, cookies that scripts cannot read.

Their bookkeeping takes a reserved connection: whoever wants to stop a use must get as far as that.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from litestar import Request
from litestar.datastructures import Cookie

from api.settings import Settings
from compliance import ids
from compliance.act import Upkeep, open_act, open_upkeep, open_view
from compliance.database import ground
from compliance.refusals import Refusal
from compliance.vocabulary import Person, Principal, Staff, StaffId, StaffRole, UserId, Worker
from consent import people

TOKEN_BYTES = 32
LINK, PROVIDER = "one_time_link", "openid_connect"
"""How somebody signed in."""
FRESH_FOR = timedelta(minutes=5)
NOTICED_AFTER = timedelta(minutes=1)
"""How exactly it is known when a session was last used: not every page is worth a write."""
DOORKEEPER = Worker("sign_in")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class NotSignedIn(Refusal):
    """There is no live session of the right kind."""

    status, code, title = 401, "not_signed_in", "You are not signed in"


class LinkSpent(Refusal):
    """A sign-in link works once, for an hour."""

    status, code, title = 410, "link_spent", "This sign-in link no longer works"


class PersonUnknown(Refusal):
    """The provider knows who this is, and nothing is held here about them."""

    status, code, title = 403, "person_unknown", "We hold nothing about you"


class SignInAgain(Refusal):
    """For this, it must be sure that it is still the same person."""

    status, code, title = 403, "sign_in_again", "Sign in again first"


class OriginRefused(Refusal):
    """A change that was asked for from another site."""

    status, code, title = 403, "origin_refused", "This request came from another site"


@dataclass(frozen=True, slots=True)
class Proof:
    """What the operator's provider says of somebody who signed in there."""

    reference: str
    """The operator's own reference of the person."""
    auth_time: datetime
    acr: str | None


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
    """A one-time sign-in link's token, for somebody whom the operator has identified. Records `link_made`.

    In production it is for staff alone: people sign in at the operator's provider.
    """
    if user and settings.in_production:
        raise RuntimeError("in production no link signs a person in")
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
        return await _begin(upkeep, settings, user=rows[0]["user_id"], staff=rows[0]["staff"])


async def start(settings: Settings, proof: Proof) -> SignedIn:
    """Start a session of the person whom the provider vouches for; raises `PersonUnknown`."""
    async with open_view(DOORKEEPER, reserved=True) as view:
        user = await people.by_reference(view, proof.reference)
    if user is None:
        raise PersonUnknown("nobody here has the reference that your account has")
    async with open_upkeep(reserved=True) as upkeep:
        return await _begin(upkeep, settings, user=user, staff=None, proof=proof)


async def _begin(
    upkeep: Upkeep,
    settings: Settings,
    *,
    user: UserId | None,
    staff: StaffId | None,
    proof: Proof | None = None,
) -> SignedIn:
    """A session with a token of its own: none that came from outside is adopted."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await upkeep.db.execute_query(
        """insert into api_session
               (id, token_hash, user_id, staff, method, signed_in_at, used_at, expires_at, auth_time, acr)
           values ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9)""",
        [
            ids.random_id(),
            _hash(token),
            user,
            staff,
            PROVIDER if proof else LINK,
            upkeep.now,
            upkeep.now + timedelta(seconds=settings.session_seconds),
            proof and proof.auth_time,
            proof and proof.acr,
        ],
    )
    return SignedIn(token, "person" if user else "staff")


async def signed_in(request: Request[Any, Any, Any], kind: str) -> Person | Staff:
    """Whose session the cookie belongs to; refuses the other kind, and changes asked for from other sites."""
    settings: Settings = request.app.state.settings
    refuse_other_sites(request)
    token = request.cookies.get(cookie_name(settings), "")
    found = await _whose(settings, token) if token else None
    if found is None or isinstance(found, Person) != (kind == "person"):
        raise NotSignedIn("sign in first")
    return found


async def _whose(settings: Settings, token: str) -> Person | Staff | None:
    """Whose session it is, if it has neither ended nor been left alone for too long; notes that it is used."""
    async with open_upkeep(reserved=True) as upkeep:
        now, key = upkeep.now, _hash(token)
        rows = await upkeep.db.execute_query_dict(
            """select s.*, f.role from api_session s left join api_staff f on f.id = s.staff
               where s.token_hash = $1 and s.ended_at is null and s.expires_at > $2 and s.used_at > $3""",
            [key, now, now - timedelta(seconds=settings.session_idle_seconds)],
        )
        if rows and rows[0]["used_at"] < now - NOTICED_AFTER:
            await upkeep.db.execute_query(
                "update api_session set used_at = $2 where token_hash = $1", [key, now]
            )
    if not rows:
        return None
    row = rows[0]
    if row["staff"]:
        return Staff(StaffId(row["staff"]), StaffRole(row["role"]))
    how = (row["signed_in_at"], row["method"], row["auth_time"], row["acr"])
    return Person(UserId(row["user_id"]), row["id"], *how)


def refuse_stale(person: Person) -> None:
    """Refuse with `SignInAgain` who proved too long ago who they are."""
    if datetime.now(UTC) - person.proven_at > FRESH_FOR:
        minutes = FRESH_FOR // timedelta(minutes=1)
        raise SignInAgain(f"open /sign-in?fresh=yes, sign in, then repeat this within {minutes} minutes")


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


async def end_all(user: UserId) -> None:
    """End every session of a person, on whatever device."""
    async with open_upkeep() as upkeep:
        await upkeep.db.execute_query(
            "update api_session set ended_at = $2 where user_id = $1 and ended_at is null", [user, upkeep.now]
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
