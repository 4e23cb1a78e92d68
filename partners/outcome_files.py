"""A lender's file of outcomes, a report to a line: what can be read, and what is set aside with its line and reason."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec

from compliance import ids
from compliance.refusals import Fault, NotFound, Unacceptable
from partners.outcomes import PREFIXES, About, Decision, Outcome

FILE_BYTES_MAX = 64 * 2**20
ROWS_MAX = 100_000
LINE_BYTES_MAX = 4_096
RATE = r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,10})?$"
Amount = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns of a file."""

    decision: Decision
    decided_on: date | None = None
    score: str | None = None
    referral: str | None = None
    entry: str | None = None
    applied_on: date | None = None
    daily_rate: Annotated[str, msgspec.Meta(pattern=RATE, max_length=20)] | None = None
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] | None = None
    approved_minor: Amount | None = None
    disbursed_minor: Amount | None = None
    observed_until: date | None = None
    days_past_due_max: Annotated[int, msgspec.Meta(ge=0, le=36_500)] | None = None
    defaulted: bool | None = None


COLUMNS = _Line.__struct_fields__


@dataclass(frozen=True, slots=True)
class Told:
    """A line that can be read."""

    line: int
    outcome: Outcome
    about: About


@dataclass(frozen=True, slots=True)
class SetAside:
    """A line that cannot be kept: where and why, never what stands there."""

    line: int
    column: str
    reason: str


def read(file: Path) -> Iterator[Told | SetAside]:
    """Read a .csv (with a header) or a .ndjson file, lines counting from 1; an empty cell is no value.

    Raises `Unacceptable` where the file as a whole cannot be used.
    """
    if file.suffix not in (".csv", ".ndjson"):
        raise _unusable("a file of outcomes is .csv or .ndjson")
    if file.stat().st_size > FILE_BYTES_MAX:
        raise _unusable(f"a file may have at most {FILE_BYTES_MAX} bytes")
    rows = _csv(file) if file.suffix == ".csv" else _ndjson(file)
    for count, (line, cells) in enumerate(rows):
        if count == ROWS_MAX:
            raise _unusable(f"a file may have at most {ROWS_MAX} reports")
        yield cells if isinstance(cells, SetAside) else _told(line, cells)


def _unusable(why: str) -> Unacceptable:
    return Unacceptable("the file cannot be used", Fault("/", "unusable", why))


def _csv(file: Path) -> Iterator[tuple[int, dict[str, Any] | SetAside]]:
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            if not set(reader.fieldnames or ()) <= set(COLUMNS):
                raise _unusable(f"the columns are {', '.join(COLUMNS)}")
            for cells in reader:
                surplus = None in cells or any(value is None for value in cells.values())
                whole = SetAside(reader.line_num, "", "wrong_number_of_cells") if surplus else cells
                yield reader.line_num, whole
        except csv.Error:
            raise _unusable(f"line {reader.line_num} is no CSV") from None


def _ndjson(file: Path) -> Iterator[tuple[int, dict[str, Any] | SetAside]]:
    with file.open("rb") as lines:
        for line, text in enumerate(lines, 1):
            try:
                cells = json.loads(text) if len(text) <= LINE_BYTES_MAX else None
            except (ValueError, RecursionError):
                cells = None
            yield line, cells if isinstance(cells, dict) else SetAside(line, "", "not_a_json_object")


def _told(line: int, cells: dict[str, Any]) -> Told | SetAside:
    given = {name: value for name, value in cells.items() if value not in ("", None)}
    try:
        read = msgspec.convert(given, _Line, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        # Its words may quote the cell: only the column is told.
        column = next((name for name in COLUMNS if f"`$.{name}`" in str(error)), "")
        return SetAside(line, column, "unreadable" if column else "missing_or_unknown_column")
    named = {name: getattr(read, name) for name in PREFIXES if getattr(read, name)}
    about: dict[str, UUID] = {}
    for name, told in named.items():
        try:
            about[name] = ids.private(PREFIXES[name], told)
        except NotFound:
            return SetAside(line, name, "no_such_id")
    kept = {name: getattr(read, name) for name in COLUMNS if name not in PREFIXES}
    return Told(line, Outcome(**kept), About(**about))
