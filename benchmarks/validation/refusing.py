"""Refusing is never evidence: what a person is expected to do does not depend on what they let us see.

Among people who hold enough of everything (T), for each set S of it, by tenth of p(S) and by fairness group: the mean of
p(S) equals the mean of p(T) within 0.2 points of percent or 5 % of it, whichever is wider. Two one-sided tests at 5 %
(Schuirmann 1987): a cell passes when the 90 % interval of the mean difference lies within the margin, fails when it lies
outside, and is unknown otherwise or with too few people.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.validation import gates, invented
from benchmarks.validation.gates import Gate
from benchmarks.validation.invented import Population
from compliance.vocabulary import Categories
from scoring import evaluation, scorer
from scoring import rows as matrix_rows

PEOPLE = {"small": 12_000, "full": 120_000}
TENTHS, LEAST_PEOPLE = 10, 200
LEAST_MARGIN, MARGIN_SHARE = 0.002, 0.05
Z_90 = 1.6448536269514722
WORST_SHOWN = 5

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cell:
    """People of one tenth or group, seen with one set; `margin` is what the mean may differ by."""

    used: str
    group: str
    n: int
    difference: float
    reach: float  # half the 90 % interval
    margin: float

    @property
    def verdict(self) -> str:
        """Equal, different, or not known."""
        if self.n < LEAST_PEOPLE:
            return gates.UNKNOWN
        if abs(self.difference) + self.reach <= self.margin:
            return gates.PASS
        return gates.FAIL if abs(self.difference) - self.reach > self.margin else gates.UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """People who hold everything, not seen in training: their probability with each set."""

    probability: dict[Categories, Floats]
    everything: Categories
    defaulted: Flags
    sex: NDArray[np.str_]


def run(size: str) -> list[Gate]:
    """Compare every set with everything."""
    cells = list(_cells(seen_in(size)))
    failing = np.array([cell.verdict == gates.FAIL for cell in cells])
    known = np.array([cell.verdict != gates.UNKNOWN for cell in cells])
    worst = sorted(cells, key=lambda cell: cell.reach - abs(cell.difference) + cell.margin)[:WORST_SHOWN]
    return [
        gates.share("cells (set by tenth or group) that can be judged", known),
        gates.share("of those, cells in which p(S) and p(T) differ", failing[known], most=0.0),
        *(
            gates.figure(
                f"{cell.used or 'nothing'}, {cell.group}: mean p(S) - p(T), margin {cell.margin:.4f}",
                cell.difference,
                (cell.difference - cell.reach, cell.difference + cell.reach),
                cell.n,
            )
            for cell in worst
        ),
    ]


@cache
def seen_in(size: str) -> Seen:
    """The people of a size, drawn and scored once."""
    return seen_with_every_set(invented.population(PEOPLE[size], keep=False))


def seen_with_every_set(found: Population) -> Seen:
    """Score the people who hold everything with each set that may carry an answer."""
    model, matrix = found.model, found.matrix
    whole = np.flatnonzero(invented.enough(found).all(axis=1) & ~found.fit)
    everything = frozenset(model.categories)
    probability = {}
    for used in model.manifest.calibration:
        shared = np.array([category in used for category in model.categories])
        told = model.evaluate_many(
            *matrix_rows.of(matrix, whole),
            np.broadcast_to(shared, (len(whole), len(shared))),
        )
        probability[used] = np.where(
            told.points == scorer.NO_ANSWER, np.nan, evaluation.probability(told.log_odds)
        )
    return Seen(probability, everything, found.defaulted[whole], found.sex[whole])


def _cells(seen: Seen) -> Iterator[Cell]:
    whole = seen.probability[seen.everything]
    for used, part in seen.probability.items():
        both = np.isfinite(part) & np.isfinite(whole)
        if used == seen.everything or not both.any():
            continue
        name = "+".join(sorted(used))
        edges = np.quantile(part[both], np.linspace(0, 1, TENTHS + 1)[1:-1])
        tenth = np.searchsorted(edges, part)
        for number in range(TENTHS):
            yield _cell(name, f"tenth {number + 1}", part, whole, both & (tenth == number))
        for sex in np.unique(seen.sex):
            yield _cell(name, f"sex {sex}", part, whole, both & (seen.sex == sex))


def _cell(used: str, group: str, part: Floats, whole: Floats, rows: Flags) -> Cell:
    apart = part[rows] - whole[rows]
    n = len(apart)
    reach = Z_90 * float(apart.std(ddof=1)) / np.sqrt(n) if n > 1 else float("inf")
    margin = max(LEAST_MARGIN, MARGIN_SHARE * float(whole[rows].mean())) if n else LEAST_MARGIN
    return Cell(used, group, n, float(apart.mean()) if n else 0.0, float(reach), margin)
