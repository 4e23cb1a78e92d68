"""The operator brings behaviour by its API and by files: the same rules, the same store, gone with its person."""

import json
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from support import canaries, events, world
from support.events import event
from support.world import told

from api import loading, operating, worker
from api.running import Standing
from compliance.act import open_act
from compliance.database import Database
from compliance.refusals import Unacceptable
from consent import copies, permits
from scoring import behaviour, buckets
from scoring.behaviour_files import BehaviourRefused
from scoring.store import intake, shelf

ROUTE = "/v1/operator/behaviour"
FORMS = ("parquet", "ndjson", "csv")


@pytest.fixture
async def here(database: Database, home: Any) -> Any:
    async with world.opened(database, home) as opened:
        yield opened


@pytest.fixture
async def operator(here: Any) -> Any:
    return await here.operators_software()


BAD = [
    ("at", "2099-01-01T00:00:00Z", "in_future"),
    ("at", "1900-01-01T00:00:00Z", "time_out_of_range"),
    ("at", "2026-01-01T00:00:00", "time_without_zone"),
    ("at", "yesterday", "time_without_zone"),
    ("at", None, "missing"),
    ("value", "NaN", "not_finite"),
    ("value", "inf", "not_finite"),
    ("value", "-Infinity", "not_finite"),
    ("value", "1e400", "not_finite"),
    ("value", "twelve", "not_a_number"),
    ("count", "-1", "negative"),
    ("count", "1.5", "not_an_integer"),
    ("count", "true", "not_an_integer"),
    ("attributes", "[1]", "not_a_json"),
    ("attributes", json.dumps({"a": "x" * 5_000}), "too_long"),
    ("category", "astrology", "unknown_category"),
    ("category", "social_graph", "category_not_taken"),
    ("name", "order\x00paid", "unreadable_text"),
    ("name", "religion_donation", "forbidden_name"),
    ("name", "", "missing"),
    ("user", "u" * 201, "too_long"),
    ("user", "nobody we know", "unknown_user"),
    ("user", "", "missing"),
]


async def test_what_is_right_is_kept_and_each_of_the_others_is_told_apart(operator: Any, owner: Any) -> None:
    [reference] = await events.known()
    sent = [event(reference), event(reference)]
    sent += [event(reference, **{column: cell}) for column, cell, _ in BAD]
    receipt = told(await operator.call("POST", ROUTE, {"events": sent}), 200)
    assert receipt["id"].startswith("bhv_")
    assert {name: receipt[name] for name in ("accepted", "duplicate", "late", "quarantined")} == {
        "accepted": 1,
        "duplicate": 1,
        "late": 0,
        "quarantined": len(BAD),
    }
    assert [(error["pointer"], error["code"]) for error in receipt["errors"]] == [
        (f"/events/{2 + number}/{column}", code) for number, (column, _, code) in enumerate(BAD)
    ]
    assert await owner.fetchval("select count(*) from scoring_behaviour") == 1


@pytest.mark.parametrize(
    ("cell", "column", "code"),
    [
        ({"count": -1}, "count", "negative"),
        ({"count": 2.5}, "count", "not_an_integer"),
        ({"count": True}, "count", "not_an_integer"),
        ({"value": [1]}, "value", "not_a_number"),
        ({"value": False}, "value", "not_a_number"),
        ({"attributes": [1]}, "attributes", "not_a_json"),
        ({"attributes": 5}, "attributes", "not_a_json"),
        ({"at": 1_700_000_000}, "at", "time_without_zone"),
        ({"user": {"a": 1}}, "user", "unknown_user"),
        ({"category": 7}, "category", "unknown_category"),
    ],
)
async def test_a_wrong_type_is_set_aside_like_a_wrong_word(
    operator: Any, cell: Any, column: str, code: str
) -> None:
    [reference] = await events.known()
    receipt = told(await operator.call("POST", ROUTE, {"events": [event(reference, **cell)]}), 200)
    assert [(error["pointer"], error["code"]) for error in receipt["errors"]] == [
        (f"/events/0/{column}", code)
    ]


async def test_a_batch_that_is_no_batch_is_refused_as_a_whole(operator: Any, owner: Any) -> None:
    [reference] = await events.known()
    unknown = told(await operator.call("POST", ROUTE, {"events": [event(reference, colour="red")]}), 422)
    assert [(e["pointer"], e["code"]) for e in unknown["errors"]] == [("/events/0/colour", "unknown_field")]
    for body in (
        {},
        {"events": []},
        {"events": [event(reference)] * 1_001},
        {"events": [1]},
        {"events": None},
    ):
        assert (await operator.call("POST", ROUTE, body)).status_code == 422
    huge = {"events": [event(reference, attributes={"a": "x" * 10_000_000})]}
    assert told(await operator.call("POST", ROUTE, huge), 413)["code"] == "too_large"
    headers = await operator.headers("POST", ROUTE)
    for raw in (b'{"events": [{"value": NaN}]}', b'{"events": [{"value": Infinity}]}'):
        json_of = {"Content-Type": "application/json"}
        answer = await operator.http.post(
            ROUTE, content=raw, headers=await operator.headers("POST", ROUTE) | json_of
        )
        assert told(answer, 400)["code"] == "malformed"
    del headers["Idempotency-Key"]
    bare = await operator.http.post(ROUTE, json={"events": [event(reference)]}, headers=headers)
    assert told(bare, 400)["code"] == "idempotency_key_missing"
    assert await owner.fetchval("select count(*) from scoring_behaviour") == 0


