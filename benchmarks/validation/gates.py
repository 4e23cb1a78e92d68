"""A gate: a figure with its number of rows and 95 % interval, and whether it passes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoring import evaluation

PASS, FAIL, UNKNOWN, REPORTED = "pass", "FAIL", "unknown", "reported"


@dataclass(frozen=True, slots=True)
class Gate:
    """One line of a validation; `rule` says in words what passes, empty where a figure is only reported."""

    name: str
    value: float
    low: float
    high: float
    n: int
    rule: str
    verdict: str

    def line(self) -> str:
        """The gate as a line of text."""
        told = f"{self.verdict:8s} {self.name}: {self.value:.4f} [{self.low:.4f}, {self.high:.4f}] n={self.n}"
        return f"{told} ({self.rule})" if self.rule else told


def share(
    name: str, holds: NDArray[np.bool_], *, least: float | None = None, most: float | None = None
) -> Gate:
    """A share of rows with its Wilson interval; it must be at least, or at most, what is named.

    With so few rows that the interval reaches over the bound, missing it is no failure: it is not known.
    """
    hits, n = int(holds.sum()), len(holds)
    low, high = evaluation.wilson(hits, n)
    value = hits / n if n else float("nan")
    rule = " and ".join(
        text for text, bound in ((f">= {least}", least), (f"<= {most}", most)) if bound is not None
    )
    verdict = _verdict(rule, passes=_within(value, value, least, most))
    if verdict == FAIL and _within(low, high, least, most):
        verdict = UNKNOWN
    return Gate(name, value, low, high, n, rule, verdict)


def _within(low: float, high: float, least: float | None, most: float | None) -> bool:
    """Whether anything between the two is at least and at most what is asked."""
    return (least is None or high >= least) and (most is None or low <= most)


def figure(
    name: str,
    value: float,
    interval: tuple[float, float],
    n: int,
    *,
    rule: str = "",
    passes: Callable[[float], bool] | None = None,
) -> Gate:
    """Any figure with an interval of its own."""
    verdict = _verdict(rule, passes=passes(value) if passes else True)
    return Gate(name, value, *interval, n, rule, verdict)


def _verdict(rule: str, *, passes: bool) -> str:
    if not rule:
        return REPORTED
    return PASS if passes else FAIL
