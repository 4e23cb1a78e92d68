"""What a score is held against: an untuned CatBoost, a plain logistic regression, a weight-of-evidence scorecard."""

import catboost
import numpy as np
from numpy.typing import NDArray

from scoring import evaluation
from scoring.evaluation import Flags, Floats
from scoring.scorer import Values

UNTUNED = {"iterations": 400, "depth": 6, "learning_rate": 0.05}
"""The settings of the published runs on these sets; nothing was searched."""
RIDGE = 1.0
MOST_STEPS = 30
BINS, LEAST_OF_BIN = 8, 0.02
HALF = 0.5


def untuned(values: Values, bad: Flags, fit: Flags, seen: Flags, *, seed: int) -> Floats:
    """Raw log-odds of the `seen` rows by a CatBoost as it comes, grown on the `fit` rows."""
    booster = catboost.CatBoostClassifier(
        **UNTUNED, random_seed=seed, thread_count=2, verbose=False, allow_writing_files=False
    ).fit(np.asfortranarray(values[fit]), bad[fit].astype(np.float32))
    found = booster.predict(np.asfortranarray(values[seen]), prediction_type="RawFormulaVal")
    return np.asarray(found, np.float64)


def logistic(values: Values, bad: Flags, fit: Flags, seen: Flags) -> Floats:
    """Log-odds by ridge regression on standardised columns: the median where missing, and a flag that it is."""
    missing = np.isnan(values)
    with np.errstate(all="ignore"):
        median = np.nanmedian(np.where(missing[fit].all(axis=0), np.float32(0), values[fit]), axis=0)
    columns = np.hstack([np.where(missing, median, values), missing[:, missing.any(axis=0)]]).astype(
        np.float64
    )
    return _fitted(columns, bad, fit, seen)


def scorecard(values: Values, bad: Flags, fit: Flags, seen: Flags) -> Floats:
    """Log-odds by ridge regression on weights of evidence: each column cut into bins, missing a bin of its own.

    Weight of a bin: log(share of bad / share of good), half a person added to each (Siddiqi 2006, ch. 6).
    """
    columns = np.column_stack([_weights(values[:, n], bad, fit) for n in range(values.shape[1])])
    return _fitted(columns, bad, fit, seen)


def _weights(column: NDArray[np.float32], bad: Flags, fit: Flags) -> Floats:
    known = column[fit & ~np.isnan(column)]
    cuts = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if known.size else np.empty(0)
    place = np.where(np.isnan(column), len(cuts) + 1, np.searchsorted(cuts, column))
    n_bad = np.bincount(place[fit & bad], minlength=len(cuts) + 2) + HALF
    n_good = np.bincount(place[fit & ~bad], minlength=len(cuts) + 2) + HALF
    weights = np.log(n_bad / n_bad.sum()) - np.log(n_good / n_good.sum())
    weights[(n_bad + n_good) < LEAST_OF_BIN * fit.sum()] = 0.0
    return np.asarray(weights[place])


def _fitted(columns: Floats, bad: Flags, fit: Flags, seen: Flags) -> Floats:
    """Newton's steps of a ridge-penalised logistic regression; the intercept is not penalised."""
    spread = columns[fit].std(axis=0)
    used = spread > 0
    standard = np.clip((columns[:, used] - columns[fit][:, used].mean(axis=0)) / spread[used], -5, 5)
    standard = np.hstack([np.ones((len(standard), 1)), standard])
    x, y = standard[fit], bad[fit]
    at, penalty = np.zeros(x.shape[1]), np.r_[0.0, np.full(x.shape[1] - 1, RIDGE)]
    for _ in range(MOST_STEPS):
        expected = evaluation.probability(x @ at)
        slope = x.T @ (y - expected) - penalty * at
        curvature = (x * (expected * (1 - expected))[:, None]).T @ x + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, slope)
        at = at + step
        if np.abs(step).max() < 1e-8:
            break
    return np.asarray(standard[seen] @ at)
