"""Profiles, put together of statements: what a model reads of them, and what lists ask by."""

from collections.abc import Mapping, Sequence

import polars as pl

from compliance.vocabulary import Category, UserId
from scoring import feature_terms
from scoring.behaviour_cells import UTC_TIME
from scoring.behaviour_schema import ProfileColumn, Role
from scoring.manifest import Input

LISTED = {"region": "category", "income_band": "category", "is_student": "bool"}
"""What lists ask by, with the type of each."""
DAYS = "days"
"""The unit of a date's feature."""
READ_AS = {"float": ("float", "bool"), "category": ("category",), "date": ("date",)}
Attributes = Mapping[str, str | int | bool | None]


def newest(stated: pl.DataFrame) -> pl.DataFrame:
    """Of each column of somebody's profile the newest statement (`statements.STATED`)."""
    return stated.sort("known_at").group_by("user", "name", maintain_order=True).last()


def columns(inputs: Sequence[Input]) -> tuple[ProfileColumn, ...]:
    """The profile columns that a model reads, each of the type and the category that it reads it as."""
    found: dict[str, ProfileColumn] = {}
    for each in inputs:
        expression = feature_terms.parse(each.expression)
        kind = "float" if expression.equals is None else "category"
        if expression.equals is None and len(expression.terms) == 1 and each.unit == DAYS:
            kind = "date"
        for term in expression.terms:
            if term.how == "profile":
                column = ProfileColumn(term.event, kind, each.category, frozenset({Role.FEATURE}))
                found[term.event] = column
    return tuple(found.values())


def of(stated: pl.DataFrame, wanted: Sequence[ProfileColumn]) -> pl.DataFrame:
    """A row for each person who stated something: a statement of another category or type than wanted is none."""
    wide = stated.select("user").unique(maintain_order=True)
    wide = wide.with_columns(pl.lit(None, UTC_TIME).alias("known_at"))
    for column in wanted:
        named = stated.filter(pl.col("name") == column.name, pl.col("category") == column.category)
        cells = named.filter(pl.col("type").is_in(READ_AS[column.type]))
        wide = wide.join(cells.select("user", _cell(column)), on="user", how="left", maintain_order="left")
    return wide


def _cell(column: ProfileColumn) -> pl.Expr:
    said = pl.col("said")
    match column.type:
        case "category":
            cell = said
        case "date":
            cell = said.str.to_date("%Y-%m-%d", strict=False)
        case _:
            is_bool = pl.col("type") == "bool"
            cell = (
                pl.when(is_bool)
                .then((said == "true").cast(pl.Float64))
                .otherwise(said.cast(pl.Float64, strict=False))
            )
    return cell.alias(column.name)


def attributes(
    users: Sequence[UserId], held: Mapping[UserId, Attributes], stated: pl.DataFrame, counted: pl.DataFrame
) -> tuple[Attributes, ...]:
    """What lists may ask each of these people by: what counts of their statements.

    `held` is what was known before; it stays only where nothing of that name was ever `stated`.
    """
    listed = pl.col("name").is_in(list(LISTED)) & (pl.col("category") == Category.DECLARED)
    ever: dict[str, set[str]] = {}
    for user, name in stated.filter(listed).select("user", "name").iter_rows():
        ever.setdefault(user, set()).add(name)
    now: dict[str, dict[str, str | bool]] = {}
    for user, name, kind, said in counted.filter(listed).select("user", "name", "type", "said").iter_rows():
        if LISTED[name] == kind:
            now.setdefault(user, {})[name] = said == "true" if kind == "bool" else said
    return tuple(
        {name: value for name, value in held.get(user, {}).items() if name not in ever.get(str(user), ())}
        | now.get(str(user), {})
        for user in users
    )
