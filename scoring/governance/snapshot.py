"""What a card keeps of the data that a model was made on, so that later data can be held against it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compliance.canonical import Json
from scoring import evaluation, scorer
from scoring import rows as matrix_rows
from scoring.evaluation import Flags, Floats
from scoring.features import Matrix
from scoring.governance import drift
from scoring.scorer import Evaluations, Scorer

TENTHS = 10


def taken(model: Scorer, matrix: Matrix, defaulted: Flags, *, fit: Flags, validate: Flags) -> dict[str, Json]:
    """The parts of a card that monitoring needs, measured with everything shown that counts.

    `points`: see `_points`. `calibration`: tenths of the held-out rows by predicted probability, what was expected
    and what happened. `inputs`: a profile of each over the rows of the fit.
    """
    fitted, held = np.flatnonzero(fit), np.flatnonzero(validate)
    tried = _evaluated(model, matrix, held)
    known = np.isfinite(tried.log_odds)
    enough = scorer.filled(
        model.manifest.inputs, model.manifest.minimum, matrix.values, matrix.events, matrix.active_days
    )
    shown = scorer.hide(matrix.values[fitted], enough[fitted], model.category_of)
    return {
        "points": _points(model, tried, enough[held], np.array(matrix.cutoffs)[held]),
        "calibration": calibrated(evaluation.probability(tried.log_odds[known]), defaulted[held][known]),
        "inputs": {
            name: drift.encode(told) for name, told in drift.of_inputs(model.manifest.inputs, shown).items()
        },
    }


def _points(model: Scorer, tried: Evaluations, enough: Flags, at: NDArray[Any]) -> Mapping[str, Json]:
    """How the points of held-out rows fall, the earlier and the later half in time, and the PSI between the two.

    The model learnt from none of them: the rows that it did learn from get points of another spread. And only rows
    in which the same categories count, those of the set that most answered rows have: more data spread the points.
    """
    answered = tried.points != scorer.NO_ANSWER
    sets, rows = np.unique(enough[answered], axis=0, return_counts=True)
    used = sets[rows.argmax()] if rows.size else np.zeros(len(model.categories), np.bool_)
    alike = np.flatnonzero(answered & (enough == used).all(axis=1))
    alike = alike[np.argsort(at[alike], kind="stable")]
    then, now = (drift.points_profile(tried.points[half]) for half in np.array_split(alike, 2))
    state, index = drift.read(then, now)
    return {
        "earlier": drift.encode(then),
        "later": drift.encode(now),
        "used": [category for category, counts in zip(model.categories, used, strict=True) if counts],
        "psi": f"{index:.4f}",
        "state": state.value,
    }


def _evaluated(model: Scorer, matrix: Matrix, rows: NDArray[np.intp]) -> Evaluations:
    everything = np.ones((len(rows), len(model.categories)), np.bool_)
    return model.evaluate_many(
        *matrix_rows.of(matrix, rows),
        everything,
    )


def calibrated(probability: Floats, bad: Flags) -> list[Mapping[str, Json]]:
    """Tenths by probability, each with what was expected and what happened, with a Wilson interval."""
    order = np.argsort(probability, kind="stable")
    groups = [group for group in np.array_split(order, TENTHS) if group.size]
    return [_tenth(probability[group], bad[group]) for group in groups]


def _tenth(probability: Floats, bad: Flags) -> Mapping[str, Json]:
    rows, defaults = len(bad), int(bad.sum())
    low, high = evaluation.wilson(defaults, rows)
    numbers: dict[str, Any] = {
        "expected": float(probability.mean()),
        "observed": defaults / rows,
        "low": low,
        "high": high,
    }
    return {"rows": rows, "defaults": defaults} | {name: f"{value:.4f}" for name, value in numbers.items()}
