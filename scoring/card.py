"""The card of a model: what it was tried on, how well it did, and what stands against its promotion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compliance import canonical
from compliance.canonical import Json
from compliance.vocabulary import Category
from scoring import decimals, evaluation, scorer, trees
from scoring import rows as matrix_rows
from scoring.decimals import EVERYTHING, UNKNOWN
from scoring.evaluation import Flags, Floats, Measure
from scoring.features import Matrix
from scoring.governance import drift, fairness, lineage, snapshot
from scoring.governance.fairness import Labels
from scoring.manifest import Input
from scoring.scorer import Scorer, Values

Rows = NDArray[np.intp]

LEAST_DEFAULTS = 50
CHANCE = 0.5
OBSERVED_OVER_EXPECTED = (0.80, 1.25)
SLOPE, INTERCEPT = (0.80, 1.25), (-0.25, 0.25)
"""Red where the whole interval lies outside."""
MOST_ECE = 0.05
"""Beyond what chance alone makes of a perfect calibration."""
MOST_SHARE_OF_ONE_FEATURE = 0.40
MOST_ROWS_EXPLAINED = 2_000
MOST_ROWS_BENT = 200

RANKING: Mapping[str, Measure] = {"auc": evaluation.auc, "ks": evaluation.ks}
HONESTY: Mapping[str, Measure] = {
    "brier": evaluation.brier,
    "ece": evaluation.ece,
    "calibration_slope": evaluation.slope,
    "calibration_intercept": evaluation.intercept,
    "observed_over_expected": evaluation.observed_over_expected,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A model and the rows it is tried on, in which what is too thin to count is already hidden."""

    model: Scorer
    matrix: Matrix
    defaulted: Flags
    enough: Flags  # [row, category]
    held: Rows
    shown: Values  # [held row, input]
    user_of: Rows
    seed: int


def write(
    model: Scorer,
    matrix: Matrix,
    defaulted: Flags,
    *,
    fit: Flags,
    validate: Flags,
    seed: int,
    groups: Mapping[str, Labels],
) -> bytes:
    """Measure the model on rows it has not seen and write the card as canonical JSON.

    Every figure is a decimal string with its bootstrap 95 % interval, for all data together and for each
    category alone: people with enough data of it, of whom we hide the rest. `groups` are labels [row] by the name of
    what they tell apart: no model reads them.
    """
    stated = model.manifest
    enough = scorer.filled(stated.inputs, stated.minimum, matrix.values, matrix.events, matrix.active_days)
    held, carried = np.flatnonzero(validate), scorer.may_carry(model.categories, enough)
    shown = scorer.hide(matrix.values[held], enough[held], model.category_of)
    user_of = np.unique(np.array(matrix.users), return_inverse=True)[1]
    trial = _Trial(model, matrix, defaulted, enough, held, shown, user_of, seed)
    together = np.ones(len(model.categories), np.bool_)
    points = _evaluated(trial, held, together).points
    answered = points != scorer.NO_ANSWER
    apart = {name: labels[held] for name, labels in groups.items()}
    return canonical.canonical(
        {
            "about": stated.about,
            "scale": stated.scale.value,
            "horizon_days": stated.horizon_days,
            "rows": {
                "fit": int(fit.sum()),
                "validate": len(held),
                "left_out": int((~fit & ~validate).sum()),
                "fit_without_evidence": int((fit & ~carried).sum()),
                "validate_without_evidence": int((validate & ~carried).sum()),
            },
            "share_answered": _share(int(answered.sum()), len(held)),
            "largest_feature": _largest_feature(trial),
            "against_direction": _against_direction(trial),
            "slices": {EVERYTHING: _slice(trial, held[carried[held]], together), **_alone(trial)},
            "fairness": fairness.encode(fairness.ratios(points, stated.cutoffs, apart)),
            **snapshot.taken(model, matrix, defaulted, fit=fit, validate=validate),
        }
    )


def obstacles(card: Mapping[str, Any], inputs: Sequence[Input]) -> tuple[str, ...]:
    """Say why a model with this card and these inputs may not be promoted: codes, none when nothing stands against it.

    A figure that is not known stands against it, but for groups of people: a research set need not name any.
    """
    tried = card["slices"][EVERYTHING]
    found = {
        "insufficient_evidence": tried["defaults"] < LEAST_DEFAULTS,
        "ranks_like_chance": not decimals.read(tried["auc"]["low"]) > CHANCE,
        "calibration_red": not _is_calibrated(tried),
        "stability_red": not _is_stable(card.get("points", {})),
        "adverse_impact_red": fairness.is_red(card.get("fairness", {})),
        "one_feature_carries_too_much": float(card["largest_feature"]["share"]) > MOST_SHARE_OF_ONE_FEATURE,
        **lineage.obstacles(inputs),
    }
    return tuple(code for code, stands in found.items() if stands)


