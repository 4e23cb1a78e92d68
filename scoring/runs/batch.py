"""Score one shard: a pure function of its file and the model, run by whatever has a processor to spare."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import catboost
import numpy as np
import polars as pl
from numpy.typing import NDArray

from scoring import manifest
from scoring.runs import shards
from scoring.runs.faults import ShardUnusable
from scoring.runs.plans import Scored
from scoring.runs.shards import Stamp, Written
from scoring.scorer import Evaluations, Scorer

HIDDEN = np.uint32(0xFFFFFFFF)
"""With all its bits set a float32 is missing, whatever it was."""


@dataclass(frozen=True, slots=True)
class Work:
    """A shard to score: where its features are, what they must be, and where its points go."""

    number: int
    features: Path
    written: Written
    points: Path
    model: Path
    stamp: Stamp


def score_shard(work: Work) -> Scored:
    """Score a shard and write its points in one step: the same files in, the same bytes out, as often as it is done.

    Raises `ShardUnusable` where the features are damaged, or of another model, permit or moment than `work` says, and
    `ModelAltered`.
    """
    batch = _loaded(work.model)
    if batch.scorer.digest != work.stamp.model:
        raise ShardUnusable(f"the run is of model {work.stamp.model}, not {batch.scorer.digest}")
    people = shards.read_features(work.features, work.stamp, work.written.crc32, *batch.shape)
    found = batch.evaluate(people)
    digest = shards.write_points(work.points, work.stamp, people, found, batch.scorer.manifest.cutoffs)
    return Scored(
        work.number, people.height, int(np.count_nonzero(found.points)), work.written.digest, digest
    )


class Batch:
    """A model that scores many people at once: CatBoost adds up the trees, and the rest is the online scorer's own."""

    def __init__(self, folder: Path) -> None:
        self.scorer = Scorer.load(folder)
        self.shape = (len(self.scorer.manifest.inputs), len(self.scorer.categories))
        self._booster = catboost.CatBoost()
        self._booster.load_model(blob=manifest.file(folder, self.scorer.manifest, manifest.CATBOOST))
        self._room = np.empty(0, np.float32)

    def evaluate(self, people: pl.DataFrame) -> Evaluations:
        """Answers of the rows of a feature shard, each to the bit what `Scorer.evaluate` says."""
        masks = people[shards.MASK].to_numpy()
        inputs, categories = self.shape
        if masks.size and int(masks.max()) >> categories:
            raise ShardUnusable(f"a mask names more than the model's {categories} categories")
        values = [people[f"value_{n}"].to_numpy() for n in range(inputs)]
        counted = self._counted(people, values, masks)
        used = np.zeros(len(masks), np.intp)
        for n, counts in enumerate(counted):
            used |= counts.astype(np.intp) << n
        return self.scorer.answers(used, self._raw(values, counted))

    def _counted(
        self, people: pl.DataFrame, values: list[NDArray[np.float32]], masks: NDArray[np.uint16]
    ) -> list[NDArray[np.bool_]]:
        """For each category, in whose rows it counts: shared, with a value, and the model's minimum reached."""
        known = [np.zeros(len(masks), np.bool_) for _ in self.scorer.categories]
        for column, n in zip(values, self.scorer.category_of, strict=True):
            known[n] |= column == column  # noqa: PLR0124 - a missing value does not equal itself
        for n, category in enumerate(self.scorer.categories):
            least = self.scorer.manifest.minimum[category]
            known[n] &= people[f"events_{n}"].to_numpy() >= least.events
            known[n] &= people[f"active_days_{n}"].to_numpy() >= least.active_days
            known[n] &= (masks >> n & 1).astype(np.bool_)
        return known

    def _raw(
        self, values: list[NDArray[np.float32]], counted: list[NDArray[np.bool_]]
    ) -> NDArray[np.float64]:
        """Raw log-odds from what is counted, everything else being hidden."""
        rows, inputs = len(counted[0]), len(values)
        if not rows:
            return np.empty(0)
        if self._room.size < rows * inputs:
            self._room = np.empty(rows * inputs, np.float32)
        # A column after the other: CatBoost reads that three times as fast, and without a copy.
        room = self._room[: rows * inputs].reshape((rows, inputs), order="F")
        words = room.view(np.uint32)
        hidden = [np.where(counts, np.uint32(0), HIDDEN) for counts in counted]
        for place, (column, n) in enumerate(zip(values, self.scorer.category_of, strict=True)):
            np.bitwise_or(column.view(np.uint32), hidden[n], out=words[:, place])
        raw = self._booster.predict(room, prediction_type="RawFormulaVal", thread_count=1)
        return np.asarray(raw, np.float64)


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> Batch:
    return Batch(folder)
