"""The arithmetic between statistics and a matrix: rows that are asked for, columns put together and rounded."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from scoring import feature_statements

Column = npt.NDArray[np.float64]


def rows(asked: pl.DataFrame) -> pl.DataFrame:
    """Number the rows that are asked for, each with its user, its cut-off (UTC) and the terms of the loan.

    Raises:
        ValueError: the cut-offs have no time zone.

    """
    absent = [
        pl.lit(None, dtype=pl.Float64).alias(name)
        for name in feature_statements.ASKED
        if name not in asked.columns
    ]
    terms = [pl.col(name).cast(pl.Float64) for name in feature_statements.ASKED]
    stamp = asked.schema["cutoff"]
    if not isinstance(stamp, pl.Datetime) or stamp.time_zone is None:
        raise ValueError("a cut-off needs a time zone")
    cutoff = pl.col("cutoff").dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return asked.with_columns(absent).select("user", cutoff, *terms)


def combined(between: str | None, parts: Sequence[Column]) -> Column:
    """Put two statistics together as their expression says; one stands alone."""
    if between is None:
        return parts[0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return parts[0] - parts[1] if between == "-" else parts[0] / parts[1]


def single(column: Column) -> npt.NDArray[np.float32]:
    """Round to float32; what is not finite has no value, and zero has no sign, so that equal means same bytes."""
    with np.errstate(over="ignore"):
        rounded = column.astype(np.float32) + np.float32(0)
    return np.where(np.isfinite(rounded), rounded, np.float32(np.nan))
