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
EARLIER = Path(__file__).with_name("reasons_earlier.toml")

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
    """Choose the four causes that move the points most, and say first those that lower them.

    `added_points[f]` is the exact Shapley value of feature f in points, `cause_of[f]` its place in `causes`. The cause
    that lowers the points most is always among them. Only features with a value of this person's (`present`) count:
    what was not shared is never a reason.
    """
    totals = np.bincount(cause_of[present], weights=added_points[present], minlength=len(causes)).tolist()
    told = [(-abs(total), cause.code, total, cause) for total, cause in zip(totals, causes, strict=True)]
    told = sorted(line for line in told if -line[0] >= LEAST_POINTS)
    lowering = [line for line in told if line[2] < 0][:1]
    chosen = (lowering + [line for line in told if line not in lowering])[:MOST_REASONS]
    return tuple(
        Reason(cause.code, cause.version, cause.category, "raises" if total > 0 else "lowers")
        for _, _, total, cause in sorted(chosen, key=lambda line: (line[2] > 0, line[:2]))
    )


def cause(code: str) -> Cause:
    """Look up a cause as the catalogue has it today; an unknown code is a programmer's error (KeyError).

    A behaviour that cannot be told from another one is said by that one.
    """
    code = _catalogue(CATALOGUE)[code].get("said_by", code)
    entry = _catalogue(CATALOGUE)[code]
    return Cause(code, int(entry["version"]), Category(entry["category"]))


def is_actionable(cause: Cause) -> bool:
    """Whether a person can act on this behaviour, as the catalogue has it in this version."""
    entry = _catalogue().get(cause.code, {})
    return bool(entry.get("actionable")) and entry.get("version") == cause.version


def text(reason: Reason, language: Language) -> str:
    """Tell the person a reason in their language; LookupError if no catalogue has this code and version."""
    entry = _catalogue(CATALOGUE)[reason.code]
    if entry["version"] != reason.version:
        entry = _catalogue(EARLIER).get(f"{reason.code}@{reason.version}", {})
        if not entry:
            raise LookupError(f"there is no text of {reason.code} in version {reason.version}")
    return str(entry[language.value][reason.direction])


def texts(code: str, language: Language) -> Mapping[str, str]:
    """Both texts of a cause as the catalogue has it today, under `raises` and `lowers`."""
    told: Mapping[str, str] = _catalogue()[code][language.value]
    return told


@cache
def _catalogue(path: Path) -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(path.read_text("utf-8"))
