"""Where a model finds its inputs in a vector that follows another model's list."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.manifest import Input, Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """For each input, and for each category (sorted by name), its place in the other model's list."""

    inputs: NDArray[np.intp]
    categories: tuple[int, ...]


def find(held: Manifest, wanted: Manifest) -> Places | None:
    """Where the inputs of one model stand in vectors of another; None unless each is there, measured the same way."""
    at = {_measure(each): place for place, each in enumerate(held.inputs)}
    categories = sorted(held.minimum)
    places = [at.get(_measure(each)) for each in wanted.inputs]
    if None in places or not set(wanted.minimum) <= set(categories):
        return None
    return Places(np.array(places, np.intp), tuple(categories.index(each) for each in sorted(wanted.minimum)))


def _measure(each: Input) -> tuple[str, str, str, int | None]:
    """What makes two inputs the same measure."""
    return each.name, each.category, each.expression, each.window_days
