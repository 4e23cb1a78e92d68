"""A world in which behaviour says nothing of default: the score must find nothing, and say the base rate or nothing."""

import numpy as np

from benchmarks.validation import gates, invented
from benchmarks.validation.gates import Gate
from scoring import evaluation, scorer
from scoring import rows as matrix_rows

PEOPLE = {"small": (14_000, 6_000), "full": (260_000, 60_000)}
"""Drawn, and of those learnt from. With 5 % defaults 200,000 people place an AUC within 0.006."""
CHANCE, MOST_FROM_CHANCE = 0.5, {"small": 0.05, "full": 0.01}
NEAR_BASE_RATE, SHARE_NEAR = 0.01, 0.99
SEED = 5


def run(size: str) -> list[Gate]:
    """Learn from people without a signal, and score others."""
    drawn, learnt = PEOPLE[size]
    found = invented.population(drawn, signal=0.0, fit=learnt, keep=False)
    matrix, others = found.matrix, np.flatnonzero(~found.fit)
    told = found.model.evaluate_many(
        *matrix_rows.of(matrix, others),
        np.ones((len(others), len(found.model.categories)), np.bool_),
    )
    answered = told.points != scorer.NO_ANSWER
    risk, bad = told.log_odds[answered], found.defaulted[others][answered]
    base = float(found.defaulted[found.fit].mean())
    near = np.abs(evaluation.probability(risk) - base) <= NEAR_BASE_RATE
    most = MOST_FROM_CHANCE[size]
    return [
        gates.share("people who get an answer", answered),
        gates.figure(
            "AUC where nothing is to be found",
            evaluation.auc(risk, bad),
            evaluation.bootstrap(evaluation.auc, risk, bad, seed=SEED),
            len(bad),
            rule=f"{CHANCE} +/- {most}",
            passes=lambda value: abs(value - CHANCE) <= most,
        ),
        gates.share(f"answers within {NEAR_BASE_RATE} of the base rate {base:.4f}", near, least=SHARE_NEAR),
    ]
