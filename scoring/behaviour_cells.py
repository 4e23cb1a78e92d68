"""Each cell of a behaviour table either has its declared type or a named reason why it has not."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

import polars as pl

from compliance.vocabulary import Category

TEXT_BYTES_MAX = 200
JSON_BYTES_MAX = 4_096
NUMBER_MAX = 1e12
INTEGER_MAX = 2**31 - 1
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
FIRST_DATE, LAST_DATE = date(1900, 1, 1), date(2100, 1, 1)

UTC_TIME = pl.Datetime("us", "UTC")
ZONED = r"(?:[Zz]|[+-]\d{2}:?\d{2})$"
UNREADABLE = r"[\x{FFFD}\x00-\x08\x0b\x0c\x0e-\x1f]"
"""Bytes that were not UTF-8 arrive as U+FFFD; control characters have no place in a name either."""


class Kind(StrEnum):
    """What a column may hold."""

    TEXT = "text"
    CATEGORY = "category"  # of behaviour data
    TIME = "time"
    DATE = "date"
    NUMBER = "number"
    INTEGER = "integer"  # not negative
    BOOLEAN = "boolean"
    JSON = "json"  # an object


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a canonical table; an optional one may be empty in a row, or absent altogether."""

    name: str
    kind: Kind
    required: bool = False


DTYPES: dict[Kind, pl.DataType] = {
    Kind.TEXT: pl.String(),
    Kind.CATEGORY: pl.String(),
    Kind.TIME: UTC_TIME,
    Kind.DATE: pl.Date(),
    Kind.NUMBER: pl.Float64(),
    Kind.INTEGER: pl.Int32(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.JSON: pl.String(),
}


def acceptable(kind: Kind, dtype: pl.DataType) -> bool:
    """Say whether cells stored as `dtype` can be read as `kind` at all; text always can be tried."""
    if isinstance(dtype, pl.String):
        return True
    match kind:
        case Kind.TIME:
            return isinstance(dtype, pl.Datetime | pl.Date)
        case Kind.DATE:
            return isinstance(dtype, pl.Datetime | pl.Date)
        case Kind.NUMBER | Kind.INTEGER:
            return dtype.is_numeric()
        case Kind.BOOLEAN:
            return isinstance(dtype, pl.Boolean)
        case Kind.TEXT:
            return dtype.is_integer()
        case _:
            return False


def parsed(column: Column, dtype: pl.DataType) -> pl.Expr:
    """Read the cells of a column; a cell that cannot be read becomes null."""
    raw = pl.col(column.name)
    if isinstance(dtype, pl.String):
        return _from_text(column.kind, raw)
    match column.kind:
        case Kind.TIME:
            # Not strict: a count of milliseconds may be further away than any time, and is no reason to stop.
            return raw.cast(UTC_TIME, strict=False) if _is_zoned(dtype) else _nothing(Kind.TIME)
        case Kind.INTEGER:
            return _whole(raw.cast(pl.Float64))
        case kind:
            return raw.cast(DTYPES[kind], strict=False)


def reason(column: Column, dtype: pl.DataType, value: pl.Expr) -> pl.Expr:
    """Name what is wrong with each cell, null where nothing is; `value` is the cell as `parsed` read it."""
    raw = pl.col(column.name)
    article = "an" if column.kind is Kind.INTEGER else "a"
    unread = pl.lit(f"not_{article}_{column.kind}")
    if column.kind is Kind.TIME:
        naive = ~raw.str.contains(ZONED) if isinstance(dtype, pl.String) else pl.lit(not _is_zoned(dtype))
        unread = pl.when(naive).then(pl.lit("time_without_zone")).otherwise(unread)
    missing = pl.lit("missing") if column.required else pl.lit(None, dtype=pl.String)
    return (
        pl.when(raw.is_null())
        .then(missing)
        .when(value.is_null())
        .then(unread)
        .otherwise(_out_of_bounds(column.kind, value))
    )


def _is_zoned(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None


def _from_text(kind: Kind, raw: pl.Expr) -> pl.Expr:
    match kind:
        case Kind.TEXT | Kind.CATEGORY:
            return raw
        case Kind.TIME:
            iso = raw.str.replace(" ", "T").str.replace("[Zz]$", "+00:00")
            return iso.str.to_datetime(
                "%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False, ambiguous="null"
            )
        case Kind.DATE:
            return raw.str.to_date("%Y-%m-%d", strict=False)
        case Kind.NUMBER:
            return raw.cast(pl.Float64, strict=False)
        case Kind.INTEGER:
            return _whole(raw.cast(pl.Float64, strict=False))
        case Kind.BOOLEAN:
            words = {"true": True, "1": True, "false": False, "0": False}
            return raw.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        case Kind.JSON:
            return pl.when(raw.str.json_path_match("$").str.starts_with("{")).then(raw)


def _whole(number: pl.Expr) -> pl.Expr:
    return pl.when(number == number.round(0)).then(number.clip(-1, INTEGER_MAX + 1)).cast(pl.Int64)


def _out_of_bounds(kind: Kind, value: pl.Expr) -> pl.Expr:
    match kind:
        case Kind.TEXT:
            return _first(
                (value.str.len_bytes() > TEXT_BYTES_MAX, "too_long"),
                (value.str.contains(UNREADABLE), "unreadable_text"),
            )
        case Kind.CATEGORY:
            return _first((~value.is_in([c.value for c in Category]), "unknown_category"))
        case Kind.JSON:
            return _first(
                (value.str.len_bytes() > JSON_BYTES_MAX, "too_long"),
                (value.str.contains(UNREADABLE), "unreadable_text"),
            )
        case Kind.TIME:
            return _first(((value < EARLIEST) | (value >= LATEST), "time_out_of_range"))
        case Kind.DATE:
            return _first(((value < FIRST_DATE) | (value >= LAST_DATE), "date_out_of_range"))
        case Kind.NUMBER:
            return _first((~value.is_finite(), "not_finite"), (value.abs() > NUMBER_MAX, "out_of_range"))
        case Kind.INTEGER:
            return _first((value < 0, "negative"), (value > INTEGER_MAX, "out_of_range"))
        case Kind.BOOLEAN:
            return _nothing(Kind.TEXT)


def _first(*faults: tuple[pl.Expr, str]) -> pl.Expr:
    return pl.coalesce([pl.when(wrong).then(pl.lit(code)) for wrong, code in faults])


def _nothing(kind: Kind) -> pl.Expr:
    return pl.lit(None, dtype=DTYPES[kind])
