"""An operator's data in one canonical shape: what fits is read, what does not is set aside with its reason."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from scoring import behaviour_cells, behaviour_files, behaviour_schema
from scoring.behaviour_cells import Column, Kind
from scoring.behaviour_files import LINE, RECORD, refused
from scoring.behaviour_schema import PROFILE_KEYS, PROFILE_KINDS, Schema

WHOLE = frozenset({"profiles", "people"})
"""Tables of which every column must be there; a cell may be empty."""
UNUSABLE_AFTER = 100
"""A profile column of which this many cells and not one has the declared type is set aside as a whole."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One research set or snapshot.

    The tables have the canonical columns in canonical types: times are UTC to the microsecond, events in
    the order of their file. `read` rows were accepted; `quarantined` lines were written to quarantine files.
    """

    name: str
    schema: Schema
    events: pl.DataFrame
    profiles: pl.DataFrame
    edges: pl.DataFrame
    outcomes: pl.DataFrame
    read: int
    quarantined: int


EVENTS = (
    Column("user", Kind.TEXT, required=True),
    Column("at", Kind.TIME, required=True),
    Column("category", Kind.CATEGORY, required=True),
    Column("name", Kind.TEXT, required=True),
    Column("value", Kind.NUMBER),
    Column("count", Kind.INTEGER),
    Column("attributes", Kind.JSON),
)
PEOPLE = (
    Column("user", Kind.TEXT, required=True),
    Column("born_on", Kind.DATE),
)
EDGES = (
    Column("user_a", Kind.TEXT, required=True),
    Column("user_b", Kind.TEXT, required=True),
    Column("kind", Kind.TEXT, required=True),
    Column("weight", Kind.NUMBER),
    Column("at", Kind.TIME, required=True),
)
OUTCOMES = (
    Column("user", Kind.TEXT, required=True),
    Column("application", Kind.TEXT, required=True),
    Column("product", Kind.TEXT, required=True),
    Column("decided_at", Kind.TIME, required=True),
    Column("amount", Kind.NUMBER),
    Column("tenor_days", Kind.INTEGER),
    Column("observed_until", Kind.TIME),
    Column("defaulted", Kind.BOOLEAN),
    Column("days_past_due_max", Kind.INTEGER),
    Column("income", Kind.NUMBER),
)


def read(folder: Path, quarantine: Path) -> Behaviour:
    """Read a folder of canonical tables and write what is wrong with single rows to `quarantine`.

    A quarantine file `<table>.ndjson` has a line per bad row: its line number, the first bad column and the
    reason, never a value. Of rows with the same key the first stays.

    Raises:
        BehaviourRefused: a table or schema.json cannot be used as a whole.

    """
    schema = behaviour_schema.read(folder / "schema.json")
    columns = {
        "events": EVENTS,
        "profiles": _profile_columns(schema),
        "edges": EDGES,
        "outcomes": OUTCOMES,
    }
    paths = {table: behaviour_files.find(folder, table) for table in columns}
    if paths["events"] is None and paths["profiles"] is None:
        raise refused("/", "missing_table", "there must be a table of events or of profiles")
    quarantine.mkdir(parents=True, exist_ok=True)
    tables: dict[str, pl.DataFrame] = {}
    quarantined = 0
    for table, path in paths.items():
        tables[table], bad = _table(table, path, columns[table])
        _set_aside(quarantine / f"{table}.ndjson", bad)
        quarantined += bad.height
    return Behaviour(
        name=folder.name,
        schema=schema,
        **tables,
        read=sum(t.height for t in tables.values()),
        quarantined=quarantined,
    )


def events_of(path: Path) -> pl.DataFrame:
    """The events of one file as they came, with `LINE` and `RECORD` beside them.

    Raises:
        BehaviourRefused: the file cannot be used as a whole.

    """
    return _raw("events", path, EVENTS)


def people_of(path: Path) -> pl.DataFrame:
    """The people of one file as they came, likewise. Raises `BehaviourRefused`."""
    return _raw("people", path, PEOPLE)


def profiles_of(path: Path, schema: Schema) -> pl.DataFrame:
    """The profiles of one file as they came, likewise. Raises `BehaviourRefused`."""
    return _raw("profiles", path, _profile_columns(schema))


def edges_of(path: Path) -> pl.DataFrame:
    """The edges of one file as they came, likewise. Raises `BehaviourRefused`."""
    return _raw("edges", path, EDGES)


def checked_events(raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part events into those that are right, with their `LINE`, and what is wrong with the others.

    The faults are (line, column, reason), the first of each event; never a value.
    """
    good, bad = _checked(raw, EVENTS)
    return good.with_columns(pl.col("count").fill_null(1)), bad


