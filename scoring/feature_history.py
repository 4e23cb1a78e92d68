"""Statistics over the events of each person before their own cut-off; what comes later is never read."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from compliance.vocabulary import Category
from scoring import feature_terms
from scoring.feature_terms import ANY, NOTHING_IS_ZERO, OPENING, Term

DAY_MICROSECONDS = 86_400_000_000

Column = npt.NDArray[np.float64]
Counts = dict[Category, npt.NDArray[np.int32]]
Statistics = Mapping[tuple[Category, int, Term], Column]


def before(
    rows: pl.DataFrame, events: pl.DataFrame, timezone: str, categories: Sequence[Category]
) -> pl.DataFrame:
    """Find the events of each row (row, user, cutoff) before its cut-off, with their local time, age and day.

    Their order depends on nothing but themselves, so that the same events give the same bytes in any file.
    """
    age = (pl.col("cutoff") - pl.col("at")).dt.total_microseconds()
    local = pl.col("at").dt.convert_time_zone(timezone)
    return (
        rows.lazy()
        .select("row", "user", "cutoff")
        .join(events.lazy().filter(pl.col("category").is_in(categories)), on="user")
        .filter(pl.col("at") < pl.col("cutoff"))
        .with_columns(local, age.alias("age"), _days(age).alias("age_days"), local.dt.date().alias("day"))
        .drop("user", "cutoff")
        .sort("row", "at", "name", "value", "count", "attributes")
        .collect()
    )


def _days(age: pl.Expr) -> pl.Expr:
    """Microseconds as days, divided as IEEE 754 says.

    Polars divides by one number in another way in the middle of a column than at its end: the same age would be
    another number beside other people's events.
    """
    return age.map_batches(lambda found: found.to_numpy() / DAY_MICROSECONDS, return_dtype=pl.Float64)


def evidence(history: pl.DataFrame, height: int, categories: Sequence[Category]) -> tuple[Counts, Counts]:
    """Count events and active days per category: int32 [height] each."""
    most = np.iinfo(np.int32).max
    found = history.group_by("row", "category").agg(
        pl.col("count").cast(pl.Int64).sum().clip(0, most).alias("events"),
        pl.col("day").n_unique().alias("days"),
    )
    events: Counts = {c: np.zeros(height, dtype=np.int32) for c in categories}
    active_days: Counts = {c: np.zeros(height, dtype=np.int32) for c in categories}
    for category in categories:
        of = found.filter(pl.col("category") == category)
        events[category][of["row"].to_numpy()] = of["events"].to_numpy()
        active_days[category][of["row"].to_numpy()] = of["days"].to_numpy()
    return events, active_days


def statistics(
    history: pl.DataFrame, height: int, wanted: Iterable[tuple[Category, int, Sequence[Term]]]
) -> Statistics:
    """Aggregate once per kind of event and window (days): float64 [height] per term, NaN without a value."""
    by_event: dict[tuple[Category, str], set[tuple[int, Term]]] = {}
    for category, window, terms in wanted:
        for term in terms:
            if term.how in feature_terms.STATISTICS:
                by_event.setdefault((category, term.event), set()).add((term.within or window, term))
    columns: dict[tuple[Category, int, Term], Column] = {}
    for (category, event), pairs in by_event.items():
        events = _events(history, category, event, {term for _, term in pairs})
        for window in {window for window, _ in pairs}:
            of_window = [term for w, term in pairs if w == window]
            for term, column in _aggregated(events, height, window, of_window):
                columns[category, window, term] = column
    return columns


def bring(events: pl.DataFrame, category: Category, term: Term) -> bool:
    """Say whether any event brings along the text that a term tells apart; of other terms it is not asked."""
    if term.how not in feature_terms.OF_KINDS or term.take in {*feature_terms.WORKED_OUT, "name"}:
        return True
    of_kind = events.lazy().filter(pl.col("category") == category, pl.col("name") == term.event)
    return bool(of_kind.select(feature_terms.taken(term).is_not_null().any()).collect().item())


def filled(column: Column, term: Term, empty: npt.NDArray[np.bool_]) -> Column:
    """Write 0 where there was nothing to count, and no value where the whole category is `empty`."""
    if term.how in NOTHING_IS_ZERO:
        column = np.where(np.isnan(column), 0.0, column)
    return np.where(empty, np.nan, column)


def _events(history: pl.DataFrame, category: Category, event: str, terms: set[Term]) -> pl.DataFrame:
    of_category = history.filter(pl.col("category") == category)
    events = of_category if event == ANY else of_category.filter(pl.col("name") == event)
    looked_up = sorted(feature_terms.loan_attributes(terms))
    if looked_up:
        loan = pl.col("attributes").str.json_path_match("$['loan']").alias("loan")
        attributes = [feature_terms.attribute(name).alias(f"loan.{name}") for name in looked_up]
        opened = of_category.filter(pl.col("name") == OPENING).select("row", loan, *attributes)
        opened = opened.unique(["row", "loan"], keep="first", maintain_order=True)
        events = events.with_columns(loan).join(opened, on=["row", "loan"], how="left", maintain_order="left")
    takes = {feature_terms.column(term): term for term in terms if term.take is not None}
    worked_out = [_worked_out(part) for part in sorted(feature_terms.WORKED_OUT) if _reads(part, terms)]
    taken = [feature_terms.taken(term).alias(name) for name, term in sorted(takes.items())]
    return events.with_columns(worked_out).select("row", "age", "age_days", "day", "count", *taken)


def _reads(part: str, terms: set[Term]) -> bool:
    return any(part in (term.take or "").split() for term in terms)


def _worked_out(part: str) -> pl.Expr:
    """Work out a part of each event, the events standing in the order of time within each row."""
    if part == "hour":
        return pl.col("at").dt.hour().alias(part)
    if part == "weekday":
        return pl.col("day").dt.weekday().alias(part)
    since = pl.col("age").shift(1) - pl.col("age")
    beside = pl.col("row") == pl.col("row").shift(1)
    return _days(pl.when(beside).then(since)).fill_nan(None).alias(part)


def _aggregated(
    events: pl.DataFrame, height: int, window_days: int, terms: Sequence[Term]
) -> Iterable[tuple[Term, Column]]:
    found = (
        events.filter(pl.col("age") < window_days * DAY_MICROSECONDS)
        .group_by("row", maintain_order=True)
        .agg(
            feature_terms.statistic(term).cast(pl.Float64).fill_null(np.nan).alias(str(place))
            for place, term in enumerate(terms)
        )
    )
    rows = found["row"].to_numpy()
    for place, term in enumerate(terms):
        column = np.full(height, np.nan)
        column[rows] = found[str(place)].to_numpy()
        yield term, column