def _is_stable(points: Mapping[str, Any]) -> bool:
    """Whether later people got points as earlier ones did; with too few of them chance alone would say no."""
    few = points.get("state") == drift.Drift.INSUFFICIENT
    return few or decimals.read(points.get("psi", UNKNOWN)) <= drift.RED


def _is_calibrated(tried: Mapping[str, Any]) -> bool:
    """Whether slope, level and error of the probabilities on the held-out rows are inside their envelopes."""
    low, high = OBSERVED_OVER_EXPECTED
    base, rows = decimals.read(tried["base_rate"]), max(tried["rows"], 1)
    # The mean error of ten groups of people whose probabilities are right: sqrt(2 / pi) standard deviations.
    by_chance = float(np.sqrt(2 / np.pi * base * (1 - base) * evaluation.BINS / rows))
    return (
        low <= decimals.read(tried["observed_over_expected"]["value"]) <= high
        and _meets(tried["calibration_slope"], SLOPE)
        and _meets(tried["calibration_intercept"], INTERCEPT)
        and decimals.read(tried["ece"]["value"]) <= MOST_ECE + by_chance
    )


def _meets(figure: Mapping[str, str], envelope: tuple[float, float]) -> bool:
    """Whether the interval of a figure and the envelope have anything in common."""
    return decimals.read(figure["low"]) <= envelope[1] and decimals.read(figure["high"]) >= envelope[0]


def _alone(trial: _Trial) -> Mapping[str, Json]:
    """Figures of each category that may carry an answer alone, where there is more than one."""
    categories = trial.model.categories
    return {
        category.value: _slice(
            trial, trial.held[trial.enough[trial.held, n]], np.arange(len(categories)) == n
        )
        for n, category in enumerate(categories)
        if category is not Category.DECLARED and len(categories) > 1
    }


def _slice(trial: _Trial, rows: Rows, shared: Flags) -> Mapping[str, Json]:
    """Figures on these rows when only the `shared` categories are shown."""
    log_odds = _evaluated(trial, rows, shared).log_odds
    known = np.isfinite(log_odds)
    log_odds, bad = log_odds[known], trial.defaulted[rows][known]
    probability, people = evaluation.probability(log_odds), trial.user_of[rows][known]
    return {
        "rows": len(bad),
        "defaults": int(bad.sum()),
        "base_rate": _share(int(bad.sum()), len(bad)),
        **{name: _measured(measure, log_odds, bad, people, trial.seed) for name, measure in RANKING.items()},
        **{
            name: _measured(measure, probability, bad, people, trial.seed)
            for name, measure in HONESTY.items()
        },
    }


def _measured(measure: Measure, risk: Floats, bad: Flags, people: Rows, seed: int) -> Mapping[str, Json]:
    if not bad.size:
        return {"value": UNKNOWN, "low": UNKNOWN, "high": UNKNOWN}
    low, high = evaluation.bootstrap(measure, risk, bad, seed=seed, user_of=people)
    return {
        "value": decimals.written(measure(risk, bad)),
        "low": decimals.written(low),
        "high": decimals.written(high),
    }


def _evaluated(trial: _Trial, rows: Rows, shared: Flags) -> scorer.Evaluations:
    model, matrix = trial.model, trial.matrix
    return model.evaluate_many(
        *matrix_rows.of(matrix, rows),
        np.broadcast_to(shared, (len(rows), len(shared))),
    )


def _largest_feature(trial: _Trial) -> Mapping[str, Json]:
    """Name the feature with the largest share of the mean absolute contributions, and that share."""
    rows = trial.shown[:: 1 + len(trial.shown) // MOST_ROWS_EXPLAINED]
    mean = np.mean([np.abs(trial.model.raw(values)[1]) for values in rows], axis=0)
    largest = int(mean.argmax())
    share = float(mean[largest] / (mean.sum() or 1.0))
    return {"name": trial.model.manifest.inputs[largest].name, "share": decimals.written(share)}


def _against_direction(trial: _Trial) -> Mapping[str, Json]:
    """For each feature with a stated direction, the share of the score's movement that runs against it.

    The feature is moved through its deciles while the rest of the row stays.
    """
    against: dict[str, Json] = {}
    for place, feature in enumerate(trial.model.manifest.inputs):
        known = trial.shown[~np.isnan(trial.shown[:, place])]
        if feature.monotone and len(known):
            deciles = np.unique(np.quantile(known[:, place], np.linspace(0.05, 0.95, 10)))
            bent = np.repeat(known[:: 1 + len(known) // MOST_ROWS_BENT], len(deciles), axis=0)
            bent[:, place] = np.tile(deciles, len(bent) // len(deciles))
            steps = np.diff(trees.raw(trial.model.trees, bent).reshape(-1, len(deciles)), axis=1)
            wrong = np.maximum(-feature.monotone * steps, 0.0).sum()
            against[feature.name] = decimals.written(float(wrong / (np.abs(steps).sum() or 1.0)))
    return against


def _share(part: int, whole: int) -> str:
    return decimals.written(part / whole if whole else 0.0)