def checked_people(raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part people likewise."""
    return _checked(raw, PEOPLE)


def checked_profiles(raw: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part profiles likewise."""
    return _checked(raw, _profile_columns(schema))


def checked_edges(raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part edges likewise."""
    return _checked(raw, EDGES)


def applications(outcomes: pl.DataFrame) -> pl.DataFrame:
    """What features are computed for: each application as of its decision, with what was asked for."""
    return outcomes.select("user", pl.col("decided_at").alias("cutoff"), "amount", "tenor_days")


def _profile_columns(schema: Schema) -> tuple[Column, ...]:
    return (*PROFILE_KEYS, *(Column(c.name, PROFILE_KINDS[c.type]) for c in schema.profiles))


def _table(table: str, path: Path | None, columns: tuple[Column, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read one table as (good rows, what is wrong with the others)."""
    if path is None:
        return pl.DataFrame(schema={c.name: behaviour_cells.DTYPES[c.kind] for c in columns}), _no_faults()
    raw = _raw(table, path, columns)
    values, reasons = _cells(raw, columns)
    unusable = _unusable(raw, reasons, columns) if table == "profiles" else []
    values = values.with_columns(pl.lit(None, dtype=values.schema[name]).alias(name) for name in unusable)
    reasons = reasons.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in unusable)
    good, bad = _parted(raw, values, reasons)
    good, further = _consistent(table, good)
    whole = pl.DataFrame([(0, name, "column_unusable") for name in unusable], schema=bad.schema, orient="row")
    return good.drop(LINE), pl.concat([whole, bad, further])


def _checked(raw: pl.DataFrame, columns: tuple[Column, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    return _parted(raw, *_cells(raw, columns))


def _parted(
    raw: pl.DataFrame, values: pl.DataFrame, reasons: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    bad = _faults(raw, reasons, [RECORD, *reasons.columns])
    good = values.join(bad.select(pl.col("line").alias(LINE)), on=LINE, how="anti", maintain_order="left")
    return good, bad


def _raw(table: str, path: Path, columns: tuple[Column, ...]) -> pl.DataFrame:
    """The cells of a file as they came, in all columns of the table."""
    raw = behaviour_files.rows(path, [c.name for c in columns])
    _refuse_columns(path, raw, columns, optional=table not in WHOLE)
    absent = [pl.lit(None, dtype=pl.String).alias(c.name) for c in columns if c.name not in raw.columns]
    return raw.with_columns(absent)


def _cells(raw: pl.DataFrame, columns: tuple[Column, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    parsed = raw.select(LINE, *(behaviour_cells.parsed(c, raw.schema[c.name]).alias(c.name) for c in columns))
    both = pl.concat([raw, parsed.drop(LINE).rename(lambda name: f" {name}")], how="horizontal")
    reasons = both.select(
        behaviour_cells.reason(c, raw.schema[c.name], pl.col(f" {c.name}")).alias(c.name) for c in columns
    )
    types = [pl.col(c.name).cast(behaviour_cells.DTYPES[c.kind], strict=False) for c in columns]
    return parsed.select(LINE, *types), reasons


def _refuse_columns(path: Path, raw: pl.DataFrame, columns: tuple[Column, ...], *, optional: bool) -> None:
    for column in columns:
        pointer = f"/{path.name}/{column.name}"
        may_be_absent = (optional and not column.required) or column.name == "known_at"
        if column.name not in raw.columns and not may_be_absent:
            raise refused(pointer, "missing_column", f"the table has no column {column.name}")
        if column.name in raw.columns and not behaviour_cells.acceptable(
            column.kind, raw.schema[column.name]
        ):
            raise refused(pointer, "wrong_type", f"column {column.name} cannot be read as a {column.kind}")


def _unusable(raw: pl.DataFrame, reasons: pl.DataFrame, columns: tuple[Column, ...]) -> list[str]:
    optional = [c.name for c in columns if c not in PROFILE_KEYS]
    filled = raw.select(pl.col(optional).count()).row(0, named=True) if optional else {}
    wrong = reasons.select(pl.col(optional).count()).row(0, named=True) if optional else {}
    return [name for name in optional if filled[name] >= UNUSABLE_AFTER and wrong[name] == filled[name]]


def _faults(raw: pl.DataFrame, reasons: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The first fault of each bad row, a column at a time."""
    marked = pl.concat([raw.select(LINE, RECORD), reasons], how="horizontal")
    first = [pl.when(pl.col(name).is_not_null()).then(pl.lit(name.strip())) for name in names]
    return marked.select(
        pl.col(LINE).cast(pl.Int64).alias("line"),
        pl.coalesce(first).alias("column"),
        pl.coalesce(names).alias("reason"),
    ).filter(pl.col("reason").is_not_null())


def _consistent(table: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Set aside rows whose cells are each right and contradict each other or an earlier row."""
    rules: list[tuple[str, str, pl.Expr]] = []
    if table == "events":
        rows = rows.with_columns(pl.col("count").fill_null(1))
    if table == "outcomes":
        rules = [
            ("defaulted", "no_outcome", pl.col("defaulted").is_null() & pl.col("income").is_null()),
            ("observed_until", "before_decided_at", pl.col("observed_until") < pl.col("decided_at")),
            ("amount", "negative", pl.col("amount") < 0),
            ("income", "negative", pl.col("income") < 0),
        ]
    faults = _no_faults()
    for column, code, wrong in rules:
        rows, faults = _without(rows, faults, column, code, wrong)
    for key in {"profiles": ["user"], "outcomes": ["application"]}.get(table, []):
        rows, faults = _without(rows, faults, key, "duplicate", ~pl.col(key).is_first_distinct())
    return rows, faults


def _without(
    rows: pl.DataFrame, faults: pl.DataFrame, column: str, code: str, wrong: pl.Expr
) -> tuple[pl.DataFrame, pl.DataFrame]:
    marked = rows.with_columns(wrong.fill_null(value=False).alias(RECORD))
    found = marked.filter(RECORD).select(
        pl.col(LINE).cast(pl.Int64).alias("line"),
        pl.lit(column).alias("column"),
        pl.lit(code).alias("reason"),
    )
    return marked.filter(~pl.col(RECORD)).drop(RECORD), pl.concat([faults, found])


def _no_faults() -> pl.DataFrame:
    return pl.DataFrame(schema={"line": pl.Int64, "column": pl.String, "reason": pl.String})


def _set_aside(path: Path, bad: pl.DataFrame) -> None:
    path.unlink(missing_ok=True)  # of an earlier run
    if bad.height:
        bad.sort("line", maintain_order=True).write_ndjson(path)
