"""The operator brings people from files: each once, nobody twice, no birth date replaced, what is wrong told apart."""

import asyncio
import contextvars
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from support import events, world

from api import loading
from api.cli import _parser
from api.running import Standing
from compliance import database as databases
from compliance.act import Act, open_act
from compliance.database import Database
from consent import people
from scoring.behaviour_files import BehaviourRefused
from scoring.store import newcomers

FORMS = ("parquet", "ndjson", "csv")
BORN = "select born_on from consent_person where id = $1"


@pytest.fixture
async def found(database: Database, home: Path) -> Standing:
    async with world.opened(database, home) as here:
        return Standing(here.settings, database)


def write(folder: Path, rows: list[tuple[Any, Any]], form: str = "csv", name: str = "people") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{form}"
    schema = {"user": pl.String, "born_on": pl.String}
    getattr(pl.DataFrame(rows, schema=schema, orient="row"), f"write_{form}")(path)
    return path


async def loaded(found: Standing, source: object, capsys: Any) -> dict[str, Any]:
    capsys.readouterr()
    failed = await loading.load_people(found, str(source))
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert failed == int(said["quarantined"] > 0)
    return said


def counted(said: dict[str, Any]) -> tuple[int, ...]:
    return tuple(said[name] for name in ("accepted", "completed", "duplicate", "quarantined"))


def faults(said: dict[str, Any]) -> list[tuple[int, str, str]]:
    lines = [json.loads(line) for line in Path(said["quarantine"]).read_text().splitlines()]
    assert {line["file"] for line in lines} <= {"people.parquet", "people.ndjson", "people.csv"}
    return [(line["line"], line["column"], line["reason"]) for line in lines]


@asynccontextmanager
async def acting(found: Standing) -> AsyncIterator[Act]:
    settings = found.settings
    async with (
        databases.opened(found.database, settings.home, settings.origin),
        open_act(world.STORY, None) as act,
    ):
        yield act


async def who(found: Standing, reference: str) -> Any:
    async with acting(found) as act:
        act.record("disputes_listed", {"count": 0})
        return (await people.of_operator(act, [reference])).get(reference)


BAD = [
    ("", "1990-05-01", "user", "missing"),
    ("u" * 201, "1990-05-01", "user", "too_long"),
    ("u-\ufffd", "1990-05-01", "user", "unreadable_text"),
    ("u-3", "1900-01-01", "born_on", "date_out_of_range"),
    ("u-4", "1899-12-31", "born_on", "date_out_of_range"),
    ("u-5", (date.today() + timedelta(days=3)).isoformat(), "born_on", "in_future"),  # noqa: DTZ011
    ("u-6", "2100-01-01", "born_on", "date_out_of_range"),
    ("u-7", "NaN", "born_on", "not_a_date"),
    ("u-8", "1990-02-30", "born_on", "not_a_date"),
    ("u-9", "01/05/1990", "born_on", "not_a_date"),
    ("u-10", "inf", "born_on", "not_a_date"),
    ("u-1", "1990-05-02", "born_on", "other_birth_date"),
]


@pytest.mark.parametrize("form", FORMS)
async def test_who_is_right_is_there_and_each_of_the_others_is_told_apart(
    found: Standing, owner: Any, form: str, tmp_path: Path, capsys: Any
) -> None:
    rows = [("u-1", "1990-05-01"), ("u-2", None), ("u-1", "1990-05-01")]
    rows += [(user, born_on) for user, born_on, _, _ in BAD]
    said = await loaded(found, write(tmp_path / "in", rows, form).parent, capsys)
    assert (said["files"], *counted(said)) == (1, 2, 0, 1, len(BAD))
    first = 2 if form == "csv" else 1
    assert faults(said) == [
        (first + 3 + number, column, reason) for number, (_, _, column, reason) in enumerate(BAD)
    ]
    assert "u-1" not in Path(said["quarantine"]).read_text()
    assert await owner.fetchval("select count(*) from consent_person where fictional") == 2
    assert await owner.fetchval(BORN, await who(found, "u-1")) == date(1990, 5, 1)
    assert await owner.fetchval(BORN, await who(found, "u-2")) is None
    assert "people_brought" in await world.kinds(owner)


async def test_run_again_it_changes_nothing_and_a_birth_date_is_added_but_never_replaced(
    found: Standing, owner: Any, tmp_path: Path, capsys: Any
) -> None:
    first = write(tmp_path, [("u-1", "1990-05-01"), ("u-2", None)])
    assert counted(await loaded(found, first, capsys)) == (2, 0, 0, 0)
    users = await who(found, "u-1"), await who(found, "u-2")
    assert counted(await loaded(found, first, capsys)) == (0, 0, 2, 0)
    changed = write(tmp_path, [("u-1", "1990-05-02"), ("u-2", "1988-03-04"), ("u-1", None)])
    said = await loaded(found, changed, capsys)
    assert (*counted(said), faults(said)) == (0, 1, 1, 1, [(2, "born_on", "other_birth_date")])
    assert (await world.kinds(owner))[-2:] == ["people_brought", "birth_dates_added"]
    assert (await who(found, "u-1"), await who(found, "u-2")) == users
    born = [await owner.fetchval(BORN, user) for user in users]
    assert born == [date(1990, 5, 1), date(1988, 3, 4)]


