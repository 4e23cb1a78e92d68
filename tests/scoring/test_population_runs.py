"""A population run says to the bit what each person's own call says, survives a kill, and trusts no file."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support import small_models
from support.populations import SHARDS, planned, some

from compliance import canonical
from scoring import manifest, policy, training
from scoring.runs import keeping, leaving, plans, runners, shards
from scoring.runs.batch import score_shard
from scoring.runs.faults import RunBusy, ShardUnusable
from scoring.runs.plans import Scored
from scoring.runs.shards import Written

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A whole run, made and scored once; tests that change it take a copy."""
    population = planned(tmp_path_factory.mktemp("once"), empty=3)
    population.scored()
    return population


@pytest.fixture
def scored(once, tmp_path):
    folder = tmp_path / "all" / "bank" / "run"
    shutil.copytree(once.folder, folder)
    return replace(once, folder=folder)


def points_of(population, number):
    told = plans.manifest(population.folder).shards[number]
    return shards.read_points(population.file(plans.POINTS, number), population.plan.stamp, told.digest)


def spoil(file, at):
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_every_answer_is_the_online_scorers(once):
    compared, unanswered = 0, 0
    for number in range(SHARDS):
        table, rows = points_of(once, number), once.rows_of(number)
        assert table.select("user_high", "user_low", "mask").rows() == [
            (*shards.halves(once.users[row]), int(once.people.masks[row])) for row in rows
        ]
        for row, told in zip(rows, table.iter_rows(named=True), strict=True):
            online = once.asked_online(row)
            compared, unanswered = compared + 1, unanswered + (online is None)
            if online is None:
                assert (told["points"], told["band"], told["log_odds"]) == (None, None, None)
            else:
                assert (told["points"], told["band"]) == (online.points, online.band)
                assert policy.probability(told["log_odds"]) == online.probability
    assert compared == len(once.users)
    assert 50 < unanswered < compared - 50


def test_log_odds_are_the_online_scorers_to_the_last_bit(once):
    scorer, people = small_models.loaded(), once.people
    shared = (people.masks[:, None] >> np.arange(len(scorer.categories)) & 1).astype(bool)
    tables = (
        {c: table[:, n] for n, c in enumerate(scorer.categories)}
        for table in (people.events, people.active_days)
    )
    online = scorer.evaluate_many(people.values, *tables, shared)
    for number in range(SHARDS):
        table, rows = points_of(once, number), once.rows_of(number)
        expected = np.where(online.points[rows] == 0, np.nan, online.log_odds[rows])
        assert table["log_odds"].fill_null(np.nan).to_numpy().tobytes() == expected.tobytes()


def test_what_is_not_shared_changes_no_byte(once, tmp_path):
    """Everything behind the mask is turned upside down; the points are the same file."""
    rows = once.rows_of(0)
    part = some(once.people, rows)
    scorer = small_models.loaded()
    hidden = ~(part.masks[:, None] >> np.arange(len(scorer.categories)) & 1).astype(bool)
    assert hidden.any()
    other = replace(
        part,
        values=np.where(hidden[:, scorer.category_of], np.float32(-7), part.values),
        events=np.where(hidden, part.events + 1_000, part.events),
        active_days=np.where(hidden, 0, part.active_days),
    )
    written = shards.write_features(tmp_path / "other", once.plan.stamp, other)
    again = score_shard(once.work(features=tmp_path / "other", written=written, points=tmp_path / "points"))
    assert again.digest == plans.manifest(once.folder).shards[0].digest


def test_an_empty_shard_has_no_points(once):
    told = plans.manifest(once.folder).shards[3]
    assert (told.rows, told.answered) == (0, 0)
    assert points_of(once, 3).height == 0
    assert points_of(once, 3).schema == shards.POINTS


def test_files_are_for_nobody_else(once):
    for file in [*once.folder.rglob("*.parquet"), *once.folder.glob("*.json")]:
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert (once.folder / plans.POINTS).stat().st_mode & 0o777 == 0o700


def test_a_second_run_computes_nothing(scored):
    def nobody(works):
        assert list(works) == []
        return iter(())

    before = scored.bytes()
    scored.scored(nobody)
    assert scored.bytes() == before


