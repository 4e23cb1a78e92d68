"""Scores of a whole population, from files to files, against CatBoost's bare predict on the same rows in memory."""

import importlib
import importlib.util
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import catboost
import numpy as np

from benchmarks import processes
from compliance.vocabulary import Category
from scoring import manifest, training
from scoring.features import Feature, Matrix
from scoring.policy import Scale
from scoring.runs import plans, runners, shards
from scoring.runs.batch import Work, score_shard
from scoring.runs.plans import Plan, Shard
from scoring.runs.run import score
from scoring.runs.runners import Runner
from scoring.runs.shards import People, Stamp, Written
from scoring.scorer import Scorer
from scoring.training import Recipe

FEATURES = 120
REASONS = {
    Category.CREDIT_HISTORY: "CH-001",
    Category.DECLARED: "DE-001",
    Category.DEVICE_USAGE: "DU-001",
    Category.SHOPPING: "SH-001",
}
CATEGORIES = tuple(REASONS)
RECIPE = Recipe(trees=20, student_trees=280, depth=5, learning_rate=0.05, copies=1, folds=2, twins=2)
TREES = RECIPE.trees + RECIPE.student_trees
ROWS = 1 << 16
SHARDS = {"small": 16, "full": 763}
"""One million people, and fifty; ten where the disk has no room for so many."""
SHARDS_OF_A_SMALL_DISK, SHARD_BYTES = 153, 48 << 20
ROUNDS = 20
"""Shards that are scored in turns with the peer; the whole run after them tells what all of it takes."""
MEMORY_TARGET, RAY_TARGET = 1_500, 1.4
DATA = "random numbers of nobody: synthetic"


def run(size: str) -> dict[str, Any]:
    """Rows per second of processor time of both, in turns in one process; then a whole run, locally and on Ray."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = _model(folder / "models")
        whole, plan = folder / "whole", _plan(model, _many(size, folder))
        plan = _generate(whole, plan, Scorer.load(model))
        os.environ.update(runners.ONE_THREAD)  # as in a run: read when a process starts
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as worker:
            ours, peer = worker.submit(_in_turns, whole, plan, model).result()
        print(f"in turns: {ours:.0f} rows per CPU second, the peer {peer:.0f}", flush=True)
        told = _whole(whole, plan, model)
    return {
        "benchmark": "population_score",
        "ours": round(ours),
        "peer": round(peer),
        "ratio": round(ours / peer, 4),
        "unit": "rows per CPU second",
        "better": "higher",
        "target": 0.45,
        **told,
        "peak_mb_target": MEMORY_TARGET,
        "ray_to_local_target": RAY_TARGET,
        "peer_name": f"catboost {catboost.__version__} predict, Fortran float32 in memory, one thread",
        "shape": f"{len(plan.shards) * ROWS} rows, {FEATURES} features, {len(CATEGORIES)} categories, {TREES} "
        f"trees of depth {RECIPE.depth}; ours reads, checks, masks, predicts, calibrates, bands and writes",
        "size": size,
    }


def _model(folder: Path) -> Path:
    random = np.random.default_rng(1)
    n = 4_000
    values = np.asfortranarray(random.normal(size=(n, FEATURES)).astype(np.float32))
    defaulted = random.random(n) < 1 / (1 + np.exp(2 - values[:, :20].sum(axis=1) / 4))
    values[random.random(values.shape) < 0.1] = np.nan
    features = tuple(
        Feature(f"measure_{n}", category, "count", 30, 0, "random", REASONS[category], "count(*)")
        for n, category in enumerate(islice(cycle(CATEGORIES), FEATURES))
    )
    counts = dict.fromkeys(CATEGORIES, np.full(n, 60, np.int32))
    cutoffs = (datetime(2026, 1, 1, tzinfo=UTC),) * n
    matrix = Matrix(features, tuple(map(str, range(n))), cutoffs, values, counts, counts, "0" * 64)
    fit = np.arange(n) % 4 > 0
    artifact = training.train(
        matrix,
        defaulted,
        fit=fit,
        validate=~fit,
        seed=1,
        threads=1,
        scale=Scale.STANDARD,
        horizon_days=365,
        about={"data": DATA},
        recipe=RECIPE,
    )
    return training.save(artifact, folder)


def _many(size: str, folder: Path) -> int:
    has_room = shutil.disk_usage(folder).free > SHARDS[size] * SHARD_BYTES
    return SHARDS[size] if has_room else min(SHARDS[size], SHARDS_OF_A_SMALL_DISK)


def _plan(model: Path, many: int) -> Plan:
    stamp = Stamp(model.name, "0" * 64, "2026-01-01T00:00:00+00:00", DATA)
    return Plan(
        stamp, stamp.data_cutoff, tuple(Shard(number, ROWS, Written("", 0)) for number in range(many))
    )


def _generate(folder: Path, plan: Plan, scorer: Scorer) -> Plan:
    (folder / plans.FEATURES).mkdir(parents=True)
    made = []
    for shard in plan.shards:
        file = folder / plans.FEATURES / shards.name(shard.number)
        made.append(
            replace(shard, written=shards.write_features(file, plan.stamp, _people(shard.number, scorer)))
        )
    plan = replace(plan, shards=tuple(made))
    plans.write_plan(folder, plan)
    return plan


def _people(seed: int, scorer: Scorer) -> People:
    random = np.random.default_rng(seed)
    categories = len(scorer.categories)
    values = random.standard_normal((FEATURES, ROWS), np.float32).T
    empty = random.random((ROWS, categories)) < 0.1
    for n, category in enumerate(scorer.category_of):
        values[empty[:, category], n] = np.nan
    return People(
        high=np.sort(random.integers(0, 1 << 64, ROWS, np.uint64)),
        low=random.integers(0, 1 << 64, ROWS, np.uint64),
        masks=random.integers(1, 1 << categories, ROWS).astype(np.uint16),
        values=values,
        events=random.integers(0, 300, (ROWS, categories), np.int32),
        active_days=random.integers(0, 90, (ROWS, categories), np.int32),
    )


def _in_turns(whole: Path, plan: Plan, model: Path) -> tuple[float, float]:
    """Rows per second of processor time, ours and the peer's: medians over the rounds, the first left out."""
    scorer, booster = Scorer.load(model), catboost.CatBoost()
    booster.load_model(str(model / manifest.CATBOOST))
    points = whole / "turns.parquet"
    spent = np.empty((ROUNDS, 2))
    for round_ in range(ROUNDS):
        shard = plan.shards[round_ % len(plan.shards)]
        features = whole / plans.FEATURES / shards.name(shard.number)
        values = np.asfortranarray(_people(shard.number, scorer).values)
        started = time.process_time_ns()
        score_shard(Work(shard.number, features, shard.written, points, model, plan.stamp))
        turned = time.process_time_ns()
        booster.predict(values, prediction_type="RawFormulaVal", thread_count=1)
        spent[round_] = turned - started, time.process_time_ns() - turned
    points.unlink()
    ours, peer = ROWS * 1e9 / np.median(spent[1:], axis=0)
    return float(ours), float(peer)


