"""The same figures by slice: one product, one term, thin files or one age may carry what all together show.

Reported, not judged: a slice of fewer than 100 people or 20 defaults is left out.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.validation import gates
from benchmarks.validation.gates import Gate
from benchmarks.validation.sets import Set
from scoring import evaluation
from scoring.evaluation import Flags, Floats
from scoring.governance.fairness import UNKNOWN, Labels

LEAST_ROWS, LEAST_DEFAULTS = 100, 20
THIRDS = ("lowest third", "middle third", "highest third")
SEED = 1


def told(of: Set, log_odds: Floats, rows: Flags) -> Iterator[Gate]:
    """How the score ranks, and observed over expected, in each slice of the `rows`; `log_odds` is [row]."""
    probability, bad = evaluation.probability(log_odds), of.bad
    for column, labels in _labels(of, rows).items():
        for label in np.unique(labels[rows]):
            here = rows & (labels == label)
            if label == UNKNOWN or here.sum() < LEAST_ROWS or bad[here].sum() < LEAST_DEFAULTS:
                continue
            for what, measure in (
                ("AUC", evaluation.auc),
                ("observed over expected", evaluation.observed_over_expected),
            ):
                yield gates.figure(
                    f"{of.name}, {column} {label}: {what}",
                    measure(probability[here], bad[here]),
                    evaluation.bootstrap(measure, probability[here], bad[here], seed=SEED),
                    int(here.sum()),
                )


def _labels(of: Set, rows: Flags) -> dict[str, Labels]:
    """What people are told apart by, beside the groups that the set names; what is the same of all is no slice."""
    days = np.sum(list(of.matrix.active_days.values()), axis=0)
    amount = of.outcomes["amount"].cast(float).to_numpy()
    found = {
        "product": of.outcomes["product"].to_numpy().astype(np.str_),
        "term in days": of.outcomes["tenor_days"].cast(str).fill_null(UNKNOWN).to_numpy().astype(np.str_),
        "amount,": _thirds(amount, rows),
        "days with data,": _thirds(days.astype(np.float64), rows),
        **of.groups,
    }
    return {column: labels for column, labels in found.items() if len(np.unique(labels[rows])) > 1}


def _thirds(values: Floats, rows: Flags) -> Labels:
    """Which third of the rows each is in, as far as equal values can be parted; unknown where there is no value."""
    known = values[rows & np.isfinite(values)]
    cuts = np.quantile(known, [1 / 3, 2 / 3]) if known.size else np.zeros(2)
    place = np.searchsorted(cuts, np.nan_to_num(values), side="left")
    return np.where(np.isfinite(values), np.array(THIRDS)[place], UNKNOWN)
