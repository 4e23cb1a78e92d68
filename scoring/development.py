"""Develop a model from a research set: read it under a permit, split it, train, measure on what was held back."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from compliance.vocabulary import Categories
from consent.permits import PopulationPermit
from scoring import behaviour as behaviours
from scoring import boosting, card, features, synthetic, training
from scoring.behaviour import Behaviour
from scoring.boosting import Recipe
from scoring.evaluation import Flags
from scoring.features import Feature, Matrix
from scoring.governance import groups
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


def develop(
    permit: PopulationPermit,
    behaviour: Behaviour,
    categories: Categories,
    *,
    seed: int,
    threads: int,
    name: str | None = None,
    keep_learning: bool = False,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> Developed:
    """Train on the earlier 70 % of applications in time, or by a hash of the user where there is only one time.

    To `keep_learning` is to train once more on all of them when the held-out ones have been measured. Each application is seen as of its `decided_at`. Rows whose outcome was not observed for long enough are left out
    and counted; where `observed_until` is absent, `defaulted` is final.
    """
    labelled = _labelled(permit, behaviour)
    scale, horizon_days = _target(labelled)
    mature, chosen = _mature(labelled, horizon_days), features.chosen(behaviour, categories)
    matrix = features.compute(behaviour, behaviours.applications(labelled), chosen)
    bad, named = labelled["defaulted"].to_numpy(), {"name": name} if name else {}
    fit, held, how = split(labelled, bad & mature, least=card.LEAST_DEFAULTS)
    artifact = training.train(
        matrix,
        bad,
        fit=fit & mature,
        validate=held & mature,
        seed=seed,
        threads=threads,
        scale=scale,
        horizon_days=horizon_days,
        about={"set": behaviour.name, "split": how, "stamp": "research_set", **named},
        learn_again=mature if keep_learning else None,
        recipe=recipe or boosting.recipe_for(labelled.height),
        invented=_invented(matrix.features),
        groups=groups.of(behaviour, matrix.users, matrix.cutoffs),
        progress=progress,
    )
    return Developed(artifact, matrix, held, how)


def _labelled(permit: PopulationPermit, behaviour: Behaviour) -> pl.DataFrame:
    """The applications of a research set whose outcome is known, in the order of time."""
    if permit.basis != "research_set":
        raise CannotTrain("a model is developed on a research set, under its permit")
    labelled = behaviour.outcomes.filter(pl.col("defaulted").is_not_null()).sort("decided_at", "application")
    if labelled.is_empty():
        raise CannotTrain("no application has an outcome")
    return labelled


def _invented(wanted: Sequence[Feature]) -> Matrix:
    """The same features of invented people; what they have no data for is missing, as it is of anybody."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "invented"
        synthetic.generate(folder, users=INVENTED, seed=INVENTED_SEED, cutoff=INVENTED_UNTIL)
        read = behaviours.read(folder, Path(scratch) / "quarantine")
    asked = behaviours.applications(read.outcomes)
    return features.compute(read, asked, wanted)


def _target(labelled: pl.DataFrame) -> tuple[Scale, int]:
    """The standard scale only where every outcome is 90 days past due, observed for a year; else the product's own."""
    usual = labelled.select(_observed_days()).to_series().drop_nulls().median()
    days = min(int(float(str(usual))), STANDARD_DAYS) if usual is not None else 0
    standard = days == STANDARD_DAYS and labelled["days_past_due_max"].null_count() == 0
    return (Scale.STANDARD if standard else Scale.PRODUCT), days


def _observed_days() -> pl.Expr:
    return (pl.col("observed_until") - pl.col("decided_at")).dt.total_days()


def _mature(labelled: pl.DataFrame, horizon_days: int) -> NDArray[np.bool_]:
    """Seen through to the horizon, or defaulted before it: but only of vintages that can all have been seen through.

    Otherwise the newest would be known by their defaults alone. Where `observed_until` is absent, the outcome is final.
    """
    if horizon_days < STANDARD_DAYS:  # loans of several tenors: each is observed to its own end
        return np.ones(labelled.height, np.bool_)
    seen_through = _observed_days() >= horizon_days
    of_old_vintage = pl.col("decided_at") + timedelta(days=horizon_days) <= pl.col("observed_until").max()
    mature = seen_through | (pl.col("defaulted") & of_old_vintage)
    return labelled.select(mature.fill_null(value=True)).to_series().to_numpy()


def split(labelled: pl.DataFrame, counted: Flags, *, least: int) -> tuple[Flags, Flags, str]:
    """Which rows [row], in the order of `decided_at`, are fitted on, which are held out, and how they were split.

    In time: the later rows of people who have no earlier one, where these hold the `least` of what is `counted`; else
    all later rows. By a hash of the user where there is one time only.
    """
    moments: list[datetime] = labelled["decided_at"].to_list()
    if moments[0] == moments[-1]:
        hashed = [hashlib.sha256(user.encode()).digest()[0] / 256 for user in labelled["user"]]
        fit = np.array(hashed) < FIT_SHARE
        return fit, ~fit, "user_hash_70_30"
    fit = np.arange(len(moments)) < int(len(moments) * FIT_SHARE)
    known = labelled["user"].is_in(labelled["user"].filter(pl.Series(fit)).implode()).to_numpy()
    if (counted & ~fit & ~known).sum() >= least:
        return fit, ~fit & ~known, "time_70_30_new_people"
    return fit, ~fit, "time_70_30"
