"""The income of a person from shared behaviour: an amount, the range around it, and a band; pure and replayable."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from compliance.vocabulary import Categories, Category
from scoring import manifest, scorer, trees
from scoring.answers import amounts, income_manifest
from scoring.answers.amounts import Amounts, Floats
from scoring.answers.income_manifest import LOWER, MEDIAN, UPPER, IncomeManifest
from scoring.policy import Confidence
from scoring.scorer import Counts, Evidence, Flags, InsufficientEvidence, Values
from scoring.trees import Trees

NO_ANSWER: Final = 0
"""Stands for amounts where the evidence is insufficient."""
CONFIDENCE_UP_TO_TIMES = ((2.0, Confidence.HIGH), (3.0, Confidence.MEDIUM), (6.0, Confidence.LOW))
"""How many times its lowest amount the highest of the interval may be; beyond the last there is no answer."""


@dataclass(frozen=True, slots=True)
class IncomeEstimate:
    """What a model says of one person's income, in whole units of `currency` a month.

    `low` and `high` bound the 80 % interval. `not_used` are all other categories of the model: whether one was not
    asked for, refused, empty or too thin cannot be told from it.
    """

    point: int
    low: int
    high: int
    band: str
    currency: str
    confidence: Confidence
    used: tuple[Category, ...]
    not_used: tuple[Category, ...]
    model: str


@dataclass(frozen=True, slots=True, eq=False)
class IncomeEstimates:
    """Many people at once: the same amounts, `NO_ANSWER` where refused."""

    point: Amounts
    low: Amounts
    high: Amounts


class IncomeModel:
    """An income model in memory: immutable, safe to share between threads.

    Unlike a score, an estimate may rest on what the person stated alone: it says what such people earn, and its
    range says how little that is.
    """

    def __init__(self, digest: str, stated: IncomeManifest, grown: Mapping[str, Trees]) -> None:
        if any(each.width != len(stated.inputs) for each in grown.values()):
            raise ValueError(f"the manifest names {len(stated.inputs)} inputs, the trees read others")
        self.digest = digest
        self.manifest = stated
        self.trees = grown
        self.categories = tuple(sorted(stated.minimum))
        self.category_of = np.array([self.categories.index(each.category) for each in stated.inputs], np.intp)

    @classmethod
    def load(cls, folder: Path) -> "IncomeModel":
        """Load a stored model; `ModelAltered` when a byte of it differs from what its digest names."""
        digest, stated = income_manifest.read(folder)
        files = (LOWER, MEDIAN, UPPER)
        return cls(digest, stated, {name: trees.read(manifest.file(folder, stated, name)) for name in files})

    def evaluate(self, values: Values, evidence: Evidence, shared: Categories) -> IncomeEstimate:
        """Estimate one person's income from what was shared; everything else in `values` is never read.

        A category counts when it is shared, holds a value and reaches the model's minimum; whether another was
        refused, never asked for, empty or thin changes no byte. Refuses `InsufficientEvidence`.
        """
        one = values[None, :]
        events = {category: np.array([n], np.int32) for category, n in evidence.events.items()}
        days = {category: np.array([n], np.int32) for category, n in evidence.active_days.items()}
        flags = np.array([[category in shared for category in self.categories]])
        counted = self._counted(one, events, days, flags)
        found = self._estimates(one, counted)
        point, low, high = int(found.point[0]), int(found.low[0]), int(found.high[0])
        sure = confidence(low, high)
        if sure is None:
            raise InsufficientEvidence
        used = self._named(counted[0])
        return IncomeEstimate(
            point=point,
            low=low,
            high=high,
            band=band(point, self.manifest.edges),
            currency=self.manifest.currency,
            confidence=sure,
            used=tuple(category for category in self.categories if category in used),
            not_used=tuple(category for category in self.categories if category not in used),
            model=self.digest,
        )

    def evaluate_many(
        self, values: Values, events: Counts, active_days: Counts, shared: Flags
    ) -> IncomeEstimates:
        """Estimate many people's incomes, each equal to `evaluate`'s; `shared` is [row, category] in the order of `categories`."""
        return self._estimates(values, self._counted(values, events, active_days, shared))

    def quantiles(self, values: Values) -> Mapping[str, Floats]:
        """The raw quantiles of the logarithm by file, of rows in which what is not used is already hidden."""
        return {name: trees.raw(grown, values) for name, grown in self.trees.items()}

    def _counted(self, values: Values, events: Counts, active_days: Counts, shared: Flags) -> Flags:
        if values.shape[1] != len(self.manifest.inputs):
            raise ValueError(f"{values.shape[1]} values a row; the model reads {len(self.manifest.inputs)}")
        filled = scorer.filled(self.manifest.inputs, self.manifest.minimum, values, events, active_days)
        return np.asarray(filled & shared)

    def _estimates(self, values: Values, counted: Flags) -> IncomeEstimates:
        raw = self.quantiles(scorer.hide(values, counted, self.category_of))
        widening = self._widening(counted)
        low, high = told_interval(raw, widening)
        point = amounts.told(raw[MEDIAN])
        answered = ~np.isnan(widening) & (high <= CONFIDENCE_UP_TO_TIMES[-1][0] * low)
        return IncomeEstimates(*(np.where(answered, each, NO_ANSWER) for each in (point, low, high)))

    def _widening(self, counted: Flags) -> Floats:
        """The widening of each row by the categories that it uses; NaN where the model has none for them."""
        pattern = counted @ (1 << np.arange(len(self.categories)))
        found = np.full(len(counted), np.nan)
        for number in np.unique(pattern):
            rows = np.flatnonzero(pattern == number)
            found[rows] = self.manifest.widening.get(self._named(counted[rows[0]]), np.nan)
        return found

    def _named(self, counted: NDArray[np.bool_]) -> Categories:
        return frozenset(c for c, counts in zip(self.categories, counted, strict=True) if counts)


def told_interval(raw: Mapping[str, Floats], widening: Floats | float) -> tuple[Amounts, Amounts]:
    """The interval as it is told: the outer quantiles, never inside the median, moved outwards and rounded."""
    low = np.minimum(raw[LOWER], raw[MEDIAN]) - widening
    high = np.maximum(raw[UPPER], raw[MEDIAN]) + widening
    point = amounts.told(raw[MEDIAN])
    return np.minimum(amounts.told(low), point), np.maximum(amounts.told(high), point)


def band(point: int, edges: tuple[int, ...]) -> str:
    """The band of an amount, named by its bounds; the lower one is in it."""
    above = sum(point >= edge for edge in edges)
    if above == 0:
        return f"below_{edges[0]}"
    return f"from_{edges[-1]}" if above == len(edges) else f"{edges[above - 1]}_{edges[above] - 1}"


def confidence(low: int, high: int) -> Confidence | None:
    """How narrow the interval is; None where it is too wide for an answer, or there is none."""
    if low == NO_ANSWER:
        return None
    return next((level for times, level in CONFIDENCE_UP_TO_TIMES if high <= times * low), None)