@pytest.mark.parametrize("at", [0, 1_000, -1_000, -1])
def test_damaged_points_are_computed_again_and_no_others(scored, at):
    before, done = scored.bytes(), []
    spoil(scored.file(plans.POINTS, 1), at)
    scored.scored(lambda works: map(score_shard, noted(works, done)))
    assert [work.number for work in done] == [1]
    assert scored.bytes() == before


def noted(works, done):
    for work in works:
        done.append(work)
        yield work


def test_foreign_points_are_computed_again(scored):
    before, done = scored.bytes(), []
    shutil.copy(scored.file(plans.POINTS, 0), scored.file(plans.POINTS, 2))
    scored.file(plans.POINTS, 4).unlink()
    scored.scored(lambda works: map(score_shard, noted(works, done)))
    assert [work.number for work in done] == [2, 4]
    assert scored.bytes() == before


def test_points_of_other_features_are_computed_again(scored):
    plan, done = scored.plan, []
    part = some(scored.people, scored.rows_of(1))
    written = shards.write_features(
        scored.file(plans.FEATURES, 1), plan.stamp, replace(part, values=-part.values)
    )
    changed = tuple(replace(each, written=written) if each.number == 1 else each for each in plan.shards)
    plans.write_plan(scored.folder, replace(plan, shards=changed))
    before = points_of(scored, 1)
    scored.scored(lambda works: map(score_shard, noted(works, done)))
    assert [work.number for work in done] == [1]
    assert not points_of(scored, 1).equals(before)


@pytest.mark.parametrize("content", [b"", b"{", b'{"stamp":1}', b"\xff\xfe"])
def test_without_a_manifest_that_can_be_read_nothing_counts(scored, content):
    before, done = scored.bytes(), []
    (scored.folder / plans.MANIFEST).write_bytes(content)
    scored.scored(lambda works: map(score_shard, noted(works, done)))
    assert len(done) == SHARDS
    assert scored.bytes() == before


def test_a_journal_that_was_cut_off_counts_as_far_as_it_goes(scored):
    before, done = scored.bytes(), []
    told = plans.manifest(scored.folder).shards
    (scored.folder / plans.MANIFEST).unlink()
    lines = [canonical.canonical(asdict(each)) for each in told]
    (scored.folder / plans.JOURNAL).write_bytes(b"\n".join(lines[:3]) + b"\n" + lines[3][:40])
    scored.scored(lambda works: map(score_shard, noted(works, done)))
    assert [work.number for work in done] == [3, 4]
    assert scored.bytes() == before
    assert not (scored.folder / plans.JOURNAL).exists()


