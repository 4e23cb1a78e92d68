"""What people and staff write to each other: short, plain, sealed under the key of the person it is about."""

import hashlib
from uuid import UUID

from compliance.database import ground
from compliance.keys import Sealer
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import UserId

LENGTH_MAX = 1_000
ANSWER_LENGTH_MIN = 10
"""A reason in a word is none."""


def checked(text: str, *, length_min: int = 1) -> str:
    """The text without blanks around it; refuses (`Unacceptable`) one that is too short, too long or not plain text.

    Lines may be broken; other control characters, and what changes the direction of writing, are not text.
    """
    plain = text.replace("\r\n", "\n").strip()
    if len(plain) < length_min:
        raise _fault("too_short", f"write at least {length_min} characters")
    if len(plain) > LENGTH_MAX:
        raise _fault("too_long", f"write at most {LENGTH_MAX} characters")
    if not plain.replace("\n", " ").isprintable():
        raise _fault("invalid", "write plain text")
    return plain


def _fault(code: str, detail: str) -> Unacceptable:
    return Unacceptable("correct the text", Fault("/text", code, detail))


async def seal(user: UserId, text: str, place: str, about: UUID) -> bytes:
    """Seal a text under a person's key, bound to its place; `KeyErased` if the person was deleted."""
    return (await ground().key_store.sealer(user)).seal(text.encode(), _place(place, about))


async def read(user: UserId, sealed: bytes | None, place: str, about: UUID) -> str | None:
    """A sealed text, or None where there is none; `KeyErased` if the person was deleted."""
    if sealed is None:
        return None
    return opened(await ground().key_store.sealer(user), bytes(sealed), place, about)


def opened(sealer: Sealer, sealed: bytes, place: str, about: UUID) -> str:
    """A sealed text, by the person's key."""
    return sealer.open(sealed, _place(place, about)).decode()


def digest(text: str) -> str:
    """SHA-256 of a text: what the log commits to, so that nobody can change the text unnoticed."""
    return hashlib.sha256(text.encode()).hexdigest()


def _place(place: str, about: UUID) -> bytes:
    return place.encode() + about.bytes
