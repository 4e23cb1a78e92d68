"""What it would do to the score if everybody chose, after looking, the set of data that flatters most.

Two attackers: one who may look at every set, whom the rule of one change in 90 days is there to stop, and one within it,
who sees two choices of data with each kind of them left off and takes the best of what was seen. Reported beside
sharing everything: how well the score ranks, and observed over expected defaults.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from benchmarks.validation import gates
from benchmarks.validation.gates import Gate
from benchmarks.validation.refusing import Seen, seen_in
from compliance.vocabulary import Categories
from scoring import evaluation

SEED = 3

Floats = NDArray[np.float64]


def run(size: str) -> list[Gate]:
    """Compare honest sharing with both attackers, on people whom the model has not seen."""
    seen = seen_in(size)
    worlds = {
        "everything shared": seen.probability[seen.everything],
        "best of every set": _best(seen, list(seen.probability)),
        "best of what two looks show": _best(seen, _two_looks(seen.everything)),
    }
    return [gate for name, probability in worlds.items() for gate in _figures(name, probability, seen)]


def _best(seen: Seen, sets: list[Categories]) -> Floats:
    """The lowest probability that any of the sets gives each person."""
    return np.nanmin(np.stack([seen.probability[used] for used in sets if used in seen.probability]), axis=0)


def _two_looks(everything: Categories) -> list[Categories]:
    """All data, all without each kind, and the same of one other choice: that without the first kind by name."""
    first, second = everything, everything - {min(everything)}
    looks = [
        [choice - frozenset(left) for n in (0, 1) for left in combinations(sorted(choice), n)]
        for choice in (first, second)
    ]
    return list(dict.fromkeys(looks[0] + looks[1]))


def _figures(name: str, probability: Floats, seen: Seen) -> list[Gate]:
    known = np.isfinite(probability)
    risk, bad = probability[known], seen.defaulted[known]
    measures = {"AUC": evaluation.auc, "observed over expected": evaluation.observed_over_expected}
    return [
        gates.figure(
            f"{name}: {what}",
            measure(risk, bad),
            evaluation.bootstrap(measure, risk, bad, seed=SEED),
            len(bad),
        )
        for what, measure in measures.items()
    ]
