"""The score of a person from shared behaviour: the same bytes in, the same answer out, on any machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from compliance.refusals import Refusal
from compliance.vocabulary import Categories, Category
from scoring import explanation, manifest, policy, trees
from scoring.explanation import Cause, Reason
from scoring.manifest import Input, Line, Manifest
from scoring.policy import Confidence, Minimum, Scale

Values = NDArray[np.float32]
Flags = NDArray[np.bool_]
Counts = Mapping[Category, NDArray[np.int32]]

NO_ANSWER: Final = 0
"""Stands for points where the evidence is insufficient."""


class InsufficientEvidence(Refusal):
    """Too little shared behaviour for an answer; never a reason to treat the person worse."""

    status, code, title = 422, "insufficient_evidence", "There is too little shared data for an answer"

    def __init__(self) -> None:
        super().__init__("the shared data do not carry an answer; this is not an adverse result")


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much was recorded of one person before the cut-off, by category; absent means nothing."""

    events: Mapping[Category, int]
    active_days: Mapping[Category, int]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model says of one person; `interval` is the 80 % interval of the points.

    `not_used` are all other categories of the model: whether one was not asked for, refused, empty or too
    thin cannot be told from it.
    """

    points: int
    probability: Decimal
    band: str
    scale: Scale
    confidence: Confidence
    interval: tuple[int, int]
    used: tuple[Category, ...]
    not_used: tuple[Category, ...]
    reasons: tuple[Reason, ...]
    model: str


def pack(values: Values) -> bytes:
    """Stored form of a vector: little-endian float32, every missing value the same NaN."""
    return np.where(np.isnan(values), np.float32("nan"), values).astype("<f4").tobytes()


def unpack(stored: bytes) -> Values:
    """Read a stored vector; its length is checked against the model when it is evaluated."""
    return np.frombuffer(stored, "<f4").astype(np.float32, copy=False)


def filled(
    inputs: tuple[Input, ...],
    minimum: Mapping[Category, Minimum],
    values: Values,
    events: Counts,
    active_days: Counts,
) -> Flags:
    """Say for each row and category (sorted by name) whether there is a value and the minimum is reached.

    `values` is [row, input], `events` and `active_days` are [row]; the answer is [row, category].
    """
    known, none = ~np.isnan(values), np.zeros(len(values), np.int32)
    enough = np.zeros((len(values), len(minimum)), np.bool_)
    for place, category in enumerate(sorted(minimum)):
        least = minimum[category]
        columns = [n for n, each in enumerate(inputs) if each.category is category]
        enough[:, place] = (
            known[:, columns].any(axis=1)
            & (events.get(category, none) >= least.events)
            & (active_days.get(category, none) >= least.active_days)
        )
    return enough


def may_carry(categories: tuple[Category, ...], counted: Flags) -> Flags:
    """Say of each row whether its counted categories may carry an answer, as `policy.may_carry` does of one."""
    known = frozenset(categories)
    carrying = [policy.may_carry(frozenset({category}), known) for category in categories]
    return np.asarray(counted[:, carrying].any(axis=1))


def hide(values: Values, counted: Flags, category_of: NDArray[np.intp]) -> Values:
    """Make missing what is not counted: `values` [row, input], `counted` [row, category]."""
    return np.where(counted[:, category_of], values, np.float32("nan"))


@dataclass(frozen=True, slots=True, eq=False)
class Evaluations:
    """Many people at once: points, `NO_ANSWER` where refused; log-odds of default, NaN without calibration."""

    points: NDArray[np.int16]
    log_odds: NDArray[np.float64]


class Scorer:
    """A model in memory: built from its manifest and trees, immutable, safe to share between threads."""

    def __init__(self, digest: str, stated: Manifest, grown: trees.Trees) -> None:
        if grown.width != len(stated.inputs):
            raise ValueError(f"the trees read {grown.width} values, the manifest names {len(stated.inputs)}")
        self.digest = digest
        self.manifest = stated
        self.trees = grown
        self.categories = tuple(sorted(stated.minimum))
        self.category_of = np.array([self.categories.index(each.category) for each in stated.inputs], np.intp)
        told = [Cause(each.reason, each.reason_version, each.category) for each in stated.inputs]
        self._causes = tuple(dict.fromkeys(told))
        self._cause_of = np.array([self._causes.index(cause) for cause in told], np.intp)
        self._tabulate()

    @classmethod
    def load(cls, folder: Path) -> "Scorer":
        """Load a stored model; `ModelAltered` when a byte of it differs from what its digest names."""
        digest, stated = manifest.read(folder)
        return cls(digest, stated, trees.read(manifest.file(folder, stated, manifest.TREES)))

    def raw(self, values: Values) -> tuple[float, NDArray[np.float64]]:
        """Raw log-odds of default and the exact Shapley value of each input, which add up with `trees.base`."""
        return trees.explained(self.trees, values)

    def evaluate(self, values: Values, evidence: Evidence, shared: Categories) -> Evaluation:
        """Score one person from what was shared; everything else in `values` is never read.

        A category counts when it is shared, holds a value and reaches the model's minimum. Whether another
        was refused, never asked for, empty or thin changes no byte. `values` is float32 in the order of the
        inputs, NaN where unknown. Refuses `InsufficientEvidence`.
        """
        if values.shape != (len(self.manifest.inputs),):
            raise ValueError(
                f"{values.shape} is not one value for each of {len(self.manifest.inputs)} inputs"
            )
        known = filled(
            self.manifest.inputs,
            self.manifest.minimum,
            values[None, :],
            {category: np.array([n], np.int32) for category, n in evidence.events.items()},
            {category: np.array([n], np.int32) for category, n in evidence.active_days.items()},
        )[0]
        counted = known & [category in shared for category in self.categories]
        used = self._named(counted)
        line, half_widths = self._answerable(used)
        masked = hide(values[None, :], counted[None, :], self.category_of)[0]
        raw, added = self.raw(masked)
        log_odds = line.intercept + line.slope * raw
        points = policy.points(log_odds)
        half_width = half_widths[policy.place(points)]
        confidence = policy.confidence(half_width)
        if confidence is None:
            raise InsufficientEvidence
        return Evaluation(
            points=points,
            probability=policy.probability(log_odds),
            band=policy.band(points, self.manifest.cutoffs),
            scale=self.manifest.scale,
            confidence=confidence,
            interval=policy.interval(points, half_width),
            used=tuple(category for category in self.categories if category in used),
            not_used=tuple(category for category in self.categories if category not in used),
            reasons=explanation.reasons(
                added * (-policy.POINTS_PER_LOG_ODDS * line.slope),
                ~np.isnan(masked),
                self._cause_of,
                self._causes,
            ),
            model=self.digest,
        )

    def evaluate_many(
        self, values: Values, events: Counts, active_days: Counts, shared: Flags
    ) -> Evaluations:
        """Points of many people, each equal to `evaluate`'s.

        `values` is float32 [row, input], `events` and `active_days` are [row] by category, `shared` is
        [row, category] in the order of `categories`.
        """
        counted = filled(self.manifest.inputs, self.manifest.minimum, values, events, active_days) & shared
        raw = trees.raw(self.trees, hide(values, counted, self.category_of))
        return self.answers(counted @ (1 << np.arange(len(self.categories))), raw)

    def answers(self, used: NDArray[np.integer[Any]], raw: NDArray[np.float64]) -> Evaluations:
        """Turn raw log-odds into answers; bit n of `used` [row] says whether the n-th of `categories` counted."""
        log_odds = self._intercept[used] + self._slope[used] * raw
        known = ~np.isnan(log_odds)
        exact = policy.POINTS_AT_EVEN_ODDS - policy.POINTS_PER_LOG_ODDS * np.where(known, log_odds, 0.0)
        points = np.floor(np.clip(exact, policy.LOWEST_POINTS, policy.HIGHEST_POINTS) + 0.5).astype(np.int16)
        steps = (points - policy.LOWEST_POINTS) // policy.POINTS_STEP
        return Evaluations(np.where(known & self._sure[used, steps], points, np.int16(NO_ANSWER)), log_odds)

    def _tabulate(self) -> None:
        """For every set of categories, as the number whose bits they are: its line, and where it is sure enough."""
        sets = 1 << len(self.categories)
        self._intercept, self._slope = np.full(sets, np.nan), np.full(sets, np.nan)
        self._sure = np.zeros((sets, policy.STEPS), np.bool_)
        for used in self.manifest.calibration:
            try:
                line, half_widths = self._answerable(used)
            except InsufficientEvidence:
                continue
            number = sum(1 << self.categories.index(category) for category in used)
            self._intercept[number], self._slope[number] = line.intercept, line.slope
            self._sure[number] = [policy.confidence(half) is not None for half in half_widths]

    def _answerable(self, used: Categories) -> tuple[Line, tuple[float, ...]]:
        line, half_widths = self.manifest.calibration.get(used), self.manifest.half_widths.get(used)
        if not policy.may_carry(used, frozenset(self.categories)) or line is None or half_widths is None:
            raise InsufficientEvidence
        return line, half_widths

    def _named(self, counted: Flags) -> Categories:
        return frozenset(c for c, counts in zip(self.categories, counted, strict=True) if counts)
