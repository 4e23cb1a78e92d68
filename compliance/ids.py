"""Public ids: a type prefix and 26 characters of Crockford base 32 over a 128-bit value."""

import re
import secrets
import time
from uuid import UUID

from compliance.refusals import NotFound

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
DIGIT = {c: n for n, c in enumerate(ALPHABET)}
SHAPE = re.compile(r"([a-z]{3})_([0-7][0-9a-hjkmnp-tv-z]{25})")


def public(prefix: str, value: UUID) -> str:
    """Write `value` as a public id, e.g. `scr_01jd...`."""
    number = value.int
    digits = [ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(digits)}"


def private(prefix: str, text: str) -> UUID:
    """Read a public id of one kind; a wrong kind or shape is unknown like any unknown id."""
    match = SHAPE.fullmatch(text)
    if match is None or match[1] != prefix:
        raise NotFound
    number = 0
    for digit in match[2]:
        number = number << 5 | DIGIT[digit]
    return UUID(int=number)


def random_id() -> UUID:
    """128 random bits: for what must not be guessed or ordered (people, pseudonyms, entries)."""
    return UUID(bytes=secrets.token_bytes(16))


def ordered_id() -> UUID:
    """48 bits of milliseconds and 80 random bits: for rows that are read in the order of their making."""
    return UUID(bytes=(time.time_ns() // 1_000_000).to_bytes(6, "big") + secrets.token_bytes(10))
