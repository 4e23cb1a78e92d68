"""Invented people with a model of their own: drawn in parts, so that many fit into a small memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.validation import ours
from benchmarks.validation.statements import Raw
from compliance.vocabulary import Category
from scoring import behaviour, boosting, features, scorer, synthetic
from scoring.behaviour import Behaviour
from scoring.boosting import Recipe
from scoring.features import Feature, Matrix
from scoring.scorer import Scorer

UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
PART = 20_000
SEED = 2_026
FIT_SHARE = 0.6
OF_FEW = Recipe(trees=150, student_trees=100, learning_rate=0.05, folds=3, twins=4)
"""Few people only try the checks themselves; of many, models are made as everybody's are."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """People with a model that learnt from the `fit` ones only; `parts` is the behaviour, `PART` people each."""

    model: Scorer
    matrix: Matrix
    defaulted: Flags
    fit: Flags
    sex: NDArray[np.str_]
    parts: tuple[Behaviour, ...]


def population(
    people: int, *, seed: int = SEED, signal: float = 1.0, fit: int | None = None, keep: bool = True
) -> Population:
    """Draw people, of whom the first `fit` teach a model; without `keep` their raw behaviour is let go."""
    parts = list(_parts(people, seed, signal, keep=keep))
    matrix = joined([part[0] for part in parts])
    defaulted = np.concatenate([part[1] for part in parts])
    learn = np.arange(people) < (int(people * FIT_SHARE) if fit is None else fit)
    model = learnt(matrix, defaulted, learn)
    sex = np.concatenate([part[2] for part in parts])
    return Population(
        model, matrix, defaulted, learn, sex, tuple(part[3] for part in parts if part[3] is not None)
    )


def people(number: int, *, seed: int = SEED) -> tuple[Matrix, Flags]:
    """What is measured of people, and who defaulted."""
    parts = list(_parts(number, seed, 1.0, keep=False))
    return joined([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def learnt(matrix: Matrix, defaulted: Flags, fit: Flags, *, seed: int = 7) -> Scorer:
    """A model in memory."""
    recipe = OF_FEW if fit.sum() < boosting.MANY_ROWS else None
    return ours.trained(matrix, defaulted, fit, seed=seed, recipe=recipe)


def enough(found: Population) -> Flags:
    """Which categories of each row count, [row, category]."""
    stated, matrix = found.model.manifest, found.matrix
    return scorer.filled(stated.inputs, stated.minimum, matrix.values, matrix.events, matrix.active_days)


def raws(found: Population, rows: Sequence[int]) -> list[Raw]:
    """The raw events of some people, for whoever checks a statement."""
    return [_raw(found.parts[row // PART], row % PART) for row in rows]


def _raw(part: Behaviour, row: int) -> Raw:
    asked = part.outcomes.row(row, named=True)
    mine = pl.col("user") == asked["user"]
    return Raw(
        at=asked["decided_at"],
        events=part.events.filter(mine).to_dicts(),
        profile=part.profiles.filter(mine).row(0, named=True),
        asked={name: asked[name] for name in ("amount", "tenor_days")},
        category_of={column.name: column.category for column in part.schema.profiles},
    )


def _parts(
    people: int, seed: int, signal: float, *, keep: bool
) -> Iterator[tuple[Matrix, Flags, NDArray[np.str_], Behaviour | None]]:
    chosen: tuple[Feature, ...] = ()
    for number, first in enumerate(range(0, people, PART)):
        drawn = draw(min(PART, people - first), seed=seed + number, signal=signal)
        asked = behaviour.applications(drawn.outcomes)
        chosen = chosen or features.chosen(drawn, frozenset(Category))
        sex = asked.join(drawn.profiles.select("user", "sex"), on="user", maintain_order="left")["sex"]
        yield (
            features.compute(drawn, asked, chosen),
            drawn.outcomes["defaulted"].to_numpy(),
            sex.to_numpy().astype(np.str_),
            drawn if keep else None,
        )


def draw(people: int, *, seed: int = SEED, signal: float = 1.0, until: datetime = UNTIL) -> Behaviour:
    """Behaviour of invented people `until` a day, read like any research set."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "invented"
        synthetic.generate(folder, users=people, seed=seed, cutoff=until, signal=signal)
        return behaviour.read(folder, Path(scratch) / "quarantine")


def joined(parts: Sequence[Matrix]) -> Matrix:
    """The rows of several matrices of the same features; the same name in two of them is two people."""
    return replace(
        parts[0],
        users=tuple(f"{number}-{user}" for number, part in enumerate(parts) for user in part.users),
        cutoffs=tuple(cutoff for part in parts for cutoff in part.cutoffs),
        values=np.asfortranarray(np.concatenate([part.values for part in parts])),
        events={c: np.concatenate([part.events[c] for part in parts]) for c in parts[0].events},
        active_days={
            c: np.concatenate([part.active_days[c] for part in parts]) for c in parts[0].active_days
        },
    )
