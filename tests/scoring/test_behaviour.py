"""Reading canonical tables: what fits is read, what does not is set aside row by row, with no value of it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring import behaviour
from scoring.behaviour_files import BehaviourRefused

FORMS = ["parquet", "ndjson", "csv"]
SCHEMA = {
    "currency": "CNY",
    "timezone": "Asia/Shanghai",
    "profiles": {
        "income": {"type": "float", "category": "declared", "roles": ["feature"]},
        "employment": {"type": "category", "category": "declared", "roles": ["feature"]},
        "born": {"type": "date", "category": "declared", "roles": ["eligibility", "fairness"]},
        "is_student": {"type": "bool", "category": "declared", "roles": ["eligibility"]},
    },
}
EVENT = {
    "user": "u1",
    "at": "2026-01-01T08:00:00+08:00",
    "category": "shopping",
    "name": "order",
    "value": "12.5",
    "count": "2",
    "attributes": '{"shop": 7}',
}
PROFILE = {
    "user": "u1",
    "income": "5000",
    "employment": "permanent",
    "born": "1990-02-03",
    "is_student": "false",
}
OUTCOME = {
    "user": "u1",
    "application": "a1",
    "product": "p",
    "decided_at": "2026-02-01T00:00:00Z",
    "amount": "1000",
    "tenor_days": "90",
    "observed_until": "2027-02-01T00:00:00Z",
    "defaulted": "true",
    "days_past_due_max": "91",
    "income": "",
}
EDGE = {"user_a": "u1", "user_b": "u2", "kind": "contact", "weight": "1", "at": "2026-01-01T00:00:00Z"}
FIRST_LINE = {"parquet": 1, "ndjson": 1, "csv": 2}


def write(folder, form, schema=SCHEMA, **tables):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.json").write_text(json.dumps(schema), "utf-8")
    for table, rows in tables.items():
        frame = pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))
        getattr(frame, f"write_{form}")(folder / f"{table}.{form}")


def read(folder):
    return behaviour.read(folder, folder / "quarantine")


def set_aside(folder, table):
    path = folder / "quarantine" / f"{table}.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_reads_the_same_in_every_form(tmp_path, form):
    write(tmp_path, form, events=[EVENT], profiles=[PROFILE], outcomes=[OUTCOME], edges=[EDGE])
    found = read(tmp_path)
    assert (found.read, found.quarantined) == (4, 0)
    assert found.events.row(0, named=True) == {
        "user": "u1",
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "category": "shopping",
        "name": "order",
        "value": 12.5,
        "count": 2,
        "attributes": '{"shop": 7}',
    }
    assert found.profiles.select("income", "born", "is_student", "known_at").row(0) == (
        5000.0,
        datetime(1990, 2, 3).date(),  # noqa: DTZ001 - a calendar date
        False,
        None,
    )
    assert found.outcomes.select("defaulted", "days_past_due_max", "income").row(0) == (True, 91, None)
    assert found.schema.currency == "CNY"


def test_native_parquet_types_read_like_text(tmp_path):
    write(tmp_path, "csv", events=[EVENT], profiles=[PROFILE], outcomes=[OUTCOME])
    text = read(tmp_path)
    native = tmp_path / "native"
    native.mkdir()
    (native / "schema.json").write_text(json.dumps(SCHEMA))
    for table in ("events", "profiles", "outcomes"):
        getattr(text, table).write_parquet(native / f"{table}.parquet")
    again = read(native)
    assert again.quarantined == 0
    for table in ("events", "profiles", "outcomes"):
        assert getattr(again, table).equals(getattr(text, table))


BAD_EVENTS = [
    ("user", "", "missing"),
    ("user", "u" * 201, "too_long"),
    ("at", "2026-01-01T00:00:00", "time_without_zone"),
    ("at", "2026-02-30T00:00:00Z", "not_a_time"),
    ("at", "yesterday+08:00", "not_a_time"),
    ("at", "1869-01-01T00:00:00Z", "time_out_of_range"),
    ("category", "astrology", "unknown_category"),
    ("value", "twelve", "not_a_number"),
    ("value", "NaN", "not_finite"),
    ("value", "inf", "not_finite"),
    ("value", "1e13", "out_of_range"),
    ("count", "-1", "negative"),
    ("count", "1.5", "not_an_integer"),
    ("count", "99999999999", "out_of_range"),
    ("attributes", "[1]", "not_a_json"),
    ("attributes", "{", "not_a_json"),
    ("attributes", '{"a": "' + "x" * 5000 + '"}', "too_long"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("column", "cell", "reason"), BAD_EVENTS)
def test_a_bad_event_is_set_aside_with_line_column_and_reason(tmp_path, form, column, cell, reason):
    write(tmp_path, form, events=[EVENT, EVENT | {column: cell}, EVENT])
    found = read(tmp_path)
    assert (found.read, found.quarantined) == (2, 1)
    assert set_aside(tmp_path, "events") == [
        {"line": FIRST_LINE[form] + 1, "column": column, "reason": reason}
    ]


BAD_OUTCOMES = [
    ("defaulted", "", "no_outcome"),
    ("defaulted", "perhaps", "not_a_boolean"),
    ("observed_until", "2026-01-31T00:00:00Z", "before_decided_at"),
    ("amount", "-5", "negative"),
    ("application", "a1", "duplicate"),
    ("days_past_due_max", "-1", "negative"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("column", "cell", "reason"), BAD_OUTCOMES)
def test_a_bad_outcome_is_set_aside(tmp_path, form, column, cell, reason):
    write(tmp_path, form, events=[EVENT], outcomes=[OUTCOME, OUTCOME | {"application": "a2", column: cell}])
    assert read(tmp_path).outcomes.height == 1
    assert set_aside(tmp_path, "outcomes") == [
        {"line": FIRST_LINE[form] + 1, "column": column, "reason": reason}
    ]


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("user", "u1", "duplicate"),
        ("income", "much", "not_a_number"),
        ("born", "1990-13-01", "not_a_date"),
        ("born", "1790-01-01", "date_out_of_range"),
        ("is_student", "no", "not_a_boolean"),
    ],
)
def test_a_bad_profile_is_set_aside(tmp_path, column, cell, reason):
    write(tmp_path, "csv", profiles=[PROFILE, PROFILE | {"user": "u2", column: cell}])
    assert read(tmp_path).profiles["user"].to_list() == ["u1"]
    assert set_aside(tmp_path, "profiles") == [{"line": 3, "column": column, "reason": reason}]


def test_a_good_row_is_not_a_duplicate_of_a_bad_one(tmp_path):
    write(tmp_path, "csv", profiles=[PROFILE | {"income": "much"}, PROFILE])
    assert read(tmp_path).profiles.height == 1


def test_a_column_without_one_usable_cell_is_set_aside_alone(tmp_path):
    rows = [PROFILE | {"user": f"u{n}", "income": "train"} for n in range(100)]
    write(tmp_path, "parquet", profiles=rows)
    found = read(tmp_path)
    assert found.profiles.height == 100
    assert found.profiles["income"].null_count() == 100
    assert set_aside(tmp_path, "profiles") == [{"line": 0, "column": "income", "reason": "column_unusable"}]


def test_quarantine_files_of_an_earlier_run_go(tmp_path):
    write(tmp_path, "csv", events=[EVENT | {"value": "x"}])
    read(tmp_path)
    assert set_aside(tmp_path, "events")
    write(tmp_path, "csv", events=[EVENT])
    read(tmp_path)
    assert not set_aside(tmp_path, "events")


def test_broken_json_lines_are_set_aside(tmp_path):
    write(tmp_path, "ndjson", events=[EVENT])
    with (tmp_path / "events.ndjson").open("ab") as file:
        file.write(b'{"user": \n[1]\n\n"text"\n{"user":"\xff\xfe","at":"2026-01-01T00:00:00Z"}\n')
        file.write(json.dumps(EVENT | {"attributes": {"shop": 1}, "count": 1, "value": 3}).encode())
    found = read(tmp_path)
    assert found.events.height == 2
    lines = [(row["line"], row["reason"]) for row in set_aside(tmp_path, "events")]
    assert lines == [*((n, "not_a_json_object") for n in (2, 3, 4, 5)), (6, "unreadable_text")]


def test_csv_records_of_the_wrong_length_are_set_aside(tmp_path):
    write(tmp_path, "csv", events=[EVENT])
    with (tmp_path / "events.csv").open("ab") as file:
        file.write(
            b'u1,2026-01-01T00:00:00Z,shopping,order,1,1,,EXTRA\nu1\n\n"a\nb",2026-01-01T00:00:00Z,shopping,order\n'
        )
        file.write(b"u\xff,2026-01-01T00:00:00Z,shopping,order,1,1,\n")
    assert read(tmp_path).events["user"].to_list() == ["u1", "a\nb"]
    found = [(row["line"], row["column"], row["reason"]) for row in set_aside(tmp_path, "events")]
    assert found == [
        (3, "record", "too_many_cells"),
        (4, "at", "missing"),
        (5, "user", "missing"),
        (7, "user", "unreadable_text"),
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(EVENT)), st.text(max_size=20)), min_size=1, max_size=6),
    st.sampled_from(FORMS),
)
def test_nothing_is_lost_and_nothing_personal_is_written(tmp_path_factory, changes, form):
    folder = tmp_path_factory.mktemp("any")
    if form == "csv":  # what a CSV writer may not write unquoted is another test's business
        changes = [(c, "".join(ch for ch in cell if ch.isprintable())) for c, cell in changes]
    changes = [(c, cell.encode("utf-8", "ignore").decode()) for c, cell in changes]
    write(folder, form, events=[EVENT | {column: cell} for column, cell in changes])
    found = read(folder)
    assert found.read + found.quarantined == len(changes)
    for row in set_aside(folder, "events"):
        assert set(row) == {"line", "column", "reason"}
        assert row["column"] in EVENT


def refusal(folder):
    with pytest.raises(BehaviourRefused) as caught:
        read(folder)
    assert (caught.value.status, caught.value.code) == (422, "behaviour_unreadable")
    return [(fault.pointer, fault.code) for fault in caught.value.faults]


def test_whole_files_that_cannot_be_used_are_refused(tmp_path):
    write(tmp_path / "none", "csv")
    assert refusal(tmp_path / "none") == [("/", "missing_table")]
    write(tmp_path / "outcomes", "csv", outcomes=[OUTCOME])
    assert refusal(tmp_path / "outcomes") == [("/", "missing_table")]
    write(tmp_path / "two", "csv", events=[EVENT])
    write(tmp_path / "two", "ndjson", events=[EVENT])
    assert refusal(tmp_path / "two") == [("/events", "several_forms")]
    write(tmp_path / "form", "csv", profiles=[PROFILE])
    (tmp_path / "form" / "events.xlsx").write_bytes(b"PK")
    assert refusal(tmp_path / "form") == [("/events.xlsx", "unknown_form")]
    write(tmp_path / "damaged", "csv", profiles=[PROFILE])
    (tmp_path / "damaged" / "events.parquet").write_bytes(b"PAR1 not really")
    assert refusal(tmp_path / "damaged") == [("/events.parquet", "unreadable")]
    write(tmp_path / "undeclared", "csv", profiles=[PROFILE | {"shoe_size": "42"}])
    assert refusal(tmp_path / "undeclared") == [("/profiles.csv/shoe_size", "unknown_column")]


@pytest.mark.parametrize("form", FORMS)
def test_wrong_columns_are_refused(tmp_path, form):
    write(tmp_path / "more", form, events=[EVENT | {"colour": "red"}])
    assert refusal(tmp_path / "more") == [(f"/events.{form}/colour", "unknown_column")]
    if form != "ndjson":  # a line of JSON without a key is a bad row, not a bad file
        short = {k: v for k, v in EVENT.items() if k != "at"}
        write(tmp_path / "less", form, events=[short])
        assert refusal(tmp_path / "less") == [(f"/events.{form}/at", "missing_column")]


def test_a_column_of_a_type_that_cannot_be_read_is_refused(tmp_path):
    write(tmp_path, "csv", profiles=[PROFILE])
    pl.DataFrame([EVENT]).with_columns(value=pl.lit([1.0])).write_parquet(tmp_path / "events.parquet")
    assert refusal(tmp_path) == [("/events.parquet/value", "wrong_type")]


def test_naive_parquet_times_are_set_aside(tmp_path):
    write(tmp_path, "csv", profiles=[PROFILE])
    naive = pl.lit(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test
    pl.DataFrame([EVENT | {"value": 1.0, "count": 1}]).with_columns(at=naive).write_parquet(
        tmp_path / "events.parquet"
    )
    assert read(tmp_path).events.height == 0
    assert set_aside(tmp_path, "events") == [{"line": 1, "column": "at", "reason": "time_without_zone"}]


def test_a_parquet_time_that_no_clock_shows_is_set_aside_alone(tmp_path):
    write(tmp_path, "csv", profiles=[PROFILE])
    times = pl.Series([2**63 - 1, 1_767_225_600_000]).cast(pl.Datetime("ms", "UTC"))
    pl.DataFrame([EVENT | {"value": 1.0, "count": 1}] * 2).with_columns(at=times).write_parquet(
        tmp_path / "events.parquet"
    )
    assert read(tmp_path).events["at"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)]
    assert set_aside(tmp_path, "events") == [{"line": 1, "column": "at", "reason": "not_a_time"}]


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"timezone": "Mars/Olympus"}, "/schema.json/timezone", "unknown_timezone"),
        ({"currency": "yuan"}, "/schema.json/currency", "unknown_currency"),
        ({"profiles": []}, "/schema.json/profiles", "not_an_object"),
        ({"profiles": {"a b": {}}}, "/schema.json/profiles/a b", "column_name"),
        ({"profiles": {"user": {}}}, "/schema.json/profiles/user", "column_name"),
        ({"profiles": {"a": {"type": "blob"}}}, "/schema.json/profiles/a", "column_type"),
        (
            {"profiles": {"a": {"type": "float", "category": "magic", "roles": ["feature"]}}},
            "/schema.json/profiles/a",
            "column_use",
        ),
        (
            {"profiles": {"a": {"type": "float", "category": "declared", "roles": []}}},
            "/schema.json/profiles/a",
            "column_use",
        ),
    ],
)
def test_a_schema_that_cannot_be_meant_is_refused(tmp_path, change, pointer, code):
    write(tmp_path, "csv", schema=SCHEMA | change, events=[EVENT])
    assert refusal(tmp_path) == [(pointer, code)]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_schema_that_is_not_json_is_refused(tmp_path, text):
    write(tmp_path, "csv", events=[EVENT])
    (tmp_path / "schema.json").write_text(text)
    assert refusal(tmp_path)[0][0] == "/schema.json"


def test_a_file_beyond_the_bound_is_refused(tmp_path, monkeypatch):
    write(tmp_path, "csv", events=[EVENT])
    monkeypatch.setattr("scoring.behaviour_files.FILE_BYTES_MAX", 10)
    assert refusal(tmp_path) == [("/events.csv", "too_large")]


@pytest.mark.parametrize("form", FORMS)
def test_a_table_beyond_the_bound_is_refused(tmp_path, form, monkeypatch):
    write(tmp_path, form, events=[EVENT, EVENT])
    monkeypatch.setattr("scoring.behaviour_files.ROWS_MAX", 1)
    assert refusal(tmp_path) == [(f"/events.{form}", "too_many_rows")]


def test_profile_columns_may_be_named_in_chinese(tmp_path):
    schema = {"profiles": {"收入": {"type": "float", "category": "declared", "roles": ["feature"]}}}
    for form in FORMS:
        write(tmp_path / form, form, schema=schema, profiles=[{"user": "u1", "收入": "5"}])
        assert read(tmp_path / form).profiles["收入"].to_list() == [5.0]


def test_the_quarantine_is_made(tmp_path):
    write(tmp_path / "in", "csv", events=[EVENT])
    behaviour.read(tmp_path / "in", tmp_path / "deep" / "quarantine")
    assert Path(tmp_path / "deep" / "quarantine").is_dir()
