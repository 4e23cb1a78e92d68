"""Events as somebody brings them, made ready to be kept: each right, or set aside with its reason; each with its digest."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
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
Rule = tuple[str, str, pl.Expr]
"""A column, the reason why a row is set aside for it, and which rows are."""
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
    return parted(
        good,
        bad,
        ("at", "in_future", pl.col("at") > now),
        ("at", "too_old", retention.is_over(now - retention.KEPT)),
        ("category", "category_not_taken", pl.col("category").is_in(list(NOT_TAKEN))),
        ("name", "forbidden_name", is_forbidden(good["name"])),
    )


def parted(good: pl.DataFrame, bad: pl.DataFrame, *rules: Rule) -> tuple[pl.DataFrame, list[Fault]]:
    """Rows that are right and that no rule finds wrong, and the faults of the others: of each the first one."""
    kept, faults = _without(good, rules)
    return kept, [*(Fault(*row) for row in bad.iter_rows()), *faults]


def of_known(good: pl.DataFrame, people: Collection[str], *columns: str) -> tuple[pl.DataFrame, list[Fault]]:
    """Rows that name people we know in each of these columns, and the faults of the others."""
    return _without(good, [(name, "unknown_user", ~pl.col(name).is_in(list(people))) for name in columns])


def _without(good: pl.DataFrame, rules: Sequence[Rule]) -> tuple[pl.DataFrame, list[Fault]]:
    faults = []
    for column, reason, wrong in rules:
        is_wrong = wrong.fill_null(value=False)
        faults += [Fault(line, column, reason) for line in good.filter(is_wrong)[LINE]]
        good = good.filter(~is_wrong)
    return good, faults


def is_late(moments: pl.Series, since: datetime | None) -> pl.Series:
    """Which of these moments lie before the cut-off of the last snapshot, as a column."""
    return pl.Series("late", [since is not None and at < since for at in moments], pl.Boolean)


def still_right(kept: pl.DataFrame, wrong: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """Of what is kept, all but what came in by the moment, `until`, up to which what these columns name was found wrong."""
    found = kept.join(wrong, on=list(on), how="left", maintain_order="left")
    is_wrong = (pl.col("received_at") <= pl.col("until")).fill_null(value=False)
    return found.filter(~is_wrong).drop("until")


def is_forbidden(names: pl.Series) -> pl.Expr:
    """Which rows have a name that is forbidden by now: the list of these grows, so what is kept is asked too."""
    banned = [name for name in names.unique() if forbidden.ban_of(name)]
    return pl.col(names.name).is_in(banned)


def of_people(
    good: pl.DataFrame, people: Mapping[str, UserId], since: datetime | None
) -> tuple[pl.DataFrame, list[Fault]]:
    """Events of people we know, each once, with bucket, digest and whether it comes late, and those of nobody we know.

    `since`: the cut-off of the last snapshot.
    """
    known, faults = of_known(good, people, "user")
    users = [people[reference] for reference in known["user"]]
    said = known.with_columns(
        pl.Series("user", [str(user) for user in users], pl.String),
        pl.Series("bucket", [bucket_of(user) for user in users], pl.Int32),
        pl.Series("attributes", [_sorted(text) for text in known["attributes"]], pl.String),
        is_late(known["at"], since),
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
