"""A small model of random people, trained once for a whole run of tests."""

from datetime import UTC, datetime
from functools import cache

import numpy as np

from compliance.vocabulary import Category
from scoring import deciles, manifest, training, trees
from scoring.answers import hints as answers
from scoring.answers.hints import Hint
from scoring.features import Feature, Matrix
from scoring.policy import Scale
from scoring.scorer import Evidence, Scorer
from scoring.training import Artifact, Recipe

RECIPE = Recipe(trees=40, student_trees=30, depth=3, learning_rate=0.1, copies=3, folds=2, twins=6)
LATE = "late_count_30d"
"""What the feature of CH-001 is called: hints are told of measures that the public catalogue has."""
REASONS = {
    Category.CREDIT_HISTORY: ("CH-001", "CH-003"),
    Category.DECLARED: ("DE-001", "DE-002"),
    Category.DEVICE_USAGE: ("DU-001", "DU-003"),
    Category.SHOPPING: ("SH-001", "SH-003"),
}
PEOPLE, SEED = 2_000, 7


def people(*, seed: int = SEED, signal: float = 1.0) -> tuple[Matrix, np.ndarray]:
    """Two features a category and one that is always the same; a fifth of the people lack each category."""
    random = np.random.default_rng(seed)
    latent = random.normal(size=PEOPLE)
    features, columns, events, active_days = [], [], {}, {}
    for category, reasons in REASONS.items():
        has = random.random(PEOPLE) < 0.8
        events[category] = np.where(has, random.integers(20, 90, PEOPLE), 0).astype(np.int32)
        active_days[category] = np.where(has, random.integers(5, 40, PEOPLE), 0).astype(np.int32)
        for number, reason in enumerate(reasons):
            name = LATE if reason == "CH-001" else f"{category}_{number}"
            features.append(Feature(name, category, "count", 30, 1 - number, "", reason, "count(*)"))
            noisy = signal * latent + random.normal(size=PEOPLE)
            columns.append(np.where(has & (random.random(PEOPLE) < 0.9), noisy, np.nan))
    features.append(Feature("constant", Category.SHOPPING, "count", 30, 0, "always 1", "SH-003", "count(*)"))
    columns.append(np.where(events[Category.SHOPPING] > 0, 1.0, np.nan))
    values = np.asfortranarray(np.array(columns, np.float32).T)
    defaulted = random.random(PEOPLE) < 1 / (1 + np.exp(1.2 - 1.3 * latent))
    cutoffs = (datetime(2026, 1, 1, tzinfo=UTC),) * PEOPLE
    users = tuple(f"user-{number}" for number in range(PEOPLE))
    return Matrix(tuple(features), users, cutoffs, values, events, active_days, "0" * 64), defaulted


def split() -> tuple[np.ndarray, np.ndarray]:
    fit = np.arange(PEOPLE) < PEOPLE * 2 // 3
    return fit, ~fit


def train(matrix: Matrix, defaulted: np.ndarray, **changed: object) -> Artifact:
    """One of the random people becomes the model's example: all of them are invented."""
    fit, validate = split()
    settings = {
        "fit": fit,
        "validate": validate,
        "seed": 7,
        "threads": 2,
        "scale": Scale.STANDARD,
        "horizon_days": 365,
        "about": {"data": "random"},
        "recipe": RECIPE,
        "invented": matrix,
    }
    return training.train(matrix, defaulted, **(settings | changed))


@cache
def trained() -> Artifact:
    return train(*people())


def loaded() -> Scorer:
    artifact = trained()
    stated = manifest.decode(artifact.files[manifest.MANIFEST])
    return Scorer(artifact.digest, stated, trees.read(artifact.files[manifest.TREES]))


def evidence(matrix: Matrix, row: int) -> Evidence:
    return Evidence(
        {category: int(counts[row]) for category, counts in matrix.events.items()},
        {category: int(counts[row]) for category, counts in matrix.active_days.items()},
    )


def hints(row: int) -> tuple[Hint, ...]:
    """What would have helped this person, had they shared everything."""
    matrix, _ = people()
    spread = deciles.read(trained().files[manifest.DECILES])
    shared = frozenset(REASONS)
    return answers.hints(loaded(), spread, matrix.values[row], evidence(matrix, row), shared)