async def test_a_date_that_comes_later_in_the_file_is_that_persons_and_a_third_one_is_not(
    found: Standing, owner: Any, tmp_path: Path, capsys: Any
) -> None:
    rows = [("u-1", None), ("u-1", "1990-05-01"), ("u-1", "1991-05-01")]
    said = await loaded(found, write(tmp_path, rows), capsys)
    assert (*counted(said), faults(said)) == (1, 0, 1, 1, [(4, "born_on", "other_birth_date")])
    assert await owner.fetchval(BORN, await who(found, "u-1")) == date(1990, 5, 1)


@pytest.mark.parametrize("header", ["user,born_on,name", "user", "born_on"])
async def test_other_columns_than_these_are_refused_before_anybody_is_brought(
    found: Standing, owner: Any, tmp_path: Path, header: str
) -> None:
    (tmp_path / "people.csv").write_text(f"{header}\n" + ",".join(["x"] * len(header.split(","))) + "\n")
    with pytest.raises(BehaviourRefused):
        await loading.load_people(found, str(tmp_path))
    assert await owner.fetchval("select count(*) from consent_person") == 0


async def test_real_dates_in_parquet_and_files_elsewhere(
    found: Standing, tmp_path: Path, capsys: Any, owner: Any
) -> None:
    rows = pl.DataFrame({"user": ["u-1"], "born_on": [date(1990, 5, 1)]})
    rows.write_parquet(tmp_path / "people.parquet")
    memory = fsspec.filesystem("memory")
    memory.pipe("/people/people-1.parquet", (tmp_path / "people.parquet").read_bytes())
    memory.pipe("/people/events.parquet", b"not read")
    assert counted(await loaded(found, "memory:///people", capsys)) == (1, 0, 0, 0)
    memory.rm("/people", recursive=True)
    assert await owner.fetchval(BORN, await who(found, "u-1")) == date(1990, 5, 1)


async def test_who_was_killed_between_two_pieces_goes_on(
    found: Standing, owner: Any, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(loading, "PEOPLE_AT_ONCE", 2)
    source = write(tmp_path, [(f"u-{n}", "1990-05-01") for n in range(5)])
    real, calls = newcomers.receive, []

    async def killed_at_the_second(*given: Any, **told: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return await real(*given, **told)

    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(newcomers, "receive", killed_at_the_second)
        await loading.load_people(found, str(source))
    assert await owner.fetchval("select count(*) from consent_person") == 2
    assert counted(await loaded(found, source, capsys)) == (3, 0, 2, 0)
    assert await owner.fetchval("select count(*) from consent_person") == 5


async def test_two_who_bring_the_same_people_at_once_make_each_of_them_once(found: Standing) -> None:
    cells = pl.DataFrame({" line": [1, 2], "user": ["u-1", "u-2"], "born_on": ["1990-05-01", None]})
    cells = cells.with_columns(pl.lit(None, pl.String).alias(" record"))

    async def brought() -> Any:
        async with open_act(world.STORY, None) as act:
            return await newcomers.receive(act, cells, fictional=True)

    settings = found.settings
    async with databases.opened(found.database, settings.home, settings.origin):
        both = await asyncio.gather(
            *(asyncio.create_task(brought(), context=contextvars.Context()) for _ in range(2))
        )
    assert sorted((each.accepted, each.duplicate) for each in both) == [(0, 2), (2, 0)]


async def test_people_are_real_only_where_real_people_are_served(
    found: Standing, owner: Any, tmp_path: Path, capsys: Any
) -> None:
    real = dataclasses.replace(found, settings=dataclasses.replace(found.settings, installation="production"))
    await loaded(real, write(tmp_path, [("u-1", "1990-05-01")]), capsys)
    assert not await owner.fetchval("select fictional from consent_person")


async def test_who_deleted_themselves_is_somebody_new_when_brought_again(
    found: Standing, tmp_path: Path, capsys: Any
) -> None:
    """Nothing is kept by which they could be known again."""
    source = write(tmp_path, [("u-1", "1990-05-01")])
    await loaded(found, source, capsys)
    before = await who(found, "u-1")
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        await world.deleted(events.in_session(before))
    assert counted(await loaded(found, source, capsys)) == (1, 0, 0, 0)
    assert await who(found, "u-1") not in (None, before)


def test_the_command_is_there() -> None:
    assert _parser().parse_args(["people", "load", "x.csv"]).source == "x.csv"
