"""How far a distribution has moved since a model was made: PSI of its points, CSI of each input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compliance.canonical import Json
from scoring import policy
from scoring.manifest import Input
from scoring.scorer import NO_ANSWER, Values

Counts = NDArray[np.int64]

BINS = 10
SHIFTING, RED = 0.10, 0.25
"""The usual reading of a PSI (Siddiqi 2006): below 0.10 stable, above 0.25 another population."""
LEAST_ROWS = 200
"""Fewer rows say nothing: with ten bins chance alone gives a PSI of 0.05."""
EMPTY_BIN = 0.5
"""Rows that a bin without any counts as, so that the logarithm is finite."""
POINTS_EDGES = tuple(
    range(policy.LOWEST_POINTS + policy.POINTS_STEP, policy.HIGHEST_POINTS, policy.POINTS_STEP)
)


class Drift(StrEnum):
    """What a PSI means."""

    STABLE = "stable"
    SHIFTING = "shifting"
    RED = "red"
    INSUFFICIENT = "insufficient_evidence"


@dataclass(frozen=True, slots=True)
class Profile:
    """How a quantity was distributed: rows between the rising `edges` (an edge belongs to the bin above), and without a value."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int

    @property
    def rows(self) -> int:
        """Rows with a value."""
        return sum(self.counts)


def profile(values: NDArray[np.floating[Any]]) -> Profile:
    """Tenths of what is known; a value that a tenth or more share has a bin of its own, so that what is rare is seen."""
    known = values[~np.isnan(values)].astype(np.float64)
    if not known.size:
        return profiled(values, ())
    tenths = np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf")
    edges, times = np.unique(tenths, return_counts=True)
    closed = np.nextafter(edges[times > 1], np.inf)
    return profiled(values, tuple(float(edge) for edge in np.union1d(edges, closed)))


def profiled(values: NDArray[np.floating[Any]], edges: Sequence[float]) -> Profile:
    """How values fall between edges that were fixed before."""
    known = values[~np.isnan(values)].astype(np.float64)
    places = np.searchsorted(np.array(edges, np.float64), known, side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return Profile(tuple(edges), tuple(int(n) for n in counts), int(values.size - known.size))


def points_profile(points: NDArray[np.integer[Any]]) -> Profile:
    """How points fall on the scale, in steps of 50; who got no answer has no value."""
    return profiled(np.where(points == NO_ANSWER, np.nan, points.astype(np.float64)), POINTS_EDGES)


def added(one: Profile, other: Profile) -> Profile:
    """Two parts of one population."""
    return Profile(
        one.edges,
        tuple(a + b for a, b in zip(one.counts, other.counts, strict=True)),
        one.missing + other.missing,
    )


def psi(then: Profile, now: Profile) -> float:
    """Population stability index: sum of (now - then) * ln(now / then) over the shares of the bins; never below 0.

    Rows without a value are left out: whether somebody shares a kind of data is their choice, and no drift.
    """
    before, after = _shares(then), _shares(now)
    return float(((after - before) * np.log(after / before)).sum())


def read(then: Profile, now: Profile) -> tuple[Drift, float]:
    """What has become of a distribution, and its PSI."""
    index = psi(then, now)
    if min(then.rows, now.rows) < LEAST_ROWS:
        return Drift.INSUFFICIENT, index
    return (Drift.RED if index > RED else Drift.SHIFTING if index > SHIFTING else Drift.STABLE), index


def of_inputs(inputs: Sequence[Input], values: Values) -> dict[str, Profile]:
    """A profile of each input, by its name; `values` is [row, input]."""
    return {each.name: profile(values[:, place]) for place, each in enumerate(inputs)}


def encode(told: Profile) -> dict[str, Json]:
    """As a card keeps it: edges as the shortest decimal strings that read back exactly."""
    return {
        "edges": [repr(edge) for edge in told.edges],
        "counts": list(told.counts),
        "missing": told.missing,
    }


def decode(told: Mapping[str, Any]) -> Profile:
    """Read what `encode` wrote."""
    return Profile(tuple(float(edge) for edge in told["edges"]), tuple(told["counts"]), told["missing"])


def _shares(told: Profile) -> NDArray[np.float64]:
    rows = np.maximum(np.array(told.counts, np.float64), EMPTY_BIN)
    return np.asarray(rows / rows.sum())
