"""Train an income model: three quantiles of the logarithm, and an interval that holds what it says on people not seen."""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import catboost
import numpy as np

from compliance.vocabulary import Categories
from scoring import lessons, manifest, training, trees
from scoring.answers import amounts, income_card, income_manifest
from scoring.answers.amounts import Floats
from scoring.answers.income import IncomeModel
from scoring.answers.income_manifest import LOWER, MEDIAN, QUANTILES, UPPER, IncomeManifest
from scoring.features import Matrix
from scoring.lessons import Lesson, Rows
from scoring.scorer import Flags
from scoring.training import Artifact, CannotTrain, Progress

CNY_EDGES = (2_500, 4_000, 6_000, 10_000)
INTERVAL = 0.8
LEAST_ROWS = 100
"""Of rows to fit and to validate, and with a set of categories for an interval of its own."""


@dataclass(frozen=True, slots=True)
class IncomeRecipe:
    """How much is grown for each quantile: `copies` of each row with other categories hidden."""

    trees: int = 400
    depth: int = 5
    learning_rate: float = 0.03
    copies: int = 3
    folds: int = 5


STANDARD = IncomeRecipe()


@dataclass(frozen=True, slots=True)
class _Way:
    """How boosters are grown."""

    recipe: IncomeRecipe
    seed: int
    threads: int


def train(
    matrix: Matrix,
    income: Floats,
    *,
    fit: Flags,
    validate: Flags,
    seed: int,
    threads: int,
    currency: str,
    about: Mapping[str, str],
    edges: tuple[int, ...] = CNY_EDGES,
    recipe: IncomeRecipe = STANDARD,
    progress: Progress | None = None,
) -> Artifact:
    """Train, make the interval honest, measure; the same rows, seed and threads give the same digest.

    `income`, `fit` and `validate` are [row]; incomes are a month's, in whole units of the currency, NaN where
    unknown. A row in neither part, or without a known income, is left out and counted. Incomes of `validate` are
    read by the card and by nothing else. Refuses `CannotTrain`.
    """
    known = is_known(income)
    lesson = lessons.prepare(matrix, np.zeros(len(income), np.bool_))
    fitted, held = _rows(lesson, fit & known, validate & known)
    log_income = np.log(np.where(known, income, 1.0))
    way, tell = _Way(recipe, seed, threads), training.counter(progress, 2 + recipe.folds)
    grown = {name: _export(booster) for name, booster in _boost(lesson, log_income, fitted, way).items()}
    tell("model")
    widening = _widening(lesson, log_income, income, fitted, way, tell)
    stated = IncomeManifest(
        inputs=lesson.inputs,
        minimum=lesson.minimum,
        widening=widening,
        edges=edges,
        currency=currency,
        about={**about, **training.made(matrix, asdict(recipe), seed, threads)},
        files={},
    )
    draft = IncomeModel("draft", stated, {name: trees.read(exported) for name, exported in grown.items()})
    left_out = {"left_out": len(income) - int((fit & known).sum() + (validate & known).sum())}
    card = income_card.write(draft, lesson, income, fitted=fitted, held=held, about=left_out, seed=seed)
    tell("card")
    files = {**grown, manifest.CARD: card}
    hashes = {name: manifest.sha256(data) for name, data in files.items()}
    encoded = income_manifest.encode(replace(stated, files=hashes))
    return Artifact(manifest.sha256(encoded), {manifest.MANIFEST: encoded, **files})


def is_known(income: Floats) -> Flags:
    """Which incomes can be learned from; nobody earns less than one unit or more than a thousand million."""
    return np.asarray(np.isfinite(income) & (income >= 1) & (income <= amounts.GREATEST))


def _rows(lesson: Lesson, fit: Flags, validate: Flags) -> tuple[Rows, Rows]:
    """Rows to fit and rows held out, of those with enough data of any category."""
    if (fit & validate).any():
        raise ValueError("a row cannot be fitted and validated on")
    carried = lesson.enough.any(axis=1)
    fitted, held = np.flatnonzero(fit & carried), np.flatnonzero(validate & carried)
    if min(len(fitted), len(held)) < LEAST_ROWS:
        raise CannotTrain(
            f"{len(fitted)} rows with an income and enough data to fit and {len(held)} to validate; "
            f"{LEAST_ROWS} of both are the least"
        )
    return fitted, held


