"""What a stored model says of itself: its inputs, calibration, intervals, minimum evidence and files."""

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from compliance import canonical
from compliance.refusals import Refusal
from compliance.vocabulary import Categories, Category
from scoring.policy import Minimum, Scale

MANIFEST, TREES, CATBOOST, CARD = "manifest.json", "model.json", "model.cbm", "card.json"
EXAMPLE = "example.json"
"""An invented person; a model that reads nothing of invented people has none."""
DECILES = "deciles.json"
FILES = frozenset({TREES, CATBOOST, CARD, EXAMPLE, DECILES})
"""What a model of the score may consist of, beside its manifest."""


class ModelAltered(Refusal):
    """A stored model is not byte for byte the one its digest names."""

    status, code, title = 503, "model_altered", "The stored model is not the one that was approved"


@dataclass(frozen=True, slots=True)
class Input:
    """One place in the vector that a model reads: a feature, whole, and the version of its reason."""

    name: str
    category: Category
    unit: str
    window_days: int | None
    monotone: int
    why: str
    reason: str
    expression: str
    reason_version: int


@dataclass(frozen=True, slots=True)
class Line:
    """Calibrated log-odds = intercept + slope * raw log-odds; the slope is above zero."""

    intercept: float
    slope: float


class Filed(Protocol):
    """A manifest of any kind: the hash of each file that the model consists of."""

    @property
    def files(self) -> Mapping[str, str]:
        """Lower-case hex by name."""
        ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that turns a vector into an answer, beside the trees.

    `half_widths[used]` are half the 80 % interval in points, one for each of the scale's `STEPS`.
    `cutoffs` are the least points of bands A to D. `about` holds how the model was made, as text.
    """

    inputs: tuple[Input, ...]
    calibration: Mapping[Categories, Line]
    half_widths: Mapping[Categories, tuple[float, ...]]
    minimum: Mapping[Category, Minimum]
    cutoffs: tuple[int, ...]
    scale: Scale
    horizon_days: int
    about: Mapping[str, str]
    files: Mapping[str, str]


def encode(manifest: Manifest) -> bytes:
    """Write canonically; numbers with a fraction as the shortest decimal string that reads back exactly."""
    return canonical.canonical(
        {
            "inputs": [asdict(each) for each in manifest.inputs],
            "calibration": {
                text(used): {"intercept": repr(line.intercept), "slope": repr(line.slope)}
                for used, line in manifest.calibration.items()
            },
            "half_widths": {text(used): [*map(repr, row)] for used, row in manifest.half_widths.items()},
            "minimum": {category.value: asdict(least) for category, least in manifest.minimum.items()},
            "cutoffs": manifest.cutoffs,
            "scale": manifest.scale.value,
            "horizon_days": manifest.horizon_days,
            "about": manifest.about,
            "files": manifest.files,
        }
    )


def decode(written: bytes) -> Manifest:
    """Read what `encode` wrote."""
    told: Mapping[str, Any] = json.loads(written)
    return Manifest(
        inputs=tuple(Input(**each | {"category": Category(each["category"])}) for each in told["inputs"]),
        calibration={
            categories(used): Line(float(line["intercept"]), float(line["slope"]))
            for used, line in told["calibration"].items()
        },
        half_widths={categories(used): tuple(map(float, row)) for used, row in told["half_widths"].items()},
        minimum={Category(category): Minimum(**least) for category, least in told["minimum"].items()},
        cutoffs=tuple(told["cutoffs"]),
        scale=Scale(told["scale"]),
        horizon_days=told["horizon_days"],
        about=told["about"],
        files=known_files(told["files"], FILES),
    )


def known_files(told: Mapping[str, str], known: Set[str]) -> Mapping[str, str]:
    """The hashes by name, none but of names that are known: a model from elsewhere may not name files of ours."""
    if not set(told) <= known:
        raise ModelAltered("the manifest names a file that is none of a model's")
    return told


def read(folder: Path) -> tuple[str, Manifest]:
    """Read a model's digest and manifest; refuse unless the folder's name and every file's hash agree."""
    manifest = decode(encoded(folder))
    for name in manifest.files:
        file(folder, manifest, name)
    return folder.name, manifest


def encoded(folder: Path) -> bytes:
    """The manifest of a model of any kind, as it is written; refused unless its hash is the folder's name."""
    written = _bytes(folder / MANIFEST)
    if sha256(written) != folder.name:
        raise ModelAltered(f"the manifest of {folder.name} was altered")
    return written


def file(folder: Path, manifest: Filed, name: str) -> bytes:
    """One of a model's files; refused unless its hash is the one in the manifest."""
    data = _bytes(folder / name)
    if sha256(data) != manifest.files[name]:
        raise ModelAltered(f"{name} of {folder.name} was altered")
    return data


def sha256(data: bytes) -> str:
    """Hash as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as missing:
        raise ModelAltered(f"{path.name} of {path.parent.name} cannot be read") from missing


def text(used: Categories) -> str:
    """A set of categories as a key."""
    return "+".join(sorted(used))


def categories(key: str) -> Categories:
    """Read what `text` wrote."""
    return frozenset(map(Category, key.split("+")))
