"""What hiding costs: the one model against one that was trained on each set of categories alone.

On invented people with a known truth; nothing measured on them is an accuracy. Each set is shown of everybody whom it
can answer; ours learnt with categories hidden at random, the others from people who show that set, all else alike.
"""

from collections.abc import Iterator
from dataclasses import replace

import catboost
import numpy as np
from numpy.typing import NDArray

from benchmarks.validation import gates, invented
from benchmarks.validation.gates import Gate
from scoring import boosting, evaluation, lessons, scorer
from scoring.boosting import Way
from scoring.evaluation import Flags, Floats
from scoring.lessons import Lesson, Rows

PEOPLE = {"small": 20_000, "full": 100_000}
SEEDS = {"small": 1, "full": 5}
FIT_SHARE, INNER_FOLDS = 0.55, 5
LARGE = 20_000
MOST_LOST_WHOLE, MOST_LOST_OF_A_SET = 0.005, 0.01
DRAWS = 100


def run(size: str) -> Iterator[Gate]:
    """On full data not lower than a model without hiding, for every set not lower than one of its own."""
    matrix, defaulted = invented.people(PEOPLE[size])
    lesson = lessons.prepare(matrix, defaulted)
    tried: dict[str, list[tuple[Rows, Floats, Floats]]] = {}
    for seed in range(SEEDS[size]):
        for name, rows, ours, alone in _tried(lesson, seed):
            tried.setdefault(name, []).append((rows, ours, alone))
        print(f"seed {seed} done", flush=True)
    for name, tries in tried.items():
        yield _not_lower(name, tries, defaulted)


def _tried(lesson: Lesson, seed: int) -> Iterator[tuple[str, Rows, Floats, Floats]]:
    """For each set of categories: rows nobody learnt from, and what both models say of them."""
    split = np.random.default_rng(seed).random(lesson.user_of.max() + 1)[lesson.user_of]
    carried = scorer.may_carry(lesson.categories, lesson.enough)
    fitted, held = (
        np.flatnonzero(carried & (split < FIT_SHARE)),
        np.flatnonzero(carried & (split >= FIT_SHARE)),
    )
    ours = _grown(lesson, fitted, boosting.recipe_for(len(fitted)).copies, seed)
    whole = np.ones(len(lesson.categories), np.bool_)
    unmasked = _grown(lesson, fitted, 1, seed)
    yield (
        "everything, beside no hiding",
        held,
        _said(ours, lesson, held, whole),
        _said(unmasked, lesson, held, whole),
    )
    for used, flags in lessons.subsets(lesson).items():
        part = _only(lesson, flags)
        own = _grown(part, fitted[_some(part, fitted)], 1, seed)
        rows = held[_some(part, held)]
        yield "+".join(sorted(used)), rows, _said(ours, lesson, rows, flags), _said(own, part, rows, flags)


def _some(part: Lesson, rows: Rows) -> Flags:
    return scorer.may_carry(part.categories, part.enough[rows])


def _only(lesson: Lesson, shown: Flags) -> Lesson:
    """The same people with one set of categories and nothing else."""
    return replace(lesson, enough=lesson.enough & shown)


def _grown(lesson: Lesson, rows: Rows, copies: int, seed: int) -> catboost.CatBoostClassifier:
    """As many trees as help a fifth of these people whom the model has not seen."""
    way = Way(replace(boosting.recipe_for(len(rows)), copies=copies), seed, 2, lambda _: None)
    watched = np.random.default_rng(seed).integers(INNER_FOLDS, size=len(rows)) == 0
    teacher = boosting.boost(lesson, rows[~watched], way, rows[watched])
    return boosting.student(lesson, rows[~watched], teacher, way) if copies > 1 else teacher


def _said(booster: catboost.CatBoostClassifier, lesson: Lesson, rows: Rows, shown: Flags) -> Floats:
    counted = lesson.enough[rows] & shown
    values = np.asfortranarray(lessons.shown(lesson, rows, counted))
    return np.asarray(booster.predict(values, prediction_type="RawFormulaVal"), np.float64)


def _not_lower(name: str, tries: list[tuple[Rows, Floats, Floats]], bad: NDArray[np.bool_]) -> Gate:
    """The mean difference over seeds, with an interval over people drawn again, the same for both models."""
    differences = [np.mean([_difference(rows, ours, alone, bad) for rows, ours, alone in tries])]
    random = np.random.default_rng(1)
    for _ in range(DRAWS):
        drawn = []
        for rows, ours, alone in tries:
            again = random.integers(len(rows), size=len(rows))
            drawn.append(_difference(rows[again], ours[again], alone[again], bad))
        differences.append(np.mean(drawn))
    low, high = np.quantile(differences[1:], [0.025, 0.975])
    most = MOST_LOST_WHOLE if "beside" in name else MOST_LOST_OF_A_SET
    n, found = min(len(rows) for rows, _, _ in tries), float(differences[0])
    reached = found >= -most if n >= LARGE else high >= -most
    rule = f">= -{most}" if n >= LARGE else f"the interval reaches -{most}"
    return gates.figure(
        f"AUC less that of one's own model, {name}",
        found,
        (low, high),
        n,
        rule=rule,
        passes=lambda _: reached,
    )


def _difference(rows: Rows, ours: Floats, alone: Floats, bad: NDArray[np.bool_]) -> float:
    return evaluation.auc(ours, bad[rows]) - evaluation.auc(alone, bad[rows])