async def test_only_the_operators_own_client_brings_anything(here: Any, operator: Any) -> None:
    bank = await here.software()
    refused = await bank.call("POST", ROUTE, {"events": [event("x")]})
    assert told(refused, 403)["code"] == "insufficient_scope"
    for method, path in (("GET", "/v1/grants"), ("POST", "/v1/scores"), ("GET", "/v1/withdrawals")):
        assert (await operator.call(method, path, {})).status_code in (403, 405, 422)
    for partner, scopes in ((bank.client.partner, ["behaviour"]), (world.OPERATOR, ["behaviour", "scores"])):
        with pytest.raises(Unacceptable) as odd:
            await world.oauth_app.a_client(partner, scopes=tuple(scopes))
        assert [fault.code for fault in odd.value.faults] == ["operators_own"]


async def test_the_same_call_is_answered_the_same_and_keeps_nothing_twice(operator: Any, owner: Any) -> None:
    [reference] = await events.known()
    body = {"events": [event(reference), event("nobody")]}
    first = await operator.call("POST", ROUTE, body, key="k-1")
    again = await operator.call("POST", ROUTE, body, key="k-1")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert told(again, 200) == told(first, 200)
    other = told(await operator.call("POST", ROUTE, body, key="k-2"), 200)
    assert (other["accepted"], other["duplicate"]) == (0, 1)
    assert told(await operator.call("POST", ROUTE, {"events": [event("x")]}, key="k-1"), 422)
    assert await owner.fetchval("select count(*) from scoring_behaviour") == 1


async def test_too_much_that_waits_is_pushed_back(operator: Any, monkeypatch: Any) -> None:
    [reference] = await events.known()
    monkeypatch.setattr(intake, "BACKLOG_MAX", 1)
    told(await operator.call("POST", ROUTE, {"events": [event(reference)]}), 200)
    body = {"events": [event(reference, count=9)]}
    refused = await operator.call("POST", ROUTE, body, key="k-1")
    assert told(refused, 429)["code"] == "behaviour_backlog"
    assert refused.headers["Retry-After"] == "30"
    await events.filed()
    assert told(await operator.call("POST", ROUTE, body, key="k-1"), 200)["accepted"] == 1


async def test_events_come_back_in_the_copy_and_go_with_their_person(
    here: Any, operator: Any, owner: Any, home: Any
) -> None:
    """A word in an event's attributes is in the copy, and after the deletion in no row and in no file."""
    (reference, user), (other, stays) = (await events.known(2)).items()
    person = events.in_session(user)
    words = ["canaryfiled0123", "canarywaits4567"]
    sent = [event(name, attributes={"w": words[0]}) for name in (reference, other)]
    told(await operator.call("POST", ROUTE, {"events": sent}), 200)
    await events.filed()
    body = {"events": [event(reference, attributes={"w": words[1]})]}
    told(await operator.call("POST", ROUTE, body), 200)
    async with open_act(person, None) as act:
        copy = await copies.make(act, permits.own_permit(act))
    assert [json.loads(row["attributes"])["w"] for row in copy.parts["events"]] in (words, words[::-1])
    assert await canaries.in_rows(owner, words)
    left = shelf.folder() / f"{shelf.parts(buckets.bucket_of(user))[0].parent.name}" / "dead.tmp"
    left.write_bytes(words[0].encode())
    await world.deleted(person)
    assert await canaries.in_rows(owner, words) == set()  # what waited is gone in the same act
    assert await worker.finish_deletions()
    for part in (home / "behaviour").rglob("*"):
        assert part.suffix != ".tmp"
    assert shelf.read(buckets.bucket_of(user), users=[str(user)]).height == 0
    assert shelf.read(buckets.bucket_of(stays), users=[str(stays)]).height == 1
    late = told(await operator.call("POST", ROUTE, {"events": sent}), 200)
    assert [error["code"] for error in late["errors"]] == ["unknown_user"]
    assert late["duplicate"] == 1


async def test_no_file_of_the_home_holds_a_word_of_somebody_deleted(operator: Any, home: Any) -> None:
    [(reference, user)] = (await events.known()).items()
    word = "canaryalone89ab"
    told(await operator.call("POST", ROUTE, {"events": [event(reference, name=word)]}), 200)
    await events.filed()
    assert canaries.in_files(home, [word.encode()])
    await world.deleted(events.in_session(user))
    await worker.finish_deletions()
    assert canaries.in_files(home, [word.encode()]) == set()


