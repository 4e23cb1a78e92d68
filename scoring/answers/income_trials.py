"""How good incomes are, by folds of people: each is estimated by a model that saw nothing of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from compliance.canonical import Json
from scoring import manifest, trees
from scoring.answers import income_card, income_manifest, income_training
from scoring.answers.amounts import Floats
from scoring.answers.income import IncomeModel
from scoring.answers.income_card import Told, Trial
from scoring.answers.income_training import CNY_EDGES, STANDARD, IncomeRecipe
from scoring.features import Matrix
from scoring.scorer import Flags
from scoring.training import Artifact, Progress

FOLDS = 5


def cross_validated(
    matrix: Matrix,
    income: Floats,
    *,
    seed: int,
    threads: int,
    currency: str,
    edges: tuple[int, ...] = CNY_EDGES,
    recipe: IncomeRecipe = STANDARD,
    progress: Progress | None = None,
) -> Mapping[str, Json]:
    """Train once for each fold and measure all answers together, beside the constants of the same folds.

    No person is in two folds. The figures are those of a model's card. Refuses `CannotTrain`.
    """
    user_of = np.unique(np.array(matrix.users), return_inverse=True)[1]
    fold_of = (np.random.default_rng(seed).permutation(user_of.max() + 1) % FOLDS)[user_of]
    trials = []
    for fold in range(FOLDS):
        held = fold_of == fold
        artifact = income_training.train(
            matrix,
            income,
            fit=~held,
            validate=held,
            seed=seed,
            threads=threads,
            currency=currency,
            about={"fold": str(fold)},
            edges=edges,
            recipe=recipe,
        )
        trials.append(_tried(_model(artifact), matrix, income, user_of, held))
        if progress is not None:
            progress("fold", (fold + 1) / FOLDS)
    pooled = _pooled(trials)
    known = int(income_training.is_known(income).sum())
    return {"folds": FOLDS, "asked": known, **income_card.figures(pooled, seed)}


def _model(artifact: Artifact) -> IncomeModel:
    stated = income_manifest.decode(artifact.files[manifest.MANIFEST])
    grown = {name: trees.read(artifact.files[name]) for name in income_manifest.QUANTILES}
    return IncomeModel(artifact.digest, stated, grown)


def _tried(model: IncomeModel, matrix: Matrix, income: Floats, user_of: np.ndarray, held: Flags) -> Trial:
    known = income_training.is_known(income)
    constant = income_card.best_constant(income[~held & known])
    everything = np.ones(len(model.categories), np.bool_)
    return income_card.tried(
        model, matrix, income, user_of, np.flatnonzero(held & known), everything, constant
    )


def _pooled(trials: Sequence[Trial]) -> Trial:
    """All trials as one; each row keeps the constant of its fold."""
    constants = [income_card.wide(trial) for trial in trials]
    return Trial(
        _together([trial.model for trial in trials]),
        _together(constants),
        np.concatenate([trial.income for trial in trials]),
        trials[0].edges,
        np.concatenate([trial.user_of for trial in trials]),
    )


def _together(told: Sequence[Told]) -> Told:
    return Told(
        *(np.concatenate([getattr(each, name) for each in told]) for name in ("point", "low", "high"))
    )
