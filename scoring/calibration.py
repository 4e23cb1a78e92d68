"""Make a model's probabilities honest for every set of categories, and say how sure its points are."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compliance.vocabulary import Categories, Category
from scoring import evaluation, policy
from scoring.evaluation import Flags, Floats
from scoring.manifest import Line

LEAST_ROWS = 20
"""Of each outcome for a slope, and in a step of the scale for an interval of its own."""
LEAST_SLOPE = 0.05
LEAST_WHOLE = 50
COMMON_SHARE = 0.5
"""A category is common that half of the people hold; 50 of each outcome must hold all common ones."""
SURE_ERRORS = 2.0
"""A level moved when it did so by more than two standard errors."""
Z_80 = 1.2815515655446004


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A line for every set of categories that can be calibrated, and the raw log-odds [row] that it rests on."""

    lines: Mapping[Categories, Line]
    raw: Mapping[Categories, Floats]


def calibrated(
    unseen: Mapping[Categories, Floats],
    seen: Mapping[Categories, Floats],
    categories: tuple[Category, ...],
    enough: Flags,
    defaulted: Flags,
    later: Flags,
) -> Calibrated:
    """Fit a line for every set of categories; sets that cannot be calibrated are left out.

    Raw log-odds are [row], NaN where the row lacks enough data of the set: `unseen` by models that had not seen the
    user, `seen` by the model itself. `enough` is [row, category]; `later` [row] marks the last slice of time.

    Sets of all common categories are fitted on outcomes. Each other one is fitted on what the model itself says of the
    same people with everything common shown: whatever we hide, a person's expected risk does not move, only its
    precision. There both sides are the model's own: models of other folds say little of a set higher or lower.
    Then one shift for all sets makes everybody together, with what they hold, default as expected: everybody in the
    later slice, where their level is not the earlier one's.
    """
    common = enough.mean(axis=0) >= COMMON_SHARE
    needed = {used: common | [category in used for category in categories] for used in unseen}
    whole = {used: _named(flags, categories) for used, flags in needed.items()}
    found: dict[Categories, Line] = {}
    basis = dict(unseen)
    for used in sorted(unseen, key=lambda used: used != whole[used]):
        here = enough[:, needed[used]].all(axis=1) & np.isfinite(unseen[used])
        many = min(defaulted[here].sum(), (~defaulted[here]).sum()) >= LEAST_WHOLE
        shown = found.get(whole[used])
        if many and shown and used != whole[used]:
            said = evaluation.probability(shown.intercept + shown.slope * seen[whole[used]][here])
            each, basis[used] = _towards(seen[used][here], said), seen[used]
        else:
            each = line(np.where(here, unseen[used], np.nan) if many else unseen[used], defaulted)
        if each is not None:
            found[used] = each
    shift = _level(together(basis, found, categories, enough), defaulted, later)
    return Calibrated({used: Line(each.intercept + shift, each.slope) for used, each in found.items()}, basis)


def _level(log_odds: Floats, defaulted: Flags, later: Flags) -> float:
    """What to add for everybody, or for the later slice where it surely differs, to default as expected."""
    shift, _ = _shift(log_odds, defaulted)
    recent, error = _shift(log_odds[later] + shift, defaulted[later])
    return shift + recent if abs(recent) > SURE_ERRORS * error else shift


def _named(flags: Flags, categories: tuple[Category, ...]) -> Categories:
    return frozenset(category for category, is_in in zip(categories, flags, strict=True) if is_in)


def _towards(raw: Floats, said: Floats) -> Line | None:
    """Fit the line that comes closest to what is said of the same people with more shown."""
    intercept, slope = evaluation.line(raw, said)
    if not slope >= LEAST_SLOPE:
        slope = LEAST_SLOPE
        intercept, _ = evaluation.line(raw, said, slope=slope)
    return Line(intercept, slope) if np.isfinite(intercept) else None


def together(
    raw: Mapping[Categories, Floats],
    lines: Mapping[Categories, Line],
    categories: tuple[Category, ...],
    enough: Flags,
) -> Floats:
    """Calibrated log-odds [row] when each row shows all it holds; NaN where that cannot be answered."""
    log_odds = np.full(len(enough), np.nan)
    for used, each in lines.items():
        exactly = (enough == [category in used for category in categories]).all(axis=1)
        log_odds[exactly] = each.intercept + each.slope * raw[used][exactly]
    return log_odds


def _shift(log_odds: Floats, defaulted: Flags) -> tuple[float, float]:
    """What to add to all log-odds so that as many default as expected, and its standard error; (0, inf) if unknown."""
    known = np.isfinite(log_odds)
    shift, _ = evaluation.line(log_odds[known], defaulted[known], slope=1.0)
    if not np.isfinite(shift):
        return 0.0, np.inf
    expected = evaluation.probability(log_odds[known] + shift)
    return shift, float(1 / np.sqrt((expected * (1 - expected)).sum()))


def line(raw: Floats, defaulted: Flags) -> Line | None:
    """Fit calibrated log-odds = intercept + slope * raw on rows with a finite `raw` (Platt 1999).

    None where only one outcome is known: no answer is given then.
    """
    known = np.isfinite(raw)
    raw, bad = raw[known], defaulted[known]
    if bad.all() or not bad.any():
        return None
    intercept, slope = evaluation.line(raw, bad)
    if min(bad.sum(), (~bad).sum()) < LEAST_ROWS:
        slope = 1.0  # too few rows to say more than the level
        intercept, _ = evaluation.line(raw, bad, slope=slope)
    elif not slope >= max(LEAST_SLOPE, SURE_ERRORS * _slope_error(raw, intercept + slope * raw)):
        slope = LEAST_SLOPE  # no sure signal in the data: everybody near the base rate, in the model's order
        intercept, _ = evaluation.line(raw, bad, slope=slope)
    return Line(intercept, slope) if np.isfinite(intercept) else None


def _slope_error(raw: Floats, log_odds: Floats) -> float:
    """Standard error of a fitted slope."""
    expected = evaluation.probability(log_odds)
    weight = expected * (1 - expected)
    spread = raw - (weight * raw).sum() / weight.sum()
    return float(1 / np.sqrt((weight * spread * spread).sum()))


def half_widths(points: NDArray[np.int16], log_odds: Floats) -> tuple[float, ...]:
    """Half the 80 % interval of the points for each step of the scale, from [twin, row] log-odds.

    NaN where a twin had seen the row; a row that fewer than two had not says nothing. A step with too few rows has
    the widest interval of the others, or that of all rows together.
    """
    told = np.isfinite(log_odds).sum(axis=0) > 1
    points, log_odds = points[told], log_odds[:, told]
    variance = np.nanvar(log_odds, axis=0, ddof=1) * policy.POINTS_PER_LOG_ODDS**2
    steps = (points - policy.LOWEST_POINTS) // policy.POINTS_STEP
    rows = np.bincount(steps, minlength=policy.STEPS)
    known = rows >= LEAST_ROWS
    total = np.bincount(steps, weights=variance, minlength=policy.STEPS)
    mean = np.where(known, total / np.maximum(rows, 1), 0.0)
    mean[~known] = max(float(variance.mean()) if variance.size else np.inf, float(mean.max()))
    return tuple(round(float(half), 2) for half in Z_80 * np.sqrt(mean))
