"""Whether groups of people reach the better bands alike: ratios with their intervals, or too little evidence to say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compliance.canonical import Json
from scoring.evaluation import Z_95
from scoring.scorer import NO_ANSWER

Labels = NDArray[np.str_]

LEAST_ROWS = 100
"""Published: a group with fewer answers is not judged."""
FOUR_FIFTHS = 0.8
"""A group that reaches the better bands less than 4/5 as often as the best-off one (29 CFR 1607.4(D))."""
BETTER_BANDS = 2
"""Bands A and B."""
GROUPS_MAX = 50
UNKNOWN = ""
"""The label of whose group is not known: counted nowhere."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A group beside the one that reaches the better bands most often; without enough answers nothing is said."""

    group: str
    rows: int
    better: int
    ratio: float | None
    low: float | None
    high: float | None

    @property
    def share(self) -> float:
        """The share in the better bands."""
        return self.better / self.rows if self.rows else 0.0

    @property
    def red(self) -> bool:
        """Whether the whole 95 % interval of the ratio lies below four fifths."""
        return self.high is not None and self.high < FOUR_FIFTHS


def ratios(
    points: NDArray[np.integer[Any]], bands: Sequence[int], groups: Mapping[str, Labels]
) -> dict[str, tuple[Ratio, ...]]:
    """For each column of groups, each group's chance of a better band beside the best-off group's.

    `bands` are the least points of bands A to D; `groups[column]` has a label for each row, `UNKNOWN` where there
    is none. Rows without an answer are left out. A column of more than `GROUPS_MAX` labels is no grouping: ValueError.
    """
    answered = points != NO_ANSWER
    better = answered & (points >= bands[BETTER_BANDS - 1])
    return {column: _column(labels, answered, better) for column, labels in groups.items()}


def _column(labels: Labels, answered: NDArray[np.bool_], better: NDArray[np.bool_]) -> tuple[Ratio, ...]:
    names = [str(name) for name in np.unique(labels[answered]) if name != UNKNOWN]
    if len(names) > GROUPS_MAX:
        raise ValueError(f"{len(names)} labels are no grouping")
    counted = {
        name: (int((answered & (labels == name)).sum()), int((better & (labels == name)).sum()))
        for name in names
    }
    judged = {name: count for name, count in counted.items() if count[0] >= LEAST_ROWS and count[1] > 0}
    best = max(judged, key=lambda name: (judged[name][1] / judged[name][0], name), default=None)
    return tuple(_beside(name, counted[name], judged.get(best) if best else None) for name in names)


def _beside(group: str, count: tuple[int, int], best: tuple[int, int] | None) -> Ratio:
    rows, better = count
    if rows < LEAST_ROWS or best is None:
        return Ratio(group, rows, better, None, None, None)
    if count == best:
        return Ratio(group, rows, better, 1.0, 1.0, 1.0)
    best_rows, best_better = best
    ratio, low, high = relative(better, rows, best_better, best_rows)
    return Ratio(group, rows, better, ratio, low, high)


def relative(hits: int, trials: int, other_hits: int, other_trials: int) -> tuple[float, float, float]:
    """A ratio of two shares and its 95 % interval (Katz et al. 1978; with Walter's half added, so that none is empty)."""
    a, n, b, m = hits + 0.5, trials + 0.5, other_hits + 0.5, other_trials + 0.5
    middle = log(a / n) - log(b / m)
    reach = Z_95 * sqrt(max(1 / a - 1 / n + 1 / b - 1 / m, 0.0))
    return exp(middle), exp(middle - reach), exp(middle + reach)


def age_bands(ages: Sequence[int | None]) -> Labels:
    """The ten-year band of each age in whole years; `UNKNOWN` where it is not known."""
    return np.array([UNKNOWN if age is None else _age_band(age) for age in ages], np.str_)


def _age_band(age: int) -> str:
    tenth = min(max(age // 10, 1), 6)
    return {1: "under_20", 6: "60_and_over"}.get(tenth, f"{tenth}0_{tenth}9")


def encode(found: Mapping[str, Sequence[Ratio]]) -> dict[str, Json]:
    """As a card and a report keep it; what has too little evidence says so."""
    return {column: [_encoded(each) for each in column_ratios] for column, column_ratios in found.items()}


def _encoded(each: Ratio) -> dict[str, Json]:
    told: dict[str, Json] = {
        "group": each.group,
        "rows": each.rows,
        "better": each.better,
        "share": f"{each.share:.4f}",
        "evidence": "insufficient_evidence",
    }
    if each.ratio is None or each.low is None or each.high is None:
        return told
    numbers = {"ratio": each.ratio, "low": each.low, "high": each.high}
    return told | {"evidence": "enough"} | {name: f"{number:.4f}" for name, number in numbers.items()}


def is_red(told: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether any group of an encoded report is red; a group with too little evidence is not."""
    return any(
        each["evidence"] == "enough" and float(each["high"]) < FOUR_FIFTHS
        for column in told.values()
        for each in column
    )
