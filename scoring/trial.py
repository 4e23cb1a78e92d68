"""Try a model on the people of another set, whom it never saw: how it ranks, how honest it is, whom it answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from consent.permits import PopulationPermit
from scoring import behaviour as behaviours
from scoring import evaluation, features
from scoring.behaviour import Behaviour
from scoring.evaluation import Floats, Measure
from scoring.scorer import NO_ANSWER, Scorer
from scoring.training import CannotTrain

SEED = 1
RANKING: Mapping[str, Measure] = {"auc": evaluation.auc, "ks": evaluation.ks}
HONESTY: Mapping[str, Measure] = {
    "brier": evaluation.brier,
    "ece": evaluation.ece,
    "slope": evaluation.slope,
    "intercept": evaluation.intercept,
    "observed_over_expected": evaluation.observed_over_expected,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: `n` people were answered, a share of `answered` of all; figures with 95 % intervals.

    `ece_envelope` is what the expected calibration error of a perfect model of this size stays below in 95 of 100.
    """

    set: str
    n: int
    defaults: int
    answered: float
    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    ece_envelope: float


def run(permit: PopulationPermit, model: Scorer, behaviour: Behaviour) -> Trial:
    """Evaluate each application with a known outcome as of its decision; the model's features, read anew.

    Refuses `CannotTrain` where no application has an outcome or none can be answered.
    """
    if permit.basis != "research_set":
        raise CannotTrain("a model is tried on a research set, under its permit")
    labelled = behaviour.outcomes.filter(pl.col("defaulted").is_not_null())
    if labelled.is_empty():
        raise CannotTrain("no application has an outcome")
    asked = behaviours.applications(labelled)
    matrix = features.compute(behaviour, asked, features.as_features(model.manifest.inputs))
    everything = np.ones((len(asked), len(model.categories)), np.bool_)
    found = model.evaluate_many(matrix.values, matrix.events, matrix.active_days, everything)
    answered = found.points != NO_ANSWER
    if not answered.any():
        raise CannotTrain("the set holds too little of what the model reads: nobody was answered")
    log_odds = found.log_odds[answered]
    bad = labelled["defaulted"].to_numpy()[answered]
    probability = evaluation.probability(log_odds)
    people = np.unique(np.array(matrix.users)[answered], return_inverse=True)[1]
    told: list[tuple[str, Measure, Floats]] = [
        *((name, measure, log_odds) for name, measure in RANKING.items()),
        *((name, measure, probability) for name, measure in HONESTY.items()),
    ]
    return Trial(
        set=behaviour.name,
        n=len(bad),
        defaults=int(bad.sum()),
        answered=float(answered.mean()),
        figures={name: measure(risk, bad) for name, measure, risk in told},
        intervals={
            name: evaluation.bootstrap(measure, risk, bad, seed=SEED, user_of=people)
            for name, measure, risk in told
        },
        ece_envelope=evaluation.ece_envelope(probability, seed=SEED),
    )
