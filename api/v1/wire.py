"""The shapes that several nouns share on the wire (msgspec structs; times RFC 3339 in UTC)."""

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

T = TypeVar("T")

PLAIN = r"^[^\x00-\x1f\x7f]*$"
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=40, pattern=PLAIN)]
"""An opaque id with its type prefix."""
CurrencyCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
DecimalString = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,10})?$", max_length=20)]


Statement = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
"""What somebody writes in their own words; plain text, lines may be broken."""


LimitParameter = Annotated[int, QueryParameter(ge=1, le=500)]
CursorParameter = Annotated[str | None, QueryParameter(max_length=300)]


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount in minor units (fen for CNY)."""

    amount_minor: Annotated[int, msgspec.Meta(ge=0, le=10**13)]
    currency: CurrencyCode


class Page(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """A page of a list; `next` is the cursor of the one after, absent on the last."""

    items: list[T]
    next: str | None = None


def when(at: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
