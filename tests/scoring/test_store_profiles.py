"""What people stated comes in by files: kept once and never overwritten, counted only where shared, gone with its person."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import polars as pl
import pytest
from support import altered_models, brought, canaries, events, small_models, world
from support.brought import faults, ground_of, loaded

from api import loading, worker
from api.running import Standing
from compliance.act import open_act
from compliance.vocabulary import Category
from consent import copies, disputes, permits
from scoring import behaviour, features, manifest
from scoring.answers import corrections
from scoring.behaviour_files import BehaviourRefused
from scoring.scorer import unpack
from scoring.store import snapshot

NOW = datetime.now(UTC)
CUTOFF = NOW - timedelta(days=1)
DECLARED, CREDIT = Category.DECLARED, Category.CREDIT_HISTORY
PROFILES = {
    "level": ("float", "declared", ["feature"]),
    "job": ("category", "declared", ["feature"]),
    "limit": ("float", "credit_history", ["feature"]),
    "since": ("date", "credit_history", ["feature"]),
    "region": ("category", "declared", ["eligibility"]),
    "is_student": ("bool", "declared", ["eligibility"]),
    "sex": ("category", "declared", ["fairness"]),
    "religion": ("category", "declared", ["feature"]),
    "contacts": ("float", "social_graph", ["feature"]),
}
READ = {
    "declared_0": ("profile(level)", "as stated"),
    "declared_1": ('profile(job) = "Permanent"', "yes or no"),
    small_models.LATE: ("profile(limit)", "as stated"),
    "credit_history_1": ("profile(since)", "days"),
}
NOT_TAKEN = [
    (0, "sex", "role_not_taken"),
    (0, "religion", "forbidden_name"),
    (0, "contacts", "category_not_taken"),
]


def model():
    """The small model, whose inputs of two kinds of data are read of profiles."""

    def stated(whole):
        inputs = [
            replace(each, expression=READ[each.name][0], unit=READ[each.name][1], window_days=None)
            if each.name in READ
            else each
            for each in whole.inputs
        ]
        return replace(whole, inputs=tuple(inputs))

    return altered_models.with_manifest(small_models.trained(), stated)


@pytest.fixture
async def found(database, home):
    async with world.opened(database, home) as here:
        return Standing(here.settings, database)


def row(user, **said):
    right = {"level": "1.5", "job": "Permanent", "limit": "5000", "since": "2020-02-03", "sex": "x"}
    listed = {"region": "east", "is_student": "false", "religion": None, "contacts": None}
    return {"user": user, "known_at": None, **right, **listed, **said}


def write(folder, rows, form="csv"):
    folder.mkdir(parents=True, exist_ok=True)
    names = ["user", "known_at", *PROFILES]
    table = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
    getattr(table, f"write_{form}")(folder / f"profiles.{form}")
    told = {name: {"type": t, "category": c, "roles": r} for name, (t, c, r) in PROFILES.items()}
    (folder / "schema.json").write_text(json.dumps({"profiles": told}))
    return folder


def counted(said):
    assert said["not_taken"] == len(NOT_TAKEN)
    return tuple(said[name] for name in ("accepted", "duplicate", "late", "quarantined"))


async def known(found, count=1, bank=None, categories=world.ALL):
    """People whom the operator has brought; with a bank, of whom each lets it use some data."""
    async with ground_of(found):
        brought = await events.known(count)
        for user in brought.values() if bank else ():
            await world.granted(events.in_session(user), bank, categories=categories)
    return brought


@pytest.fixture
async def bank(found):
    async with ground_of(found):
        await world.put_model_in_use(model())
        return await world.a_bank()


async def taken(found):
    return await brought.taken(found, CUTOFF)


async def held(owner, user):
    return await owner.fetchrow("select * from scoring_feature where user_id = $1", user)


async def values(owner, user):
    """The features of the profile, by name."""
    vector = unpack((await held(owner, user))["vector"])
    names = [each.name for each in small_models.loaded().manifest.inputs]
    return {name: float(value) for name, value in zip(names, vector, strict=True) if name in READ}


def bad_rows(reference):
    later = (NOW + timedelta(days=2)).isoformat()
    return [
        (row("nobody"), "user", "unknown_user"),
        (row(""), "user", "missing"),
        (row(reference, known_at=later), "known_at", "in_future"),
        (row(reference, known_at="2026-01-01"), "known_at", "time_without_zone"),
        (row(reference, level="NaN"), "level", "not_finite"),
        (row(reference, level="1e13"), "level", "out_of_range"),
        (row(reference, level="x"), "level", "not_a_number"),
        (row(reference, job="x" * 201), "job", "too_long"),
        (row(reference, since="1899-01-01"), "since", "date_out_of_range"),
        (row(reference, is_student="perhaps"), "is_student", "not_a_boolean"),
        (row(reference, level="2.5"), "level", "other_value"),
    ]


@pytest.mark.parametrize("form", ["parquet", "ndjson", "csv"])
async def test_each_cell_is_kept_once_and_what_is_wrong_is_told_apart(found, owner, form, tmp_path, capsys):
    [reference] = await known(found)
    bad = bad_rows(reference)
    said = await loaded(found, write(tmp_path, [row(reference), *(each for each, _, _ in bad)], form), capsys)
    assert counted(said) == (6, 5, 0, len(bad))
    first = 3 if form == "csv" else 2
    assert faults(said) == NOT_TAKEN + [(first + n, c, r) for n, (_, c, r) in enumerate(bad)]
    kept = await owner.fetch("select name, type, said, category, known_at from scoring_statement order by 1")
    assert [tuple(each)[:4] for each in kept] == [
        ("is_student", "bool", "false", "declared"),
        ("job", "category", "Permanent", "declared"),
        ("level", "float", "1.5", "declared"),
        ("limit", "float", "5000.0", "credit_history"),
        ("region", "category", "east", "declared"),
        ("since", "date", "2020-02-03", "credit_history"),
    ]
    assert {each["known_at"] for each in kept} == {datetime(1970, 1, 1, tzinfo=UTC)}
    again = await loaded(found, tmp_path, capsys)
    assert counted(again) == (0, 11, 0, len(bad))


async def test_another_value_of_the_same_moment_is_set_aside_and_of_a_later_one_is_kept(
    found, owner, tmp_path, capsys
):
    [reference] = await known(found)
    await loaded(found, write(tmp_path, [row(reference)]), capsys)
    changed = row(reference, job="Temporary")
    said = await loaded(found, write(tmp_path, [changed]), capsys)
    assert (counted(said)[:2], faults(said)[3:]) == ((0, 5), [(2, "job", "other_value")])
    said = await loaded(found, write(tmp_path, [changed | {"known_at": "2026-01-01T00:00:00Z"}]), capsys)
    assert counted(said)[:3] == (6, 0, 0)
    jobs = await owner.fetch("select said from scoring_statement where name = 'job' order by known_at")
    assert [each["said"] for each in jobs] == ["Permanent", "Temporary"]


async def test_profiles_without_a_schema_or_with_a_strange_column_are_refused_as_a_whole(
    found, owner, tmp_path
):
    [reference] = await known(found)
    write(tmp_path, [row(reference)])
    (tmp_path / "profiles.csv").write_text("user,colour\nx,red\n")
    with pytest.raises(BehaviourRefused):
        await loading.load(found, str(tmp_path))
    (tmp_path / "schema.json").unlink()
    with pytest.raises(BehaviourRefused):
        await loading.load(found, str(tmp_path))
    assert await owner.fetchval("select count(*) from scoring_statement") == 0


async def test_profiles_and_events_of_a_folder_that_lies_elsewhere(found, tmp_path, capsys):
    [reference] = await known(found)
    folder = write(tmp_path, [row(reference)])
    event = {"user": [reference], "at": ["2026-01-01T00:00:00Z"], "category": ["shopping"], "name": ["order"]}
    pl.DataFrame(event).write_csv(folder / "events.csv")
    memory = fsspec.filesystem("memory")
    for name in ("profiles.csv", "schema.json", "events.csv"):
        memory.pipe(f"/elsewhere/{name}", (folder / name).read_bytes())
    said = await loaded(found, "memory:///elsewhere", capsys)
    memory.rm("/elsewhere", recursive=True)
    assert (said["files"], *counted(said)) == (2, 7, 0, 0, 0)


async def test_the_features_are_those_of_the_same_folder_as_a_research_set(
    found, bank, owner, tmp_path, capsys
):
    """To the bit, of whoever shares the kind of data; nothing of it of whoever does not."""
    sharing = await known(found, 2, bank)
    apart = await known(found, 1, bank, frozenset({Category.SHOPPING, CREDIT}))
    one, two = sharing
    rows = [row(one), row(two, job="Odd", level=None, limit="0.1", since=None), row(*apart)]
    folder = write(tmp_path / "in", rows)
    await loaded(found, folder, capsys)
    assert (await taken(found)).people == 3
    read = behaviour.read(folder, tmp_path / "quarantine")
    asked = pl.DataFrame({"user": [one, two, *apart], "cutoff": [CUTOFF] * 3})
    inputs = [
        each
        for each in features.as_features(manifest.decode(model().files[manifest.MANIFEST]).inputs)
        if each.name in READ
    ]
    research = features.compute(read, asked, inputs)
    names = [each.name for each in research.features]
    for number, user in enumerate((*sharing.values(), *apart.values())):
        expected = dict(zip(names, research.values[number].tolist(), strict=True))
        if user in apart.values():
            expected |= dict.fromkeys(("declared_0", "declared_1"), np.nan)
        np.testing.assert_array_equal(
            [(await values(owner, user))[n] for n in names], [expected[n] for n in names]
        )
    [alone] = apart.values()
    place = sorted(small_models.REASONS).index(DECLARED)
    assert [(await held(owner, user))["events"][place] for user in (*sharing.values(), alone)] == [2, 1, 0]


async def test_the_newest_that_was_known_before_the_cutoff_counts(found, bank, owner, tmp_path, capsys):
    [(reference, user)] = (await known(found, 1, bank)).items()
    moments = [(None, "1"), (CUTOFF - timedelta(hours=1), "2"), (CUTOFF + timedelta(hours=1), "3")]
    rows = [row(reference, known_at=at and at.isoformat(), level=level) for at, level in moments[::-1]]
    await loaded(found, write(tmp_path, rows), capsys)
    await taken(found)
    assert (await values(owner, user))["declared_0"] == 2
    said = await loaded(
        found,
        write(tmp_path, [row(reference, known_at=(CUTOFF - timedelta(minutes=1)).isoformat(), level="4")]),
        capsys,
    )
    assert counted(said)[2] == 6
    assert (await values(owner, user))["declared_0"] == 2
    await taken(found)
    assert (await values(owner, user))["declared_0"] == 4


async def test_who_consents_after_the_snapshot_gets_features_of_what_they_stated(
    found, bank, owner, tmp_path, capsys
):
    [(reference, user)] = (await known(found)).items()
    await loaded(found, write(tmp_path, [row(reference)]), capsys)
    assert (await taken(found)).people == 0
    async with ground_of(found):
        await world.granted(events.in_session(user), bank)
        assert await worker.prepare_features()
    assert (await values(owner, user))["declared_0"] == 1.5


async def found_wrong(found, user, category=DECLARED):
    async with ground_of(found):
        async with open_act(events.in_session(user), None) as act:
            raised = await disputes.raise_category(act, permits.own_permit(act), category, "Not mine.")
        async with open_act(world.OFFICER, None) as act:
            looks = permits.staff_permit(act, "the person disputes it")
            await corrections.answer_dispute(act, looks, raised.id, upheld=True, text="You are right.")


async def test_what_was_stated_during_a_snapshot_is_late_for_every_bucket_alike(
    found, bank, owner, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(snapshot, "ROWS_AT_ONCE", 1)
    brought = await known(found, 6, bank)
    await loaded(found, write(tmp_path, [row(each) for each in brought]), capsys)
    async with ground_of(found):
        done = await events.advanced(await events.begun(CUTOFF))
    assert not done.is_finished
    later = [row(each, known_at="2026-01-01T00:00:00Z", level="9.5") for each in brought]
    assert (await loaded(found, write(tmp_path, later), capsys))["late"]
    async with ground_of(found):
        while not done.is_finished:
            done = await events.advanced(done)
    assert {(await values(owner, user))["declared_0"] for user in brought.values()} == {1.5}
    await taken(found)
    assert {(await values(owner, user))["declared_0"] for user in brought.values()} == {9.5}


async def test_what_was_found_wrong_is_out_until_something_right_comes_in(
    found, bank, owner, tmp_path, capsys
):
    [(reference, user)] = (await known(found, 1, bank)).items()
    await loaded(found, write(tmp_path, [row(reference)]), capsys)
    await taken(found)
    await found_wrong(found, user)
    await taken(found)
    after = await values(owner, user)
    assert np.isnan(after["declared_0"])
    assert after[small_models.LATE] == 5000
    assert json.loads((await held(owner, user))["attributes"]) == {}
    since = (CUTOFF - timedelta(minutes=1)).isoformat()
    right = row(reference, known_at=since, level="7", job=None, region="west", is_student=None)
    await loaded(found, write(tmp_path, [right]), capsys)
    await taken(found)
    after = await values(owner, user)
    assert after["declared_0"] == 7
    assert np.isnan(after["declared_1"])
    assert json.loads((await held(owner, user))["attributes"]) == {"region": "west"}
    assert (await world.kinds(owner, person=user)).count("correction_applied") == 1


async def test_what_lists_ask_by_is_what_was_stated_and_shared(found, bank, owner, tmp_path, capsys):
    one, two, three = (await known(found, 3, bank)).items()
    apart = await known(found, 1, bank, frozenset({CREDIT}))
    rows = [row(one[0]), row(two[0], region=None), row(three[0], region=None, is_student=None), row(*apart)]
    await loaded(found, write(tmp_path, rows), capsys)
    await taken(found)
    await owner.execute(
        """update scoring_feature set attributes = '{"region": "north", "income_band": "x"}'"""
    )
    await taken(found)
    told = [
        json.loads((await held(owner, user))["attributes"])
        for user in (one[1], two[1], three[1], *apart.values())
    ]
    assert told == [
        {"region": "east", "income_band": "x", "is_student": False},
        {"region": "north", "income_band": "x", "is_student": False},
        {"region": "north", "income_band": "x"},
        {"income_band": "x"},
    ]


async def test_it_is_in_the_copy_and_goes_in_the_act_of_the_deletion(found, owner, home, tmp_path, capsys):
    (reference, user), (other, _) = (await known(found, 2)).items()
    word = "canarystated0123"
    rows = [row(reference, job=word, level=None), row(other)]
    await loaded(found, write(tmp_path, rows), capsys)
    person = events.in_session(user)
    async with ground_of(found):
        async with open_act(person, None) as act:
            copy = await copies.make(act, permits.own_permit(act))
        told = {each["name"]: each for each in copy.parts["statements"]}
        assert set(told) == {"job", "limit", "since", "region", "is_student"}
        assert told["job"]["said"] == word
        assert not {"user_id", "bucket"} & set(told["job"])
        assert await canaries.in_rows(owner, [word])
        await world.deleted(person)
        assert await canaries.in_rows(owner, [word]) == set()
    assert await owner.fetchval("select count(*) from scoring_statement") == 6
    said = await loaded(found, tmp_path, capsys)
    assert faults(said)[3:] == [(2, "user", "unknown_user")]
