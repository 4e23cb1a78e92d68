"""Make a model's probabilities honest for every set of categories, and say how sure its points are."""

from collections.abc import Mapping

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


def lines(
    raw: Mapping[Categories, Floats],
    categories: tuple[Category, ...],
    enough: Flags,
    defaulted: Flags,
    later: Flags,
) -> dict[Categories, Line]:
    """Fit a line for every set of categories; sets that cannot be calibrated are left out.

    `raw[used]` is [row], NaN where the row lacks enough data of `used`; `enough` is [row, category]; `later` [row]
    marks the last slice of time.

    All sets are fitted on the same people where they can be: those who hold every common category, of whom
    we hide the rest. So a person's expected risk does not move with what is hidden, only its precision.
    Then one shift for all sets makes everybody together, with what they hold, default as expected: everybody in the
    later slice, where their level is not the earlier one's.
    """
    common = enough.mean(axis=0) >= COMMON_SHARE
    fitted = {}
    for used, scores in raw.items():
        needed = common | [category in used for category in categories]
        whole = np.where(enough[:, needed].all(axis=1), scores, np.nan)
        known = np.isfinite(whole)
        many = min(defaulted[known].sum(), (~defaulted[known]).sum()) >= LEAST_WHOLE
        fitted[used] = line(whole if many else scores, defaulted)
    found = {used: each for used, each in fitted.items() if each is not None}
    log_odds = together(raw, found, categories, enough)
    shift, _ = _shift(log_odds, defaulted)
    recent, error = _shift(log_odds[later] + shift, defaulted[later])
    if abs(recent) > SURE_ERRORS * error:
        shift += recent
    return {used: Line(each.intercept + shift, each.slope) for used, each in found.items()}


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
    elif not slope >= LEAST_SLOPE:
        slope = LEAST_SLOPE  # no signal in the data: everybody near the base rate, in the model's order
        intercept, _ = evaluation.line(raw, bad, slope=slope)
    return Line(intercept, slope) if np.isfinite(intercept) else None


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
