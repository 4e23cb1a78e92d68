"""Why a score is what it is: at most four reasons from a public, versioned catalogue, and their texts."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compliance.vocabulary import Category, Language

CATALOGUE = Path(__file__).with_name("reasons.toml")

MOST_REASONS = 4
LEAST_POINTS = 1.0
"""What moved the points by less than one is not a reason."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A line of the reason catalogue: one behaviour, which several correlated features may measure."""

    code: str
    version: int
    category: Category


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause, and whether it raised or lowered this person's points."""

    code: str
    version: int
    category: Category
    direction: Literal["raises", "lowers"]


def reasons(
    added_points: NDArray[np.float64],
    present: NDArray[np.bool_],
    cause_of: NDArray[np.intp],
    causes: Sequence[Cause],
) -> tuple[Reason, ...]:
    """Choose at most four causes: those that lower the points most, then those that raise them most.

    `added_points[f]` is the exact Shapley value of feature f in points, `cause_of[f]` its place in `causes`.
    Only features with a value of this person's (`present`) count: what was not shared is never a reason.
    """
    totals = np.bincount(cause_of[present], weights=added_points[present], minlength=len(causes)).tolist()
    told = [(total > 0, -abs(total), cause.code, cause) for total, cause in zip(totals, causes, strict=True)]
    told = sorted(line for line in told if -line[1] >= LEAST_POINTS)[:MOST_REASONS]
    return tuple(
        Reason(cause.code, cause.version, cause.category, "raises" if raises else "lowers")
        for raises, _, _, cause in told
    )


def cause(code: str) -> Cause:
    """Look up a cause as the catalogue has it today; an unknown code is a programmer's error (KeyError)."""
    entry = _catalogue()[code]
    return Cause(code, int(entry["version"]), Category(entry["category"]))


def is_actionable(cause: Cause) -> bool:
    """Whether a person can act on this behaviour, as the catalogue has it in this version."""
    entry = _catalogue().get(cause.code, {})
    return bool(entry.get("actionable")) and entry.get("version") == cause.version


def text(reason: Reason, language: Language) -> str:
    """Tell the person a reason in their language; LookupError if the catalogue lacks this code and version."""
    entry = _catalogue()[reason.code]
    if entry["version"] != reason.version:
        raise LookupError(f"the catalogue holds {reason.code} in version {entry['version']} only")
    return str(entry[language.value][reason.direction])


def texts(code: str, language: Language) -> Mapping[str, str]:
    """Both texts of a cause as the catalogue has it today, under `raises` and `lowers`."""
    told: Mapping[str, str] = _catalogue()[code][language.value]
    return told


@cache
def _catalogue() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(CATALOGUE.read_text("utf-8"))
