"""One try to sign in, from leaving for the provider to coming back: sealed in a cookie of the same browser, for once."""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from litestar.datastructures import Cookie

from api.oauth.checks import single_use
from api.settings import Settings
from compliance.database import ground
from compliance.keys import Sealer
from compliance.refusals import Refusal

SECONDS = 600
SECRET_BYTES = 32
SEALED_LENGTH_MAX = 4_096
ABOUT = b"sign-in attempt"


class SignInExpired(Refusal):
    """No sign-in of this browser waits for this answer: it took too long, was answered before, or began elsewhere."""

    status, code, title = 410, "sign_in_expired", "This sign-in can no longer be completed"


class Attempt(msgspec.Struct, frozen=True):
    """What is known of it; `verifier` is for PKCE (RFC 7636), `to` is the page of ours to go on to."""

    state: str
    nonce: str
    verifier: str
    to: str
    fresh: bool
    begun_at: float

    @property
    def challenge(self) -> str:
        """The verifier as PKCE's S256 shows it."""
        return urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


DECODER = msgspec.json.Decoder(Attempt)


def begin(to: str, now: float, *, fresh: bool) -> Attempt:
    """A new one, with secrets of its own; `now` in seconds since 1970."""
    state, nonce, verifier = (secrets.token_urlsafe(SECRET_BYTES) for _ in range(3))
    return Attempt(state, nonce, verifier, to, fresh, now)


def cookie_name(settings: Settings) -> str:
    """Bound to this host over HTTPS, as the session's."""
    return "__Host-xinqiao-sign-in" if settings.https else "xinqiao-sign-in"


def cookie(settings: Settings, attempt: Attempt | None) -> Cookie:
    """The cookie that carries an attempt; `None` takes it away. Lax: the provider's redirect brings it along."""
    return Cookie(
        key=cookie_name(settings),
        value=urlsafe_b64encode(_sealer().seal(msgspec.json.encode(attempt), ABOUT)).decode()
        if attempt
        else "",
        path="/",
        httponly=True,
        secure=settings.https,
        samesite="lax",
        max_age=SECONDS if attempt else 0,
    )


def unsealed(sealed: str) -> Attempt | None:
    """The attempt in a cookie, however old, if we sealed it."""
    try:
        return DECODER.decode(_sealer().open(urlsafe_b64decode(sealed[:SEALED_LENGTH_MAX].encode()), ABOUT))
    except (ValueError, InvalidTag, msgspec.MsgspecError):
        return None


def opened(sealed: str, state: str, now: float) -> Attempt:
    """The attempt in a cookie, if it is the one that an answer with this `state` belongs to; raises `SignInExpired`."""
    found = unsealed(sealed)
    # RFC 9700 section 4.7.1: an answer that this browser did not ask for signs nobody in.
    if found is None or not hmac.compare_digest(found.state.encode(), state.encode(errors="replace")):
        raise SignInExpired("sign in again from the beginning")
    if now > found.begun_at + SECONDS:
        raise SignInExpired("sign in again from the beginning")
    return found


async def spend(attempt: Attempt) -> None:
    """Of many answers to one attempt, at once or later, the first counts; raises `SignInExpired` for the others."""
    until = datetime.fromtimestamp(attempt.begun_at + SECONDS, UTC)
    if not await single_use.spend_one(sha256(f"sign-in {attempt.state}".encode()).digest(), until):
        raise SignInExpired("sign in again from the beginning")


def _sealer() -> Sealer:
    return Sealer(ground().keyring.derived("sign-in-attempt"))
