"""What is measured of events that the catalogue does not know: of a whole category, and of its most frequent names."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import polars as pl

from compliance.vocabulary import Category
from scoring import feature_terms
from scoring.behaviour import Behaviour
from scoring.measures import forbidden

NAMES_MAX, ATTRIBUTES_MAX = 12, 4
"""So many names of events in a category, and numbers or texts that each brings along, are measured by name."""
ROWS_LOOKED_AT = 2_000
PEOPLE_MIN, SHARE_MIN = 20, 0.01
"""What occurs with fewer people, of all who did anything, is never named in a model."""
IDENTIFIER_SHARE = 0.9

Measures = tuple[tuple[str, str, tuple[int, ...], str], ...]
"""Name, unit, windows, expression."""

WHOLE: Measures = (
    ("events", "count", (30, 90, 365), "count(*)"),
    ("active_days", "days", (30, 90, 365), "active_days(*)"),
    ("days_since", "days", (365,), "days_since_last(*)"),
    ("gap_mean", "days", (365,), "mean_gap(*)"),
    ("value_mean", "as stated", (90, 365), "mean(*.value)"),
    ("value_max", "as stated", (365,), "max(*.value)"),
)
"""Of all events of a category of which the catalogue knows none."""

TIMES: Measures = (
    ("count", "count", (30, 90, 365), "count({0})"),
    ("active_days", "days", (90, 365), "active_days({0})"),
    ("days_since", "days", (365,), "days_since_last({0})"),
    ("days_first", "days", (365,), "days_since_first({0})"),
    ("gap_mean", "days", (365,), "mean_gap({0})"),
    ("gap_deviation", "days", (365,), "deviation({0}.gap)"),
    ("quarter_share", "share", (365,), "count({0} in 90 days) / count({0})"),
    ("night_share", "share", (365,), "share({0}.hour < 6)"),
    ("weekend_share", "share", (365,), "share({0}.weekday > 5)"),
)
"""Of one kind of event by its name."""

VALUES: Measures = (
    ("value_mean", "as stated", (90, 365), "mean({0}.value)"),
    ("value_max", "as stated", (90, 365), "max({0}.value)"),
    ("value_min", "as stated", (365,), "min({0}.value)"),
    ("value_last", "as stated", (365,), "last({0}.value)"),
    ("value_previous", "as stated", (365,), "previous({0}.value)"),
    ("value_deviation", "as stated", (365,), "deviation({0}.value)"),
    ("value_sum", "as stated", (365,), "sum({0}.value)"),
    ("value_trend", "as stated", (365,), "last({0}.value) - mean({0}.value)"),
    ("positive_share", "share", (365,), "share({0}.value > 0)"),
)
"""Of one kind of event that has values."""

BROUGHT: Measures = (
    ("mean", "as stated", (365,), "mean({0}.{1})"),
    ("last", "as stated", (365,), "last({0}.{1})"),
)
"""Of a number that one kind of event brings along."""

TOLD_APART: Measures = (
    ("kinds", "count", (365,), "distinct({0}.{1})"),
    ("concentration", "share", (365,), "concentration({0}.{1})"),
)
"""Of a text that one kind of event brings along."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of what the catalogue does not know, in one window (days)."""

    name: str
    category: Category
    unit: str
    window_days: int
    expression: str


def whole(category: Category) -> Iterator[Measure]:
    """Measure a category whose events are not in the catalogue by name."""
    for name, unit, windows, expression in WHOLE:
        for window in windows:
            yield Measure(f"{category}_{name}_{window}d", category, unit, window, expression)


def by_name(behaviour: Behaviour, known: Collection[tuple[Category, str]]) -> Iterator[Measure]:
    """Measure the most frequent kinds of event that are not `known`.

    Which they are is decided on these data and then fixed, since each measure is a feature of its own. Their names
    hold a full stop, which no name of ours and no column of a profile does. What is forbidden is not measured.
    """
    for category, event, has_value in _frequent(behaviour.events, known):
        written = feature_terms.written(event)
        for name, unit, windows, expression in (*TIMES, *(VALUES if has_value else ())):
            for window in windows:
                of = f"{category}.{event}.{name}_{window}d"
                yield Measure(of, category, unit, window, expression.format(written))
        for attribute, measures in _brought(behaviour.events, category, event):
            for name, unit, windows, expression in measures:
                for window in windows:
                    of = f"{category}.{event}.{attribute}_{name}_{window}d"
                    yield Measure(of, category, unit, window, expression.format(written, attribute))


def _frequent(
    events: pl.DataFrame, known: Collection[tuple[Category, str]]
) -> Iterator[tuple[Category, str, bool]]:
    enough = max(PEOPLE_MIN, SHARE_MIN * events["user"].n_unique())
    found = (
        events.group_by("category", "name")
        .agg(people=pl.col("user").n_unique(), values=pl.col("value").count())
        .filter(pl.col("people") >= enough, pl.col("name") != feature_terms.ANY)
        .sort("category", "people", "name", descending=[False, True, False])
    )
    for category in Category:
        of = found.filter(pl.col("category") == category)
        unknown = [
            row
            for row in of.iter_rows(named=True)
            if (category, row["name"]) not in known and not forbidden.ban_of(row["name"])
        ]
        for row in unknown[:NAMES_MAX]:
            yield category, row["name"], row["values"] > 0


def _brought(events: pl.DataFrame, category: Category, event: str) -> list[tuple[str, Measures]]:
    """Name the numbers and texts that most events of a kind bring along, in the order of their names.

    Whole numbers and texts that hardly ever come twice are identifiers and say nothing of anybody.
    """
    rows = events.lazy().filter(pl.col("category") == category, pl.col("name") == event)
    written = rows.select(pl.col("attributes").drop_nulls()).head(ROWS_LOOKED_AT).collect()["attributes"]
    seen: dict[str, list[int | float | str]] = {}
    for text in written:
        for key, value in json.loads(text).items():
            if isinstance(value, int | float | str) and not isinstance(value, bool) and _is_word(key):
                seen.setdefault(key, []).append(value)
    usual = [(key, values) for key, values in sorted(seen.items()) if 2 * len(values) > len(written)]
    telling = [(key, _measures(values)) for key, values in usual if not _is_identifier(values)]
    return telling[:ATTRIBUTES_MAX]


def _measures(values: list[int | float | str]) -> Measures:
    return TOLD_APART if any(isinstance(value, str) for value in values) else BROUGHT


def _is_word(key: str) -> bool:
    is_ours = key in {"value", "count", "name", *feature_terms.WORKED_OUT}
    return key.isidentifier() and key.isascii() and not is_ours and not forbidden.ban_of(key)


def _is_identifier(values: list[int | float | str]) -> bool:
    has_no_fraction = not any(isinstance(value, float) for value in values)
    return has_no_fraction and len(set(values)) > IDENTIFIER_SHARE * len(values)
