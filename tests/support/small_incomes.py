"""A small income model of the same random people as the small score model, trained once for a whole run of tests."""

from functools import cache

import numpy as np
from support import small_models

from scoring import trees
from scoring.answers import income_manifest, income_training
from scoring.answers.income import IncomeModel
from scoring.answers.income_training import IncomeRecipe
from scoring.manifest import MANIFEST
from scoring.training import Artifact

RECIPE = IncomeRecipe(trees=40, depth=3, learning_rate=0.1, copies=3, folds=5)


def incomes(*, seed: int = 3, signal: float = 0.35) -> np.ndarray:
    """A month's income of each of the small model's people, which goes with what lies behind their behaviour."""
    latent = np.random.default_rng(small_models.SEED).normal(
        size=small_models.PEOPLE
    )  # as `small_models.people` draws it
    noise = np.random.default_rng(seed).normal(size=small_models.PEOPLE)
    return np.round(np.exp(8.4 + signal * latent + 0.2 * noise), -2)


def train(income: np.ndarray, **changed: object) -> Artifact:
    fit, validate = small_models.split()
    settings = {
        "fit": fit,
        "validate": validate,
        "seed": 7,
        "threads": 2,
        "currency": "CNY",
        "about": {"data": "random"},
        "recipe": RECIPE,
    }
    return income_training.train(small_models.people()[0], income, **(settings | changed))


@cache
def trained() -> Artifact:
    return train(incomes())


def read(artifact: Artifact) -> IncomeModel:
    stated = income_manifest.decode(artifact.files[MANIFEST])
    grown = {name: trees.read(artifact.files[name]) for name in income_manifest.QUANTILES}
    return IncomeModel(artifact.digest, stated, grown)


@cache
def loaded() -> IncomeModel:
    return read(trained())
