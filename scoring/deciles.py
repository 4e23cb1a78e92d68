"""How the people a model was trained on are spread: the deciles of each feature, kept with the model."""

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from compliance import canonical
from scoring.features import Matrix

TENTHS = np.arange(1, 10) / 10
Deciles = Mapping[str, NDArray[np.float32]]
"""By the name of the feature, nine rising values that people really have; a feature that nobody has is left out."""


def write(matrix: Matrix, rows: NDArray[np.intp]) -> bytes:
    """The deciles of these rows as canonical JSON: values that occur, as the shortest decimals that read back exactly."""
    told = {}
    for place, feature in enumerate(matrix.features):
        known = matrix.values[rows, place]
        known = known[~np.isnan(known)]
        if known.size:
            values = np.quantile(known, TENTHS, method="inverted_cdf")
            told[feature.name] = [repr(float(value)) for value in values]
    return canonical.canonical(told)


def read(written: bytes) -> Deciles:
    """Read what `write` wrote."""
    return {name: np.array(values, np.float32) for name, values in json.loads(written).items()}