def _whole(whole: Path, plan: Plan, model: Path) -> dict[str, Any]:
    """The whole run in as many processes as there are processors, and where Ray is installed the same as its tasks."""
    workers = os.cpu_count() or 1
    local, result = _measured(whole, plan, model, runners.locally(workers), workers)
    print(f"the whole run in {workers} processes: {local}", flush=True)
    told = {f"local_{name}": value for name, value in local.items()}
    if importlib.util.find_spec("ray"):
        importlib.import_module("ray")  # no part of either run
        ray, same = _measured(whole, plan, model, runners.on_ray("local", workers), workers)
        if same != result:
            raise RuntimeError("Ray's result is not byte for byte the local one")
        told |= {f"ray_{name}": value for name, value in ray.items()}
        told["ray_to_local"] = round(ray["us_cpu_per_row"] / local["us_cpu_per_row"], 3)
    return told


def _measured(
    whole: Path, plan: Plan, model: Path, runner: Runner, workers: int
) -> tuple[dict[str, float], str]:
    """What a run takes: a row's part from the difference to a run of few shards, and what is left is the start-up."""
    few = whole.with_name("few")
    few.mkdir()
    (few / plans.FEATURES).symlink_to(whole / plans.FEATURES)
    part = replace(plan, shards=plan.shards[:workers])
    plans.write_plan(few, part)
    with processes.watched() as start:
        score(few, model, runner, lambda _, __: None)
    shutil.rmtree(few)
    started = time.monotonic()
    with processes.watched() as all_of_it:
        result = score(whole, model, runner, lambda _, __: None)
    seconds = time.monotonic() - started
    shutil.rmtree(whole / plans.POINTS)
    (whole / plans.MANIFEST).unlink()
    more = (len(plan.shards) - workers) * ROWS
    each = (all_of_it.cpu_seconds - start.cpu_seconds) / more
    return {
        "seconds": round(seconds, 2),
        "us_cpu_per_row": round(each * 1e6, 3),
        "start_up_cpu_s": round(start.cpu_seconds - workers * ROWS * each, 2),
        "peak_mb": round(all_of_it.peak_bytes / 1e6),
    }, result.digest
