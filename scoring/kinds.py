"""The kinds of model: which product a stored model is for, how it is read, and what stands against its promotion."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from scoring import card, manifest
from scoring.governance.shapes import IncomeCard, ScoreCard
from scoring.manifest import CARD, Filed, Input, ModelAltered

SCORE: Final = "behaviour_score"
INCOME: Final = "income"


class Stated(Filed, Protocol):
    """A manifest of any kind of model."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it reads."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """How the models of one product are read from their folder, what a card says, and what stands against promotion: codes.

    `target` is what their manifests name; those of the score name none.
    """

    target: str | None
    read: Callable[[Path], tuple[str, Stated]]
    card: type[ScoreCard | IncomeCard]
    obstacles: Callable[[Mapping[str, Any], Sequence[Input]], tuple[str, ...]]


_kinds: dict[str, Kind] = {SCORE: Kind(None, manifest.read, ScoreCard, card.obstacles)}


def declare(product: str, kind: Kind) -> None:
    """Declare another kind of model; whoever handles models imports the file that does."""
    _kinds[product] = kind


MALFORMED = (msgspec.ValidationError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored model, every file of which has the hash that its manifest says."""

    digest: str
    product: str
    stated: Stated
    card: Mapping[str, Any]


def read(folder: Path) -> Stored:
    """Read a model of either kind; `ModelAltered` where a byte is wrong, or where it, or its card, is none."""
    try:
        target = json.loads(manifest.encoded(folder)).get("target")
        product = {kind.target: product for product, kind in _kinds.items()}[target]
        digest, stated = _kinds[product].read(folder)
        told: dict[str, Any] = json.loads(manifest.file(folder, stated, CARD))
        msgspec.convert(told, _kinds[product].card)
    except MALFORMED as malformed:
        raise ModelAltered(f"{folder.name} is not a model: {malformed}") from malformed
    return Stored(digest, product, stated, told)


def obstacles(stored: Stored) -> tuple[str, ...]:
    """What stands against the promotion of a model: codes, none when nothing does."""
    return _kinds[stored.product].obstacles(stored.card, stored.stated.inputs)
