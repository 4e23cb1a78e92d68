"""The research sets on which the score is tried: those that are in the folder that `XINQIAO_SETS` names."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from compliance.vocabulary import Category
from scoring import behaviour, features
from scoring.behaviour import Behaviour
from scoring.evaluation import Flags
from scoring.features import Feature, Matrix
from scoring.governance import groups
from scoring.governance.fairness import Labels


@dataclass(frozen=True, slots=True, eq=False)
class Set:
    """Applications in the order of time; `groups` are labels [row] that no model reads."""

    name: str
    matrix: Matrix
    outcomes: pl.DataFrame
    groups: Mapping[str, Labels]

    @property
    def bad(self) -> Flags:
        """Who defaulted [row]."""
        return self.outcomes["defaulted"].to_numpy()


def there(names: Sequence[str]) -> Iterator[Set]:
    """Those of the sets that are there; what is not is said."""
    folder = Path(os.environ.get("XINQIAO_SETS", ""))
    for name in names:
        if (folder / name / "schema.json").exists():
            with TemporaryDirectory() as aside:
                yield of(behaviour.read(folder / name, Path(aside)))
        else:
            print(f"{name} is not in XINQIAO_SETS: left out", flush=True)


def of(read: Behaviour, wanted: Sequence[Feature] = ()) -> Set:
    """What is measured of every application whose outcome is known: what is `wanted`, or all that these data can fill.

    Columns whose roles lack `feature` are no features.
    """
    labelled = read.outcomes.filter(pl.col("defaulted").is_not_null()).sort("decided_at", "application")
    chosen = wanted or features.chosen(read, frozenset(Category))
    matrix = features.compute(read, behaviour.applications(labelled), chosen)
    return Set(read.name, matrix, labelled, groups.of(read, matrix.users, matrix.cutoffs))
