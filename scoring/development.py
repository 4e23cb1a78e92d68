"""Develop a model from a research set: read it under a permit, split it, train, measure on what was held back."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from compliance.vocabulary import Categories
from consent.permits import PopulationPermit
from scoring import behaviour as behaviours
from scoring import boosting, features, synthetic, training
from scoring.behaviour import Behaviour
from scoring.boosting import Recipe
from scoring.features import Feature, Matrix
from scoring.policy import Scale
from scoring.training import Artifact, CannotTrain

FIT_SHARE = 0.7
STANDARD_DAYS = 365
"""The standard target looks a year ahead: 90 or more days past due within 12 months."""
INVENTED, INVENTED_SEED, INVENTED_UNTIL = 1_000, 20_261_128, datetime(2026, 11, 1, tzinfo=UTC)
"""The people among whom a model's example is chosen."""
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Developed:
    """A trained model, the features of every application, and which applications were held back."""

    artifact: Artifact
    matrix: Matrix
    held_back: NDArray[np.bool_]
    split: str
    immature: int


def develop(
    permit: PopulationPermit,
    behaviour: Behaviour,
    categories: Categories,
    *,
    seed: int,
    threads: int,
    name: str | None = None,
    keep_learning: bool = False,
    recipe: Recipe = boosting.STANDARD,
    progress: Progress | None = None,
) -> Developed:
    """Train on the earlier 70 % of applications in time, or by a hash of the user where there is only one time.

    To `keep_learning` is to train once more on all of them when the held-out ones have been measured. Each application is seen as of its `decided_at`. Rows whose outcome was not observed for long enough are left out
    and counted; where `observed_until` is absent, `defaulted` is final.
    """
    if permit.basis != "research_set":
        raise CannotTrain("a model is developed on a research set, under its permit")
    labelled = behaviour.outcomes.filter(pl.col("defaulted").is_not_null()).sort("decided_at", "application")
    if labelled.is_empty():
        raise CannotTrain("no application has an outcome")
    scale, horizon_days = _target(labelled)
    mature = _mature(labelled, horizon_days)
    asked = labelled.select("user", pl.col("decided_at").alias("cutoff"), "amount", "tenor_days")
    matrix = features.compute(behaviour, asked, features.chosen(behaviour, categories))
    fit, how = split(labelled)
    artifact = training.train(
        matrix,
        labelled["defaulted"].to_numpy(),
        fit=fit & mature,
        validate=~fit & mature,
        seed=seed,
        threads=threads,
        scale=scale,
        horizon_days=horizon_days,
        about={
            "set": behaviour.name,
            "split": how,
            "permit": permit.digest,
            "stamp": "research_set",
            **({"name": name} if name else {}),
        },
        keep_learning=keep_learning,
        recipe=recipe,
        invented=_invented(matrix.features),
        progress=progress,
    )
    return Developed(artifact, matrix, ~fit, how, int((~mature).sum()))


def _invented(wanted: Sequence[Feature]) -> Matrix:
    """The same features of invented people; what they have no data for is missing, as it is of anybody."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "invented"
        synthetic.generate(folder, users=INVENTED, seed=INVENTED_SEED, cutoff=INVENTED_UNTIL)
        read = behaviours.read(folder, Path(scratch) / "quarantine")
    asked = read.outcomes.select("user", pl.col("decided_at").alias("cutoff"), "amount", "tenor_days")
    return features.compute(read, asked, wanted)


def _target(labelled: pl.DataFrame) -> tuple[Scale, int]:
    """The standard scale only where every outcome is 90 days past due, observed for a year; else the product's own."""
    observed = labelled.select((pl.col("observed_until") - pl.col("decided_at")).dt.total_days()).to_series()
    shortest = observed.drop_nulls().quantile(0.5)
    days = int(shortest) if shortest is not None else 0
    standard = days >= STANDARD_DAYS and labelled["days_past_due_max"].null_count() == 0
    return (Scale.STANDARD, STANDARD_DAYS) if standard else (Scale.PRODUCT, days)


def _mature(labelled: pl.DataFrame, horizon_days: int) -> NDArray[np.bool_]:
    if horizon_days < STANDARD_DAYS:  # loans of several tenors: each is observed to its own end
        return np.ones(labelled.height, np.bool_)
    observed = (pl.col("observed_until") - pl.col("decided_at")).dt.total_days()
    return labelled.select((observed >= horizon_days).fill_null(value=True)).to_series().to_numpy()


def split(labelled: pl.DataFrame) -> tuple[NDArray[np.bool_], str]:
    """Which rows [row], in the order of `decided_at`, are fitted on, and what that way of splitting is called."""
    moments: list[datetime] = labelled["decided_at"].to_list()
    if moments[0] == moments[-1]:
        hashed = [hashlib.sha256(user.encode()).digest()[0] / 256 for user in labelled["user"]]
        return np.array(hashed) < FIT_SHARE, "user_hash_70_30"
    earlier = np.arange(len(moments)) < int(len(moments) * FIT_SHARE)
    return earlier, "time_70_30"
