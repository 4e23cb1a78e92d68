"""The copy of everything that is held about a person, for themselves (PIPL Art 45): each table as it stands, opened."""

import asyncio
import csv
import io
import json
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from compliance import ids, sequencer
from compliance.act import Act
from compliance.canonical import Json
from compliance.database import ground
from compliance.keys import Sealer
from compliance.refusals import Refusal
from compliance.vocabulary import PartnerId, StaffRole
from consent import holdings, receipts, statements
from consent.holdings import Holding
from consent.permits import OwnPermit

AT_ONCE = 100
ROWS_MAX = 100_000
"""Of one table. Nobody has as many; who had would be answered by hand."""
Row = dict[str, Any]
Opening = Callable[[Act, Sealer, Row], Awaitable[Row]]
Reading = Callable[[Act, OwnPermit, int], Awaitable[list[Row]]]
HIDDEN = frozenset(
    {
        "user_id",
        "other",
        "bucket",
        "other_bucket",
        "contacts_for",
        "person",
        "transaction",
        "seq",
        "reference_index",
        "fact_promise",
        "permit_digest",
        "commitment",
    }
)
"""Ids and numbers inside the installation; they say nothing about anybody, or about somebody else."""
PREFIXES = {
    "grant_id": "gnt",
    "recipient": "ptn",
    "partner": "ptn",
    "bureau": "ptn",
    "relay": "ptn",
    "application": "app",
    "picked": "off",
    "offer": "off",
    "referral": "ref",
    "score": "scr",
    "product": "prd",
    "model": "mdl",
    "prescreen": "pre",
    "entry": "ent",
    "fact": "fct",
    "pseudonym": "usr",
}
STAFF = ("principal", "answered_by", "lifted_by")
"""Who acted, as the log names them: of staff a person learns the role."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run: such a cell begins with an apostrophe."""
_opened: dict[str, Opening] = {}
_added: dict[str, Reading] = {}


class CopyTooLarge(Refusal):
    """More rows than a copy is made of: somebody has to help."""

    status, code, title = 409, "copy_too_large", "There is more about you than this page can give"


@dataclass(frozen=True, slots=True)
class Copy:
    """Part by part, its rows; times are UTC, ids are those that partners and pages use."""

    made_at: datetime
    parts: Mapping[str, list[Row]]

    def as_json(self) -> bytes:
        """One JSON document."""
        whole = {"made_at": self.made_at.isoformat(), "parts": self.parts}
        return json.dumps(whole, ensure_ascii=False, indent=1).encode()

    def as_tables(self) -> bytes:
        """A ZIP of CSV files (RFC 4180, UTF-8), one for each part; what has parts of its own is JSON in its cell."""
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as files:
            for name, rows in self.parts.items():
                table = io.StringIO()
                columns = list(dict.fromkeys(column for row in rows for column in row))
                out = csv.writer(table)
                out.writerow(columns)
                out.writerows([[_cell(row.get(column)) for column in columns] for row in rows])
                files.writestr(f"{name}.csv", "\ufeff" + table.getvalue())
        return whole.getvalue()


def parts() -> list[str]:
    """What a copy has in it."""
    tables = [holding.part for holding in reversed(holdings.declared()) if holding.part]
    return tables + [files.part for files in holdings.filed()]


def opens(table: str) -> Callable[[Opening], Opening]:
    """Declare how a row of a table is opened, where what it holds is sealed or packed."""

    def declare(opening: Opening) -> Opening:
        _opened[table] = opening
        return opening

    return declare


def adds(files: str) -> Callable[[Reading], Reading]:
    """Declare how a person's rows are read from files (`holdings.files`): at most so many, ready to be shown."""

    def declare(reading: Reading) -> Reading:
        _added[files] = reading
        return reading

    return declare


async def make(act: Act, own: OwnPermit) -> Copy:
    """Make the copy. Records `copy_made`, with how many rows of each part. Raises `CopyTooLarge`."""
    sealer = await ground().key_store.sealer(own.user)
    shown = [holding for holding in reversed(holdings.declared()) if holding.part]
    parts = {str(holding.part): await _rows(act, own, holding, sealer) for holding in shown}
    for files in holdings.filed():
        parts[files.part] = _bounded(await _added[files.name](act, own, ROWS_MAX + 1))
    counts: dict[str, Json] = {name: len(rows) for name, rows in parts.items()}
    act.record("copy_made", {"rows": counts}, person=own.user)
    return Copy(act.now, parts)


async def _rows(act: Act, own: OwnPermit, holding: Holding, sealer: Sealer) -> list[Row]:
    found = _bounded(await act.db.execute_query_dict(holding.rows, [own.user, ROWS_MAX + 1]))
    opening = _opened.get(holding.table)
    rows = [json.loads(row["line"]) for row in found]
    told = []
    for number, row in enumerate(rows):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)  # a long copy lets others have their turn
        told.append(_public(await opening(act, sealer, row) if opening else row, holding))
    return told


def _bounded(rows: list[Row]) -> list[Row]:
    if len(rows) > ROWS_MAX:
        raise CopyTooLarge("write to us: we give you the whole copy by hand")
    return rows


def _public(row: Row, holding: Holding) -> Row:
    return {
        name: _told(name, value, holding.prefix if name == "id" else PREFIXES.get(name))
        for name, value in row.items()
        if name not in HIDDEN and not (name == "id" and holding.prefix is None)
    }


def _told(name: str, value: Any, prefix: str | None) -> Any:
    if name in STAFF and isinstance(value, str):
        role, _, _ = value.partition(":")
        return role if role in list(StaffRole) else value  # never who it was
    if not prefix or not _is_id(value):
        return value
    return receipts.party(PartnerId(UUID(value))) if prefix == "ptn" else ids.public(prefix, UUID(value))


def _is_id(value: object) -> bool:
    """Whether a value is an id inside, as the database writes one."""
    return isinstance(value, str) and len(value) == len(str(UUID(int=0))) and value.count("-") == 4


def _cell(value: object) -> object:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def unhex(stored: str) -> bytes:
    """Bytes, as the database writes them into JSON."""
    return bytes.fromhex(stored.removeprefix("\\x"))


def with_texts(row: Row, sealer: Sealer, texts: Mapping[str, str]) -> Row:
    """A row whose sealed texts are opened: column by column, the place that each was sealed for (`statements`)."""
    told = dict(row)
    for column, place in texts.items():
        sealed = told.pop(column)
        name = column.removesuffix("_sealed")
        told[name] = statements.opened(sealer, unhex(sealed), place, UUID(row["id"])) if sealed else None
    return told


@opens("consent_person")
async def _person(_: Act, sealer: Sealer, row: Row) -> Row:
    reference = sealer.open(unhex(row.pop("reference_sealed")), UUID(row["id"]).bytes)
    return {"operator_reference": reference.decode(), **row}


@opens("compliance_fact")
async def _fact(_: Act, sealer: Sealer, row: Row) -> Row:
    sealed, person = unhex(row.pop("sealed")), UUID(row["person"])
    opened = sequencer.unseal({"id": UUID(row["id"]), "person": person, "sealed": sealed}, {person: sealer})
    return row | {"what": json.loads(opened.payload)["what"] if opened else None}


@opens("consent_dispute")
async def _dispute(_: Act, sealer: Sealer, row: Row) -> Row:
    places = {"text_sealed": "dispute", "answer_sealed": "answer", "lifted_sealed": "lifted"}
    return with_texts(row, sealer, places)
