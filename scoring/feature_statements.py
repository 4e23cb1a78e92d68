"""What a person stated, in a profile or when asking for a loan, as far as it was known at the cut-off."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from scoring.behaviour_schema import ProfileColumn, Role
from scoring.feature_terms import Term

ASKED = ("amount", "tenor_days")
SAID = frozenset({"asked", "profile"})
CUTOFF = " cutoff"
"""Beside the columns of a profile, whose names never start with a space."""


def stated(rows: pl.DataFrame, profiles: pl.DataFrame, columns: Sequence[ProfileColumn]) -> pl.DataFrame:
    """Gather the statements of each row (user, cutoff, amount, tenor_days) in columns named as terms are written.

    Only columns with the role `feature`; a date becomes the days from it to the cut-off.
    """
    known = pl.col("known_at").is_null() | (pl.col("known_at") <= pl.col(CUTOFF))
    said = [
        pl.when(known).then(_number_or_text(c)).alias(f"profile({c.name})")
        for c in columns
        if Role.FEATURE in c.roles
    ]
    asked = [pl.col(name).alias(f"asked({name})") for name in ASKED]
    joined = rows.select("user", pl.col("cutoff").alias(CUTOFF), *asked).join(
        profiles, on="user", how="left", maintain_order="left"
    )
    return joined.select(*(f"asked({name})" for name in ASKED), *said)


def numbers(statements: pl.DataFrame, term: Term, equals: str | None) -> npt.NDArray[np.float64]:
    """Read one statement as numbers, 1 or 0 for being the value `equals`; NaN where nothing was stated.

    A column that these data do not have, or no longer as a feature, was stated by nobody.
    """
    if _written(term) not in statements.columns:
        return np.full(statements.height, np.nan)
    cells = statements[_written(term)]
    if equals is not None:
        cells = cells == equals
    return cells.cast(pl.Float64).fill_null(np.nan).to_numpy()


def filled_count(statements: pl.DataFrame, terms: Iterable[Term]) -> npt.NDArray[np.int32]:
    """Count what each row stated of `terms`; a column counts once for all its values."""
    names = sorted({_written(term) for term in terms if term.how in SAID} & set(statements.columns))
    if not names:
        return np.zeros(statements.height, dtype=np.int32)
    filled = pl.sum_horizontal(pl.col(names).is_not_null())
    return statements.select(filled.cast(pl.Int32)).to_series().to_numpy()


def _written(term: Term) -> str:
    return f"{term.how}({term.event})"


def _number_or_text(column: ProfileColumn) -> pl.Expr:
    cell = pl.col(column.name)
    if column.type == "date":
        return (pl.col(CUTOFF).dt.date() - cell).dt.total_days().cast(pl.Float64)
    return cell if column.type == "category" else cell.cast(pl.Float64)
