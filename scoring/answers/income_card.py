"""The card of an income model: every figure beside that of the best constant, and what stands against its promotion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compliance import canonical
from compliance.canonical import Json
from scoring import decimals, evaluation
from scoring import rows as matrix_rows
from scoring.answers import amounts
from scoring.answers.amounts import Amounts, Floats
from scoring.answers.income import NO_ANSWER, IncomeModel
from scoring.answers.income_manifest import LOWER, MEDIAN, QUANTILES, TARGET, UPPER
from scoring.decimals import EVERYTHING
from scoring.features import Matrix
from scoring.governance import lineage
from scoring.lessons import Lesson, Rows
from scoring.manifest import Input
from scoring.scorer import Flags

DRAWS = 1_000
LEAST_ROWS = 200
HELD_BY_INTERVAL = (0.78, 0.82)
"""An 80 % interval is honest that holds so many of the people whom the model has not seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Amounts as they are told, [row] or one for everybody."""

    point: Amounts
    low: Amounts
    high: Amounts


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a model told of people, what a constant told of them, and what they earn; `user_of` is [row]."""

    model: Told
    constant: Told
    income: Floats
    edges: tuple[int, ...]
    user_of: Rows


Gain = Callable[[Trial, Told], Floats]
"""What each row loses or hits."""


def _log_error(trial: Trial, told: Told) -> Floats:
    return np.asarray(np.abs(np.log(told.point) - np.log(trial.income)))


def _pinball(name: str) -> Gain:
    share = QUANTILES[name]

    def loss(trial: Trial, told: Told) -> Floats:
        amount = {LOWER: told.low, MEDIAN: told.point, UPPER: told.high}[name]
        over = np.log(trial.income) - np.log(amount)
        return np.asarray(np.maximum(share * over, (share - 1) * over))

    return loss


def _within(part: float) -> Gain:
    return lambda trial, told: np.asarray(np.abs(told.point / trial.income - 1) <= part, np.float64)


def _bands_apart(trial: Trial, told: Told) -> Amounts:
    edges = np.array(trial.edges)
    of_told, of_income = (np.searchsorted(edges, each, side="right") for each in (told.point, trial.income))
    return np.asarray(np.abs(of_told - of_income))


def _within_bands(most: int) -> Gain:
    return lambda trial, told: np.asarray(_bands_apart(trial, told) <= most, np.float64)


def _held(trial: Trial, told: Told) -> Floats:
    return np.asarray((told.low <= trial.income) & (trial.income <= told.high), np.float64)


def _width(_: Trial, told: Told) -> Floats:
    return np.log(told.high) - np.log(told.low)


LOSSES: Mapping[str, Gain] = {
    "log_absolute_error": _log_error,
    "pinball_10": _pinball(LOWER),
    "pinball_50": _pinball(MEDIAN),
    "pinball_90": _pinball(UPPER),
    "interval_width_in_logs": _width,
}
"""Less is better."""
HITS: Mapping[str, Gain] = {
    "within_20_percent": _within(0.2),
    "within_30_percent": _within(0.3),
    "exact_band": _within_bands(0),
    "within_one_band": _within_bands(1),
}
"""More is better."""
MEASURES = ("log_absolute_error", *HITS)
"""What a page shows; the pinball losses are there to choose between models."""
MUST_BEAT = ("log_absolute_error", "pinball_10", "pinball_50", "pinball_90")


def write(
    model: IncomeModel,
    lesson: Lesson,
    income: Floats,
    *,
    fitted: Rows,
    held: Rows,
    about: Mapping[str, int],
    seed: int,
) -> bytes:
    """Measure what the model tells of the `held` rows beside what a constant, taken from the `fitted` ones, does.

    Every figure is a decimal string; the gain over the constant is a row's mean with its 95 % interval, from people
    drawn with replacement, each together with their constant. Once with all data together, then with each category
    alone, of whoever has enough of it.
    """
    constant = best_constant(income[fitted])
    together = np.ones(len(model.categories), np.bool_)
    slices = {EVERYTHING: _slice(model, lesson, income, held, together, constant, seed)}
    for place, category in enumerate(model.categories):
        if len(model.categories) > 1:
            rows = held[lesson.enough[held, place]]
            alone = np.arange(len(model.categories)) == place
            slices[category.value] = _slice(model, lesson, income, rows, alone, constant, seed)
    stated = model.manifest
    return canonical.canonical(
        {
            "target": TARGET,
            "about": stated.about,
            "currency": stated.currency,
            "edges": stated.edges,
            "interval": "0.8",
            "rows": {"fit": len(fitted), "validate": len(held), **about},
            "constant": {name: int(each) for name, each in _named(constant).items()},
            "slices": slices,
        }
    )


