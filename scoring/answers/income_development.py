"""Develop an income model from a research set, and try one on the people of another, whom it never saw."""

import json
from collections.abc import Mapping

import numpy as np
import polars as pl

from compliance.canonical import Json
from compliance.vocabulary import Categories
from consent.permits import PopulationPermit
from scoring import behaviour as behaviours
from scoring import development, features, manifest, registry
from scoring.answers import income_card, income_training, incomes
from scoring.answers.income import NO_ANSWER
from scoring.answers.income_card import Told, Trial
from scoring.behaviour import Behaviour
from scoring.features import Matrix
from scoring.manifest import CARD
from scoring.training import Artifact, CannotTrain, Progress

SEED = 1


def develop(
    permit: PopulationPermit,
    behaviour: Behaviour,
    categories: Categories,
    *,
    seed: int,
    threads: int,
    name: str,
    progress: Progress | None = None,
) -> Artifact:
    """Train on the earlier 70 % in time, or by a hash of the user where there is one time only; measure on the rest."""
    known = _known(permit, behaviour)
    matrix = _matrix(behaviour, known, features.chosen(behaviour, categories))
    fit, held, split = development.split(known, np.ones(known.height, np.bool_), least=income_card.LEAST_ROWS)
    return income_training.train(
        matrix,
        known["income"].to_numpy(),
        fit=fit,
        validate=held,
        seed=seed,
        threads=threads,
        currency=behaviour.schema.currency or "CNY",
        about={
            "set": behaviour.name,
            "split": split,
            "stamp": "research_set",
            "name": name,
        },
        progress=progress,
    )


def run(permit: PopulationPermit, digest: str, behaviour: Behaviour) -> Mapping[str, Json]:
    """Every measure beside that of the constant which the model was trained beside; see `income_card.figures`."""
    known, model = _known(permit, behaviour), incomes.model(digest)
    matrix = _matrix(behaviour, known, features.as_features(model.manifest.inputs))
    shared = np.ones((known.height, len(model.categories)), np.bool_)
    found = model.evaluate_many(matrix.values, matrix.events, matrix.active_days, shared)
    answered = found.point != NO_ANSWER
    card = json.loads(manifest.file(registry.folder(digest), model.manifest, CARD))
    trial = Trial(
        Told(found.point[answered], found.low[answered], found.high[answered]),
        Told(*(np.array([card["constant"][each]]) for each in ("point", "low", "high"))),
        known["income"].to_numpy()[answered],
        model.manifest.edges,
        np.unique(np.array(matrix.users)[answered], return_inverse=True)[1],
    )
    return {"asked": known.height, **income_card.figures(trial, SEED)}


def _known(permit: PopulationPermit, behaviour: Behaviour) -> pl.DataFrame:
    if permit.basis != "research_set":
        raise CannotTrain("a model is developed on a research set, under its permit")
    known = behaviour.outcomes.filter(pl.col("income") > 0).sort("decided_at", "application")
    if known.is_empty():
        raise CannotTrain("no application has an income")
    return known


def _matrix(behaviour: Behaviour, known: pl.DataFrame, wanted: tuple[features.Feature, ...]) -> Matrix:
    asked = behaviours.applications(known)
    return features.compute(behaviour, asked, wanted)
