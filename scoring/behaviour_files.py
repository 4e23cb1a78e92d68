"""A table arrives as exactly one file: Parquet, NDJSON or CSV, within bounds, with the columns we know."""

import csv
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from compliance.refusals import Fault, Refusal

FORMS = (".parquet", ".ndjson", ".csv")
FILE_BYTES_MAX = 4 * 2**30
ROWS_MAX = 100_000_000
HEADER_BYTES_MAX = 2**20

LINE = " line"
"""The number of the record in its file; a column of a table never starts with a space."""
SURPLUS = " surplus"
"""What stands in a CSV record after its last column."""
RECORD = " record"
"""Why a whole record cannot be read, null where it can."""


class BehaviourRefused(Refusal):
    """A table cannot be read as a whole; each fault's pointer names the file and, where known, the column."""

    status, code, title = 422, "behaviour_unreadable", "The behaviour data cannot be read"


def refused(pointer: str, code: str, detail: str) -> BehaviourRefused:
    """Refuse for one reason."""
    return BehaviourRefused(detail, Fault(pointer, code, detail))


def find(folder: Path, table: str) -> Path | None:
    """Find the one file of a table, or nothing.

    Raises:
        BehaviourRefused: more than one form, or a form we do not know.

    """
    found = sorted(p for p in folder.glob(f"{table}.*") if p.is_file())
    if not found:
        return None
    if len(found) > 1:
        raise refused(f"/{table}", "several_forms", f"{table} must be one file, not {len(found)}")
    path = found[0]
    if path.suffix not in FORMS or path.stem != table:
        raise refused(f"/{path.name}", "unknown_form", "a table is a .parquet, .ndjson or .csv file")
    return path


def refuse_large(name: str, size: int) -> None:
    """Refuse a file, wherever it lies, that has more bytes than are read."""
    if size > FILE_BYTES_MAX:
        raise refused(f"/{name}", "too_large", f"a file may have at most {FILE_BYTES_MAX} bytes")


def rows(path: Path, known: Sequence[str]) -> pl.DataFrame:
    """Read the records of a file, with `LINE` and `RECORD` beside its columns; text cells stay text.

    Lines count from 1: in CSV the header is line 1, in Parquet the first row is.

    Raises:
        BehaviourRefused: the file cannot be read, is too long, or has a column that is not `known`.

    """
    read = {".parquet": _parquet, ".ndjson": _ndjson, ".csv": _csv}[path.suffix]
    try:
        refuse_large(path.name, path.stat().st_size)
        table = read(path, known)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError, csv.Error):
        # The library's own words may quote the data, so they are not repeated.
        raise refused(
            f"/{path.name}", "unreadable", f"{path.name} is damaged or not what its name says"
        ) from None
    if table.height > ROWS_MAX:
        raise refused(f"/{path.name}", "too_many_rows", f"a table may have at most {ROWS_MAX} rows")
    return table


def _refuse_unknown(path: Path, names: Sequence[str], known: Sequence[str]) -> None:
    strange = [name for name in dict.fromkeys(names) if name not in known]
    if strange or len(set(names)) < len(names):
        detail = (
            "every column must be one of the table's own, once, and profile columns declared in schema.json"
        )
        pointers = strange or [name for name in dict.fromkeys(names) if names.count(name) > 1]
        raise BehaviourRefused(
            detail, *(Fault(f"/{path.name}/{name}", "unknown_column", detail) for name in pointers)
        )


def _parquet(path: Path, known: Sequence[str]) -> pl.DataFrame:
    lazy = pl.scan_parquet(path, glob=False)
    _refuse_unknown(path, lazy.collect_schema().names(), known)
    if lazy.select(pl.len()).collect().item() > ROWS_MAX:
        raise refused(f"/{path.name}", "too_many_rows", f"a table may have at most {ROWS_MAX} rows")
    table = lazy.collect().with_columns(
        (pl.selectors.categorical() | pl.selectors.enum() | pl.selectors.by_dtype(pl.Null)).cast(pl.String)
    )
    return _emptied(table.with_row_index(LINE, 1).with_columns(_sound()))


def _csv(path: Path, known: Sequence[str]) -> pl.DataFrame:
    with path.open("rb") as file:
        header = file.readline(HEADER_BYTES_MAX).decode("utf-8-sig")
    names = next(csv.reader([header]), [])
    _refuse_unknown(path, names, known)
    table = pl.read_csv(
        path,
        has_header=False,
        skip_lines=1,
        # One column too many shows a record that has too many: without it Polars would cut it in silence.
        schema=dict.fromkeys([*names, SURPLUS], pl.String),
        missing_columns="insert",
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
        row_index_name=LINE,
        row_index_offset=2,
        raise_if_empty=False,
        glob=False,
    )
    surplus = pl.when(pl.col(SURPLUS).is_not_null()).then(pl.lit("too_many_cells"))
    return _emptied(table.with_columns(surplus.alias(RECORD)).drop(SURPLUS))


def _ndjson(path: Path, known: Sequence[str]) -> pl.DataFrame:
    lines = pl.read_csv(
        path,
        has_header=False,
        separator="\x01",
        quote_char=None,
        schema={"text": pl.String},
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
        row_index_name=LINE,
        row_index_offset=1,
        raise_if_empty=False,
        glob=False,
    )
    text = pl.col("text")
    broken = pl.when(~text.str.json_path_match("$").str.starts_with("{").fill_null(value=False))
    lines = lines.with_columns(broken.then(pl.lit("not_a_json_object")).alias(RECORD))
    whole = lines.filter(pl.col(RECORD).is_null())["text"]
    if whole.len():
        keys = pl.scan_ndjson("\n".join(whole).encode(), infer_schema_length=None).collect_schema().names()
        _refuse_unknown(path, keys, known)
    cells = [text.str.json_path_match(f"$['{name}']").alias(name) for name in known]
    return _emptied(lines.select(LINE, RECORD, *cells))


def _sound() -> pl.Expr:
    return pl.lit(None, dtype=pl.String).alias(RECORD)


def _emptied(table: pl.DataFrame) -> pl.DataFrame:
    """Make an empty text an empty cell, so that all three forms mean the same by it."""
    text = pl.selectors.string()
    return table.with_columns(pl.when(text != "").then(text).name.keep())
