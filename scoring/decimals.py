"""How a card writes figures: decimal strings of four places, since canonical JSON has no floats."""

from typing import Final

import numpy as np

EVERYTHING: Final = "all"
"""The slice of a card with all data together."""
UNKNOWN: Final = "unknown"


def written(value: float) -> str:
    """A figure as a card has it."""
    return f"{value:.4f}" if np.isfinite(value) else UNKNOWN


def read(decimal: str) -> float:
    """A figure of a card; NaN where it is not known."""
    return float("nan") if decimal == UNKNOWN else float(decimal)
