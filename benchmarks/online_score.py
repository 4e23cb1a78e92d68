"""One person's score with exact reasons: our table of leaves against CatBoost's predict and ShapValues."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import catboost
import numpy as np

from compliance.vocabulary import Category
from scoring import manifest, training
from scoring.features import Feature, Matrix
from scoring.policy import Scale
from scoring.scorer import Evidence, Scorer
from scoring.training import Recipe

FEATURES = 120
REASONS = {Category.DEVICE_USAGE: "DU-001", Category.SHOPPING: "SH-001"}
RECIPE = Recipe(trees=20, student_trees=280, depth=6, learning_rate=0.05, copies=1, folds=2, twins=2)
ROUNDS = {"small": 40, "full": 400}
ROWS_A_ROUND = 20
MOST_DIFFERENCE = 1e-9


def run(size: str) -> dict[str, Any]:
    """CPU microseconds per row of both, measured in turns in one process."""
    matrix, defaulted = _people()
    fit = np.arange(len(defaulted)) % 4 > 0
    artifact = training.train(
        matrix,
        defaulted,
        fit=fit,
        validate=~fit,
        seed=1,
        threads=1,
        scale=Scale.STANDARD,
        horizon_days=365,
        about={"data": "random numbers"},
        recipe=RECIPE,
    )
    with TemporaryDirectory() as scratch:
        folder = training.save(artifact, Path(scratch))
        model, booster = Scorer.load(folder), catboost.CatBoostClassifier()
        booster.load_model(str(folder / manifest.CATBOOST))
    _agree(model, booster, matrix)
    evidence = Evidence(dict.fromkeys(REASONS, 60), dict.fromkeys(REASONS, 30))
    shared = frozenset(REASONS)

    def whole_answer(row: np.ndarray) -> object:
        return model.evaluate(row, evidence, shared)

    ours, answer, peer = _in_turns(ROUNDS[size], matrix, model.raw, whole_answer, _peer(booster))
    return {
        "benchmark": "online_score",
        "ours": round(ours, 1),
        "peer": round(peer, 1),
        "ratio": round(ours / peer, 4),
        "unit": "us CPU per row",
        "better": "lower",
        "target": 0.05,
        "whole_answer": round(answer, 1),
        "whole_answer_ratio": round(answer / peer, 4),
        "peer_name": f"catboost {catboost.__version__} predict + ShapValues, one Fortran float32 row, one thread",
        "shape": f"{FEATURES} features, {booster.tree_count_} trees of depth {RECIPE.depth}",
        "size": size,
    }


def _people() -> tuple[Matrix, np.ndarray]:
    random = np.random.default_rng(1)
    n = 2_000
    values = np.asfortranarray(random.normal(size=(n, FEATURES)).astype(np.float32))
    defaulted = random.random(n) < 1 / (1 + np.exp(2 - values[:, :20].sum(axis=1) / 4))
    values[random.random(values.shape) < 0.1] = np.nan
    features = tuple(
        Feature(f"measure_{number}", category, "count", 30, 0, "random", REASONS[category], "count(*)")
        for number, category in enumerate(islice(cycle(REASONS), FEATURES))
    )
    counts = dict.fromkeys(REASONS, np.full(n, 60, np.int32))
    cutoffs = (datetime(2026, 1, 1, tzinfo=UTC),) * n
    users = tuple(f"user-{number}" for number in range(n))
    return Matrix(features, users, cutoffs, values, counts, counts, "0" * 64), defaulted


def _peer(booster: catboost.CatBoostClassifier) -> Callable[[np.ndarray], object]:
    def score_and_explain(row: np.ndarray) -> object:
        pool = catboost.Pool(np.asfortranarray(row[None, :]))
        raw = booster.predict(pool, prediction_type="RawFormulaVal", thread_count=1)
        return raw, booster.get_feature_importance(pool, type="ShapValues", thread_count=1)

    return score_and_explain


def _agree(model: Scorer, booster: catboost.CatBoostClassifier, matrix: Matrix) -> None:
    """What is faster must also be the same."""
    shap = booster.get_feature_importance(catboost.Pool(matrix.values[:200]), type="ShapValues")
    ours = np.array([model.raw(row)[1] for row in matrix.values[:200]])
    if np.abs(ours - shap[:, :-1]).max() > MOST_DIFFERENCE:
        raise RuntimeError("the contributions are not CatBoost's")


def _in_turns(rounds: int, matrix: Matrix, *calls: Callable[[np.ndarray], object]) -> list[float]:
    """Median over the rounds of the CPU microseconds per row of each call."""
    spent = np.empty((rounds, len(calls)))
    for number in range(rounds):
        rows = matrix.values[number * ROWS_A_ROUND % 1_900 :][:ROWS_A_ROUND]
        for which, call in enumerate(calls):
            started = time.process_time_ns()
            for row in rows:
                call(row)
            spent[number, which] = (time.process_time_ns() - started) / 1_000 / ROWS_A_ROUND
    return [float(median) for median in np.median(spent, axis=0)]
