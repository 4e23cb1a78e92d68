"""A model of ours in memory, trained as the product trains it, and what it says of people."""

import numpy as np
from numpy.typing import NDArray

from scoring import boosting, manifest, synthetic, training, trees
from scoring import rows as matrix_rows
from scoring.boosting import Recipe
from scoring.evaluation import Flags, Floats
from scoring.features import Matrix
from scoring.policy import Scale
from scoring.scorer import NO_ANSWER, Scorer

HORIZON_DAYS = synthetic.DECIDED_DAYS[0] - 1


def trained(matrix: Matrix, bad: Flags, fit: Flags, *, seed: int, recipe: Recipe | None = None) -> Scorer:
    """Learn from the `fit` rows; the other outcomes are read by a card that is let go, and by nothing else."""
    artifact = training.train(
        matrix,
        bad,
        fit=fit,
        validate=~fit,
        seed=seed,
        threads=2,
        scale=Scale.STANDARD,
        horizon_days=HORIZON_DAYS,
        about={},
        recipe=recipe or boosting.recipe_for(int(fit.sum())),
    )
    stated = manifest.decode(artifact.files[manifest.MANIFEST])
    return Scorer(artifact.digest, stated, trees.read(artifact.files[manifest.TREES]))


def said(model: Scorer, matrix: Matrix, rows: Flags | NDArray[np.intp]) -> Floats:
    """Calibrated log-odds of rows by all that they share; NaN where there is no answer."""
    values, events, days = matrix_rows.of(matrix, rows)
    shared = np.ones((len(values), len(model.categories)), np.bool_)
    found = model.evaluate_many(values, events, days, shared)
    return np.where(found.points == NO_ANSWER, np.nan, found.log_odds)
