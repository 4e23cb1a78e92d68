"""What a stored income model says of itself: its inputs, minimum evidence, widening, bands and files."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from compliance import canonical
from compliance.vocabulary import Categories, Category
from scoring import manifest
from scoring.manifest import CARD, Input
from scoring.policy import Minimum

TARGET: Final = "income"
LOWER, MEDIAN, UPPER = "lower.json", "median.json", "upper.json"
QUANTILES: Mapping[str, float] = {LOWER: 0.1, MEDIAN: 0.5, UPPER: 0.9}
"""Which quantile of the logarithm of the income the trees of each file estimate."""
FILES = frozenset({*QUANTILES, CARD})
"""What an income model may consist of, beside its manifest."""


@dataclass(frozen=True, slots=True)
class IncomeManifest:
    """Everything that turns a vector into an income, beside the trees.

    `widening[used]` is what the two outer quantiles move outwards, in logarithms, for the interval to hold 80 % of
    people the model has not seen. `edges` are the least amounts of the second band and of each one after it; amounts
    are a month's, in whole units of the currency. `about` holds how the model was made, as text.
    """

    inputs: tuple[Input, ...]
    minimum: Mapping[Category, Minimum]
    widening: Mapping[Categories, float]
    edges: tuple[int, ...]
    currency: str
    about: Mapping[str, str]
    files: Mapping[str, str]


def encode(stated: IncomeManifest) -> bytes:
    """Write canonically; numbers with a fraction as the shortest decimal string that reads back exactly."""
    return canonical.canonical(
        {
            "target": TARGET,
            "inputs": [asdict(each) for each in stated.inputs],
            "minimum": {category.value: asdict(least) for category, least in stated.minimum.items()},
            "widening": {manifest.text(used): repr(width) for used, width in stated.widening.items()},
            "edges": stated.edges,
            "currency": stated.currency,
            "about": stated.about,
            "files": stated.files,
        }
    )


def decode(written: bytes) -> IncomeManifest:
    """Read what `encode` wrote; a model of another kind is none of ours (`ModelAltered`)."""
    told: Mapping[str, Any] = json.loads(written)
    if told.get("target") != TARGET:
        raise manifest.ModelAltered("the stored model does not estimate incomes")
    return IncomeManifest(
        inputs=tuple(Input(**each | {"category": Category(each["category"])}) for each in told["inputs"]),
        minimum={Category(category): Minimum(**least) for category, least in told["minimum"].items()},
        widening={manifest.categories(used): float(width) for used, width in told["widening"].items()},
        edges=tuple(told["edges"]),
        currency=told["currency"],
        about=told["about"],
        files=manifest.known_files(told["files"], FILES),
    )


def read(folder: Path) -> tuple[str, IncomeManifest]:
    """Read a model's digest and manifest; refuse unless the folder's name and every file's hash agree."""
    stated = decode(manifest.encoded(folder))
    for name in stated.files:
        manifest.file(folder, stated, name)
    return folder.name, stated