def obstacles(card: Mapping[str, Any], inputs: Sequence[Input]) -> tuple[str, ...]:
    """Say why an income model with this card and these inputs may not be promoted: codes, none when nothing stands against it."""
    tried = card["slices"][EVERYTHING]
    if tried["rows"] < LEAST_ROWS:
        return ("insufficient_evidence",)
    lowest, highest = HELD_BY_INTERVAL
    found = {
        "no_better_than_a_constant": any(
            not decimals.read(tried[each]["gain_low"]) > 0 for each in MUST_BEAT
        ),
        "interval_dishonest": decimals.read(tried["interval_held"]["high"]) < lowest
        or decimals.read(tried["interval_held"]["low"]) > highest,
        **lineage.obstacles(inputs),
    }
    return tuple(code for code, stands in found.items() if stands)


def best_constant(income: Floats) -> Told:
    """The constant's amounts: the quantiles of the fitted incomes, told as the model's are."""
    low, point, high = (
        amounts.told(np.log(np.quantile(income, share, keepdims=True))) for share in (0.1, 0.5, 0.9)
    )
    return Told(point, low, high)


def _named(told: Told) -> Mapping[str, Any]:
    return {"point": told.point[0], "low": told.low[0], "high": told.high[0]}


def _slice(
    model: IncomeModel,
    lesson: Lesson,
    income: Floats,
    rows: Rows,
    shared: Flags,
    constant: Told,
    seed: int,
) -> Mapping[str, Json]:
    """Figures on these rows when only the `shared` categories are shown."""
    trial = tried(model, lesson.matrix, income, lesson.user_of, rows, shared, constant)
    return {"asked": len(rows), **figures(trial, seed)}


def tried(
    model: IncomeModel,
    matrix: Matrix,
    income: Floats,
    user_of: Rows,
    rows: Rows,
    shared: Flags,
    constant: Told,
) -> Trial:
    """What the model tells of these rows, of those that it answers."""
    found = model.evaluate_many(
        *matrix_rows.of(matrix, rows),
        np.broadcast_to(shared, (len(rows), len(shared))),
    )
    answered = found.point != NO_ANSWER
    kept = Told(found.point[answered], found.low[answered], found.high[answered])
    return Trial(kept, constant, income[rows][answered], model.manifest.edges, user_of[rows][answered])


def figures(trial: Trial, seed: int) -> Mapping[str, Json]:
    """Every measure of the model beside the constant's, and what share of people the interval holds."""
    rows = len(trial.income)
    if not rows:
        return {"rows": 0}
    held, held_by_constant = _held(trial, trial.model), _held(trial, wide(trial))
    low, high = evaluation.wilson(int(held.sum()), rows)
    return {
        "rows": rows,
        **{name: _beside(trial, loss, -1.0, seed) for name, loss in LOSSES.items()},
        **{name: _beside(trial, hit, 1.0, seed) for name, hit in HITS.items()},
        "interval_held": {
            "model": decimals.written(held.mean()),
            "low": decimals.written(low),
            "high": decimals.written(high),
            "constant": decimals.written(held_by_constant.mean()),
        },
    }


def wide(trial: Trial) -> Told:
    """The constant's amounts, one for each row."""
    told = trial.constant
    return Told(*(np.broadcast_to(each, len(trial.income)) for each in (told.point, told.low, told.high)))


def _beside(trial: Trial, measure: Gain, sign: float, seed: int) -> Mapping[str, Json]:
    of_model, of_constant = measure(trial, trial.model), measure(trial, wide(trial))
    low, high = _interval(sign * (of_model - of_constant), trial.user_of, seed)
    return {
        "model": decimals.written(of_model.mean()),
        "constant": decimals.written(of_constant.mean()),
        "gain_low": decimals.written(low),
        "gain_high": decimals.written(high),
    }


def _interval(gain: Floats, user_of: Rows, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean gain over people drawn with replacement (Efron 1979)."""
    person = np.unique(user_of, return_inverse=True)[1]
    sums, rows = np.bincount(person, weights=gain), np.bincount(person)
    random = np.random.default_rng(seed)
    drawn = (random.integers(len(rows), size=len(rows)) for _ in range(DRAWS))
    means = [sums[people].sum() / rows[people].sum() for people in drawn]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
