"""Events as somebody brings them, made ready to be kept: each right, or set aside with its reason; each with its digest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import polars as pl

from compliance.vocabulary import Category, UserId
from scoring import behaviour
from scoring.behaviour import EVENTS
from scoring.behaviour_files import LINE, RECORD
from scoring.buckets import bucket_of
from scoring.measures import forbidden
from scoring.store import retention

DIGEST_BYTES = 16
FIELDS = frozenset(column.name for column in EVENTS)
WORDS = ("category", "name", "attributes")
NOT_TAKEN = frozenset({Category.SOCIAL_GRAPH})
"""An event does not say who the other end is, so that nobody can know whether they agreed: relations say it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one event was set aside: the number of its record, its first wrong column, the reason; never a value."""

    line: int
    column: str
    reason: str


def raw(events: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """JSON objects as the cells of a table, read as in a file of JSON lines; they count from 0."""
    cells = {name: [_cell(event.get(name)) for event in events] for name in (c.name for c in EVENTS)}
    table = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))
    # An empty text is an empty cell, as in files.
    table = table.with_columns(pl.when(pl.all() != "").then(pl.all()))
    return table.with_row_index(LINE).with_columns(pl.lit(None, pl.String).alias(RECORD))


def _cell(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def sorted_out(cells: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, list[Fault]]:
    """Part events into those that can be kept, as far as they say it themselves, and the faults of the others."""
    good, bad = behaviour.checked_events(cells)
    faults = [Fault(*row) for row in bad.iter_rows()]
    rules = (
        ("at", "in_future", pl.col("at") > now),
        ("at", "too_old", retention.is_over(now - retention.KEPT)),
        ("category", "category_not_taken", pl.col("category").is_in(list(NOT_TAKEN))),
        ("name", "forbidden_name", pl.col("name").is_in(forbidden_of(good["name"]))),
    )
    for column, reason, wrong in rules:
        faults += [Fault(line, column, reason) for line in good.filter(wrong)[LINE]]
        good = good.filter(~wrong)
    return good, faults


def without_forbidden(events: pl.DataFrame) -> pl.DataFrame:
    """Of events that are kept, those of which the name is still not forbidden: the list of it grows."""
    return events.filter(~pl.col("name").is_in(forbidden_of(events["name"])))


def forbidden_of(names: pl.Series) -> list[str]:
    """Those of these names that are forbidden by now."""
    return [name for name in names.unique() if forbidden.ban_of(name)]


def of_people(
    good: pl.DataFrame, people: Mapping[str, UserId], since: datetime | None
) -> tuple[pl.DataFrame, list[Fault]]:
    """Events of people we know, each once, with bucket, digest and whether it comes late, and those of nobody we know.

    `since`: the cut-off of the last snapshot.
    """
    known = good.filter(pl.col("user").is_in(list(people)))
    strange = good.filter(~pl.col("user").is_in(list(people)))
    faults = [Fault(line, "user", "unknown_user") for line in strange[LINE]]
    users = [people[reference] for reference in known["user"]]
    said = known.with_columns(
        pl.Series("user", [str(user) for user in users], pl.String),
        pl.Series("bucket", [bucket_of(user) for user in users], pl.Int32),
        pl.Series("attributes", [_sorted(text) for text in known["attributes"]], pl.String),
        pl.Series("late", [since is not None and at < since for at in known["at"]], pl.Boolean),
        pl.col("count").cast(pl.Int32),
    )
    digests = [_digest(row) for row in said.iter_rows(named=True)]
    ready = said.with_columns(pl.Series("digest", digests, pl.Binary))
    return ready.unique("digest", keep="first", maintain_order=True), faults


def _sorted(attributes: str | None) -> str | None:
    """Attributes in one way of writing them, so that the order of their names makes no other event."""
    if attributes is None:
        return None
    return json.dumps(json.loads(attributes), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(event: Mapping[str, object]) -> bytes:
    """Of everything that an event says. Control characters part what is in it, for they stand in no cell."""
    value, at = event["value"], event["at"]
    if not isinstance(at, datetime):
        raise TypeError("an event without a time was let through")
    # Zero has no sign: what is equal has the same digest.
    number = "" if not isinstance(value, float) else (value + 0.0).hex()
    parts = [event["user"], at.isoformat(), event["count"], number, *(event[name] for name in WORDS)]
    text = "\x1f".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]
