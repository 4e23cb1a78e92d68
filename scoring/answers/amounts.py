"""Amounts of money as they are told: two significant digits, found by comparing logarithms, the same on any machine."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Amounts = NDArray[np.int64]

GREATEST: Final = 10**9
_TENFOLDS = 8
_LEVELS: Final = np.array(
    [*range(1, 10), *(n * 10**more for more in range(_TENFOLDS) for n in range(10, 100)), GREATEST], np.int64
)
# Correctly rounded, where the mathematics library of a machine need not be.
_ARITHMETIC = Context(prec=28, rounding=ROUND_HALF_EVEN)
_BREAKS: Final = np.array([float(_ARITHMETIC.ln(Decimal(int(a + b)) / 2)) for a, b in pairwise(_LEVELS)])
"""The logarithm half way between each level and the next; from there on the upper one is told."""


def told(log_amounts: Floats) -> Amounts:
    """Amounts of these logarithms, rounded half up to two significant digits, from 1 to a thousand million."""
    return _LEVELS[np.searchsorted(_BREAKS, log_amounts, side="right")]


def below(amounts: Floats) -> Floats:
    """The logarithm below which what is told is at most the amount, each from 1 to a thousand million."""
    place = np.searchsorted(_LEVELS, amounts, side="right") - 1
    return np.append(_BREAKS, np.inf)[place]


def from_(amounts: Floats) -> Floats:
    """The logarithm from which on what is told is at least the amount, each from 1 to a thousand million."""
    place = np.searchsorted(_LEVELS, amounts, side="left")
    return np.append(-np.inf, _BREAKS)[place]