def test_killed_and_called_again_it_ends_in_the_same_bytes(once, tmp_path):
    population = planned(tmp_path, empty=3)
    rows = str(len(population.users) // 3)
    command = [sys.executable, "-m", "support.populations", population.folder, population.model, rows]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert its_workers_die(process.pid)
    journal = plans.journal(population.folder)
    assert 0 < len(journal) < SHARDS
    assert plans.manifest(population.folder) is None
    done = []
    population.scored(lambda works: map(score_shard, noted(works, done)))
    assert len(done) == SHARDS - len(journal)
    assert population.bytes() == once.bytes()


def its_workers_die(group):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("at", [0, 4, 10_000, -10_000, -1])
def test_one_changed_byte_of_features_is_found(scored, at):
    spoil(scored.file(plans.FEATURES, 1), at)
    scored.file(plans.POINTS, 1).unlink()
    with pytest.raises(ShardUnusable, match=r"00001\.parquet is damaged"):
        scored.scored()
    assert not scored.file(plans.POINTS, 1).exists()


def test_features_that_are_missing_are_told(scored):
    with pytest.raises(ShardUnusable, match="is missing"):
        score_shard(scored.work(features=scored.folder / "none"))


@pytest.mark.parametrize("name", ["permit", "data_cutoff", "data"])
def test_features_of_another_permit_or_moment_are_refused(scored, name):
    foreign = replace(scored.plan.stamp, **{name: "another"})
    with pytest.raises(ShardUnusable, match="another model, permit or moment"):
        score_shard(scored.work(stamp=foreign))


def test_another_model_is_refused(scored, tmp_path):
    matrix, defaulted = small_models.people(seed=2)
    other = training.save(small_models.train(matrix, defaulted), tmp_path / "models")
    with pytest.raises(ShardUnusable, match="the run is of model"):
        score_shard(scored.work(model=other))


def test_an_altered_model_is_refused(scored, tmp_path):
    model = tmp_path / "models" / scored.model.name
    shutil.copytree(scored.model, model)
    spoil(model / manifest.CATBOOST, -20)
    with pytest.raises(manifest.ModelAltered):
        score_shard(scored.work(model=model))


def test_a_mask_of_more_than_the_models_categories_is_refused(scored, tmp_path):
    part = some(scored.people, scored.rows_of(0))
    part.masks[7] |= 1 << len(small_models.loaded().categories)
    written = shards.write_features(tmp_path / "wide", scored.plan.stamp, part)
    with pytest.raises(ShardUnusable, match="more than the model's 4 categories"):
        score_shard(scored.work(features=tmp_path / "wide", written=written))


@pytest.mark.parametrize("wrong", ["fewer inputs", "a null", "doubles"])
def test_features_of_another_shape_are_refused(scored, tmp_path, wrong):
    table = pl.read_parquet(scored.file(plans.FEATURES))
    changed = {
        "fewer inputs": table.drop("value_8"),
        "a null": table.with_columns(pl.lit(None, pl.Float32).alias("value_0")),
        "doubles": table.cast({"value_0": pl.Float64}),
    }[wrong]
    file = tmp_path / "odd"
    changed.write_parquet(file, metadata=asdict(scored.plan.stamp))
    written = Written("", zlib.crc32(file.read_bytes()))
    with pytest.raises(ShardUnusable):
        score_shard(scored.work(features=file, written=written))


def test_nobody_works_on_a_run_twice_at_once(scored):
    with plans.alone(scored.folder), pytest.raises(RunBusy):
        scored.scored()
    with plans.alone(scored.folder), pytest.raises(RunBusy):
        leaving.forget(scored.folder, scored.users[0])


def holds(folder, user):
    """Whether any byte of a run is of this user: ids are written as they are."""
    halves = [half.to_bytes(8, "little") for half in shards.halves(user)]
    return any(half in file.read_bytes() for file in folder.rglob("*.parquet*") for half in halves)


@pytest.mark.parametrize("finished", [True, False])
def test_somebody_forgotten_is_in_no_file_and_nobody_else_notices(scored, finished):
    before = {number: points_of(scored, number) for number in range(SHARDS)}
    if not finished:
        (scored.folder / plans.MANIFEST).unlink()
    user = scored.users[10]
    high, low = shards.halves(user)
    assert holds(scored.folder, user)
    keeping.forget(scored.folder.parent.parent, user)
    assert not holds(scored.folder, user)
    scored.scored()
    assert not holds(scored.folder, user)
    for number, table in before.items():
        others = table.filter((pl.col("user_high") != high) | (pl.col("user_low") != low))
        assert points_of(scored, number).equals(others)
    told = plans.manifest(scored.folder)
    assert told.rows == len(scored.users) - 2 == sum(shard.rows for shard in plans.plan(scored.folder).shards)
    whole = scored.bytes()
    keeping.forget(scored.folder.parent.parent, user)
    assert scored.bytes() == whole


@pytest.mark.parametrize("kind", [plans.FEATURES, plans.POINTS])
def test_where_a_shard_is_damaged_forgetting_takes_the_whole_run(scored, kind):
    user = scored.users[10]
    spoil(scored.file(kind, shards.place(user, SHARDS)), 2_000)
    leaving.forget(scored.folder, user)
    assert not scored.folder.exists()


def test_forgetting_needs_no_features_any_more(scored):
    shutil.rmtree(scored.folder / plans.FEATURES)
    leaving.forget(scored.folder, scored.users[10])
    assert not holds(scored.folder, scored.users[10])
    assert plans.manifest(scored.folder).rows == len(scored.users) - 2


def others(tables, *users):
    """The rows of everybody else."""
    gone = pl.DataFrame([shards.halves(user) for user in users], schema=shards.USER, orient="row")
    return {
        number: table.join(gone, on=[*shards.USER], how="anti", maintain_order="left")
        for number, table in tables.items()
    }


def test_what_a_killed_writer_left_goes_too(scored):
    user = scored.users[10]
    for kind in (plans.FEATURES, plans.POINTS):
        file = scored.file(kind, shards.place(user, SHARDS))
        shutil.copy(file, file.with_name(f".{file.name}.4711"))
    keeping.forget(scored.folder.parent.parent, user)
    assert not holds(scored.folder, user)


def test_a_run_that_is_finished_meanwhile_still_forgets(scored, monkeypatch):
    user, whole = scored.users[10], shards.is_whole
    finishing = threading.Thread(target=keeping.finish, args=[scored.folder])

    def meanwhile(file, digest):
        found = whole(file, digest)
        if not finishing.ident:
            finishing.start()
            finishing.join(0.3)
        return found

    monkeypatch.setattr(shards, "is_whole", meanwhile)
    keeping.forget(scored.folder.parent.parent, user)
    finishing.join(10)
    assert not holds(scored.folder, user)
    assert not (scored.folder / plans.FEATURES).exists()


def test_a_file_that_is_missing_from_a_run_that_is_there_is_not_taken_for_forgotten(scored, monkeypatch):
    def gone(*_):
        raise FileNotFoundError

    monkeypatch.setattr(shards, "reduce", gone)
    with pytest.raises(FileNotFoundError):
        keeping.forget(scored.folder.parent.parent, scored.users[10])


def test_a_busy_run_keeps_nobody_in_the_others(scored):
    busy = scored.folder.with_name("a_run")
    shutil.copytree(scored.folder, busy)
    with plans.alone(busy), pytest.raises(RunBusy):
        keeping.forget(scored.folder.parent.parent, scored.users[10])
    assert not holds(scored.folder, scored.users[10])


def test_who_asks_while_a_run_is_scored_leaves_between_two_shards(scored):
    before = {number: points_of(scored, number) for number in range(SHARDS)}
    shutil.rmtree(scored.folder / plans.POINTS)
    (scored.folder / plans.MANIFEST).unlink()
    first, last = (
        next(u for u in scored.users if shards.place(u, SHARDS) == number) for number in (0, SHARDS - 1)
    )
    everything, passes, done = scored.folder.parent.parent, [], []

    def runner(works):
        passes.append(len(done))
        for work in works:
            yield score_shard(work)
            done.append(work.number)
            if len(done) == 1:
                for user in (first, last):
                    with pytest.raises(RunBusy):
                        keeping.forget(everything, user)
            if len(passes) == 2:
                for user in (first, last):
                    keeping.forget(everything, user)  # nothing waits for the end of the run

    scored.scored(runner)
    assert passes == [0, 1]
    assert done == [0, 0, 1, 2, 3, 4]
    assert {number: points_of(scored, number).rows() for number in range(SHARDS)} == {
        number: table.rows() for number, table in others(before, first, last).items()
    }
    assert not holds(scored.folder, first)
    assert not holds(scored.folder, last)
    assert not [file for file in scored.folder.rglob("*") if file.name in {str(first), str(last)}]


@pytest.mark.parametrize("state", ["finished", "scored in part", "planned"])
def test_only_who_is_allowed_stays_with_the_same_categories(scored, state):
    before = {number: points_of(scored, number) for number in range(SHARDS)}
    if state != "finished":
        (scored.folder / plans.MANIFEST).unlink()
    if state == "scored in part":
        lines = [canonical.canonical(asdict(each)) for each in once_told(before, scored)]
        (scored.folder / plans.JOURNAL).write_bytes(b"\n".join(lines[:2]))
    everybody = pl.concat([table.select(shards.KEYS) for table in before.values()])
    gone, changed = scored.users[10], scored.users[30]
    high, low = shards.halves(changed)
    allowed = others({0: everybody}, gone)[0].with_columns(
        pl.when((pl.col("user_high") == high) & (pl.col("user_low") == low))
        .then(pl.lit(0, pl.UInt16))
        .otherwise("mask")
        .alias("mask")
    )
    leaving.keep_only(scored.folder, allowed, patient=False)
    assert not holds(scored.folder, gone)
    assert not holds(scored.folder, changed)
    scored.scored()
    assert {number: points_of(scored, number).rows() for number in range(SHARDS)} == {
        number: table.rows() for number, table in others(before, gone, changed).items()
    }


def once_told(tables, population):
    """What the journal said of these points."""
    return [
        Scored(
            number,
            table.height,
            table["points"].count(),
            population.plan.shards[number].written.digest,
            manifest.sha256(population.file(plans.POINTS, number).read_bytes()),
        )
        for number, table in tables.items()
    ]


@pytest.mark.check
def test_on_ray_the_result_is_the_same_file_for_file(once, tmp_path):
    population = planned(tmp_path, empty=3)
    population.scored(runners.on_ray("local", 2))
    assert population.bytes() == once.bytes()
