"""Some rows of a matrix, as models read them."""

from typing import Any

from numpy.typing import NDArray

from scoring.features import Matrix
from scoring.scorer import Counts, Values


def of(matrix: Matrix, rows: NDArray[Any]) -> tuple[Values, Counts, Counts]:
    """Values [row, input], events and active days [row] by category; `rows` are places, or flags of all rows."""
    return (
        matrix.values[rows],
        {category: counts[rows] for category, counts in matrix.events.items()},
        {category: counts[rows] for category, counts in matrix.active_days.items()},
    )