def write(folder: Any, form: str, rows: list[dict[str, Any]], name: str = "events") -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    cells = [{k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()} for row in rows]
    text = [{k: None if v is None else str(v) for k, v in row.items()} for row in cells]
    frame = pl.DataFrame(text, schema=dict.fromkeys(event("x"), pl.String))
    path = folder / f"{name}.{form}"
    getattr(frame, f"write_{form}")(path)
    return path


async def loaded(found: Standing, source: Any, capsys: Any) -> dict[str, Any]:
    capsys.readouterr()
    await loading.load(found, str(source))
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


@pytest.mark.parametrize("form", FORMS)
async def test_a_file_obeys_the_same_rules_and_keeps_the_same_events(
    database: Database, home: Any, form: str, tmp_path: Any, capsys: Any
) -> None:
    async with world.opened(database, home) as here:
        found = Standing(here.settings, database)
        operator = await here.operators_software()
        [reference] = await events.known()
        told(await operator.call("POST", ROUTE, {"events": [event(reference)]}), 200)
    bad = [(column, cell, code) for column, cell, code in BAD if "\x00" not in str(cell)]
    rows = [event(reference), event(reference, count=7), *(event(reference, **{c: v}) for c, v, _ in bad)]
    write(tmp_path / "in", form, rows)
    sums = await loaded(found, tmp_path / "in", capsys)
    assert (sums["files"], sums["accepted"], sums["duplicate"], sums["quarantined"]) == (1, 1, 1, len(bad))
    first = 2 if form == "csv" else 1
    lines = [json.loads(line) for line in Path(sums["quarantine"]).read_text().splitlines()]
    assert [(line["line"], line["column"], line["reason"]) for line in lines] == [
        (first + 2 + number, column, code) for number, (column, _, code) in enumerate(bad)
    ]
    again = await loaded(found, f"file://{tmp_path}/in", capsys)
    assert (again["accepted"], again["duplicate"]) == (0, 2)


async def test_a_source_that_is_none_is_told_in_a_line(database: Database, home: Any, tmp_path: Any) -> None:
    async with world.opened(database, home) as here:
        found = Standing(here.settings, database)
    for source in (tmp_path / "nowhere", tmp_path, "nonsense://x/y.csv", "s3://", tmp_path / "x.exe"):
        with pytest.raises(Unacceptable):
            await loading.load(found, str(source))
    write(tmp_path / "odd", "csv", [])
    (tmp_path / "odd" / "events.csv").write_text("user,at,category,name,colour\n")
    with pytest.raises(BehaviourRefused):
        await loading.load(found, str(tmp_path / "odd"))


async def test_what_lies_elsewhere_is_fetched(
    database: Database, home: Any, tmp_path: Any, capsys: Any
) -> None:
    async with world.opened(database, home) as here:
        found = Standing(here.settings, database)
        [reference] = await events.known()
    path = write(tmp_path / "in", "parquet", [event(reference)])
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/events.parquet", path.read_bytes())
    sums = await loaded(found, "memory:///bucket", capsys)
    assert (sums["files"], sums["accepted"]) == (1, 1)
    memory.rm("/bucket", recursive=True)


async def test_a_file_beyond_the_bound_is_refused_wherever_it_lies(
    database: Database, home: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    async with world.opened(database, home) as here:
        found = Standing(here.settings, database)
        [reference] = await events.known()
    monkeypatch.setattr("scoring.behaviour_files.FILE_BYTES_MAX", 10)
    path = write(tmp_path / "in", "parquet", [event(reference)])
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/events.parquet", path.read_bytes())
    read: list[Path] = []
    monkeypatch.setattr(behaviour, "events_of", read.append)
    with pytest.raises(BehaviourRefused):
        await loading.load(found, "memory:///bucket")
    assert not read
    monkeypatch.undo()
    monkeypatch.setattr("scoring.behaviour_files.FILE_BYTES_MAX", 10)
    with pytest.raises(BehaviourRefused):
        await loading.load(found, str(path))
    memory.rm("/bucket", recursive=True)


async def test_the_files_are_for_nobody_else_to_read(operator: Any, home: Any) -> None:
    for number in range(2):
        [reference] = await events.known()
        told(await operator.call("POST", ROUTE, {"events": [event(reference, count=number)]}), 200)
        await events.filed()
    store = home / "behaviour"
    modes = {(each.is_dir(), each.stat().st_mode & 0o777) for each in (store, *store.rglob("*"))}
    assert modes == {(True, 0o700), (False, 0o600)}


async def test_the_operator_registers_its_own_software(
    database: Database, home: Any, capsys: Any, tmp_path: Any
) -> None:
    async with world.opened(database, home) as here:
        found = Standing(here.settings, database)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(world.OAuthClient("warehouse", world.ISSUER).jwks()))
    await operating.add_client(found, "operator", keys, client_id="warehouse", scopes=["behaviour"])
    assert json.loads(capsys.readouterr().out)["scopes"] == ["behaviour"]