Boosters = Mapping[str, catboost.CatBoostRegressor]


def _boost(lesson: Lesson, log_income: Floats, rows: Rows, way: _Way) -> Boosters:
    """Grow oblivious trees for each quantile on the rows, each also with categories hidden at random."""
    random = np.random.default_rng(way.seed)
    shown, source = lessons.copies(lesson, rows, way.recipe.copies, random, declared_alone=True)
    values = np.asfortranarray(lessons.shown(lesson, source, shown))
    pool = catboost.Pool(values, log_income[source])
    return {
        name: catboost.CatBoostRegressor(
            iterations=way.recipe.trees,
            depth=way.recipe.depth,
            learning_rate=way.recipe.learning_rate,
            loss_function=f"Quantile:alpha={share}",
            boosting_type="Plain",
            grow_policy="SymmetricTree",
            nan_mode="Min",
            random_seed=way.seed,
            thread_count=way.threads,
            allow_writing_files=False,
            verbose=False,
        ).fit(pool)
        for name, share in QUANTILES.items()
    }


def _widening(
    lesson: Lesson, log_income: Floats, income: Floats, fitted: Rows, way: _Way, tell: Callable[[str], None]
) -> dict[Categories, float]:
    """How far to widen the interval for every set of categories, from people that the trees had not seen.

    Conformalised quantile regression (Romano, Patterson and Candes 2019) over folds of people: of each row the
    widening is taken that just covers its income as the interval is told, rounded; the 80 % quantile of them is the
    set's. Rounding keeps the intervals nested, which is all that conformal prediction needs (Gupta et al. 2022).
    """
    users = np.random.default_rng(way.seed).permutation(lesson.user_of.max() + 1)
    fold_of = users[lesson.user_of[fitted]] % way.recipe.folds
    sets = lessons.subsets(lesson, declared_alone=True)
    needed = {used: np.full(len(fitted), np.nan) for used in sets}
    for fold in range(way.recipe.folds):
        boosters = _boost(lesson, log_income, fitted[fold_of != fold], way)
        for used, flags in sets.items():
            here = np.flatnonzero((fold_of == fold) & lessons.having(lesson, fitted, flags))
            if here.size:
                raw = _predict(boosters, lesson, fitted[here], flags)
                needed[used][here] = covering(raw, income[fitted[here]])
        tell("interval")
    found = {used: conformal(each[np.isfinite(each)]) for used, each in needed.items()}
    return {used: width for used, width in found.items() if width is not None}


def _predict(boosters: Boosters, lesson: Lesson, rows: Rows, used: Flags) -> dict[str, Floats]:
    values = np.asfortranarray(lessons.shown(lesson, rows, np.broadcast_to(used, (len(rows), len(used)))))
    return {name: np.asarray(booster.predict(values), np.float64) for name, booster in boosters.items()}


def covering(raw: Mapping[str, Floats], income: Floats) -> Floats:
    """The least widening with which the interval, as it is told, holds each income."""
    low, high = np.minimum(raw[LOWER], raw[MEDIAN]), np.maximum(raw[UPPER], raw[MEDIAN])
    # Below its break an amount is told as the lower level: the break itself is not enough.
    down = np.nextafter(low - amounts.below(income), np.inf)
    return np.maximum(down, amounts.from_(income) - high)


def conformal(needed: Floats) -> float | None:
    """The widening that covers a new person with a probability of 80 % at least; None with too few people."""
    if len(needed) < LEAST_ROWS:
        return None
    place = min(math.ceil((len(needed) + 1) * INTERVAL), len(needed)) - 1
    return float(np.sort(needed)[place])


def _export(booster: catboost.CatBoostRegressor) -> bytes:
    """The trees as canonical JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "trees.json"
        booster.save_model(str(written), format="json")
        return training.trees_of(written)
