"""How well a model ranks and how honest its probabilities are, each figure with its interval."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Measure = Callable[[Floats, Flags], float]

BINS = 10
MOST_NEWTON_STEPS = 50
MOST_LOG_ODDS = 30.0
Z_95 = 1.959963984540054
DRAWS = 200


def log_odds(probability: Floats) -> Floats:
    """Natural log-odds of probabilities clipped to [1e-6, 1 - 1e-6]."""
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def probability(log_odds: Floats) -> Floats:
    """Probability of log-odds, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -MOST_LOG_ODDS, MOST_LOG_ODDS)))


def auc(risk: Floats, bad: Flags) -> float:
    """Share of (bad, good) pairs in which the bad one has the higher risk, ties half; NaN with one class only.

    Hanley & McNeil 1982, by the rank sum.
    """
    n_bad, n_good = int(bad.sum()), int((~bad).sum())
    if not n_bad or not n_good:
        return float("nan")
    _, place, count = np.unique(risk, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    return float((mean_rank[place][bad].sum() - n_bad * (n_bad + 1) / 2) / (n_bad * n_good))


def ks(risk: Floats, bad: Flags) -> float:
    """Largest distance between the distributions of risk among bad and good; NaN with one class only."""
    n_bad, n_good = int(bad.sum()), int((~bad).sum())
    if not n_bad or not n_good:
        return float("nan")
    _, place = np.unique(risk, return_inverse=True)
    below_bad = np.cumsum(np.bincount(place, weights=bad)) / n_bad
    below_good = np.cumsum(np.bincount(place, weights=~bad)) / n_good
    return float(np.abs(below_bad - below_good).max())


def brier(probability: Floats, bad: Flags) -> float:
    """Mean squared distance of probability and outcome (Brier 1950)."""
    return float(np.mean((probability - bad) ** 2))


def ece(probability: Floats, bad: Flags) -> float:
    """Mean |observed - expected| over ten groups of equal size by probability: expected calibration error."""
    order = np.argsort(probability, kind="stable")
    error = 0.0
    for group in np.array_split(order, BINS):
        if group.size:
            error += abs(float(bad[group].mean() - probability[group].mean())) * group.size
    return error / len(order)


def ece_envelope(probability: Floats, *, seed: int) -> float:
    """What the ECE of a perfect model stays below in 95 of 100 worlds: outcomes drawn from these probabilities."""
    random = np.random.default_rng(seed)
    drawn = [ece(probability, random.random(len(probability)) < probability) for _ in range(DRAWS)]
    return float(np.quantile(drawn, 0.95))


def observed_over_expected(probability: Floats, bad: Flags) -> float:
    """Defaults that happened over defaults that were predicted; 1 is perfect."""
    return float(bad.sum() / probability.sum())


def line(log_odds: Floats, bad: Flags | Floats, *, slope: float | None = None) -> tuple[float, float]:
    """Intercept and slope of the logistic regression of `bad` on `log_odds` (Cox 1958): (0, 1) is perfect.

    `bad` may also be a probability of each row. With a `slope` only the intercept is fitted. NaN for both where there is no finite answer: one class only,
    nothing to regress on, or complete separation.
    """
    rate = float(bad.mean()) if bad.size else 0.0
    if not 0 < rate < 1 or (slope is None and np.ptp(log_odds) == 0):
        return float("nan"), float("nan")
    # Centred and scaled, so that Newton's steps are well conditioned for any score.
    centre, spread = float(log_odds.mean()), float(log_odds.std()) or 1.0
    x = (log_odds - centre) / spread
    start = np.log(rate / (1 - rate))
    at = np.array([start, 0.0 if slope is None else slope * spread])
    for _ in range(MOST_NEWTON_STEPS):
        step = _newton_step(at, x, bad, free_slope=slope is None)
        at += step
        if not np.isfinite(at).all() or np.abs(at).max() > MOST_LOG_ODDS * max(1.0, spread):
            break
        if np.abs(step).max() < 1e-10:
            fitted = float(at[1] / spread)
            return float(at[0] - fitted * centre), fitted
    return float("nan"), float("nan")


def _newton_step(at: Floats, x: Floats, bad: Flags | Floats, *, free_slope: bool) -> Floats:
    expected = probability(at[0] + at[1] * x)
    weight = expected * (1 - expected)
    miss = bad - expected
    if not free_slope:
        return np.array([miss.sum() / max(float(weight.sum()), 1e-12), 0.0])
    curvature = np.array([[weight.sum(), (weight * x).sum()], [(weight * x).sum(), (weight * x * x).sum()]])
    return np.linalg.solve(curvature + 1e-12 * np.eye(2), np.array([miss.sum(), (miss * x).sum()]))


def slope(probability: Floats, bad: Flags) -> float:
    """Calibration slope: below 1 the probabilities are too extreme."""
    return line(log_odds(probability), bad)[1]


def intercept(probability: Floats, bad: Flags) -> float:
    """Calibration intercept at slope 1: above 0 the probabilities are too low."""
    return line(log_odds(probability), bad, slope=1.0)[0]


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); (0, 1) without a trial."""
    if not trials:
        return 0.0, 1.0
    share, z2 = hits / trials, Z_95 * Z_95
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    reach = Z_95 / (1 + z2 / trials) * float(np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)))
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def bootstrap(
    measure: Measure, risk: Floats, bad: Flags, *, seed: int, user_of: NDArray[np.intp] | None = None
) -> tuple[float, float]:
    """95 % percentile interval of a measure over people drawn again with all their rows (Efron 1979).

    Without `user_of` [row] each row is a person. NaN where no draw has a value.
    """
    random = np.random.default_rng(seed)
    person = np.arange(len(bad)) if user_of is None else np.unique(user_of, return_inverse=True)[1]
    people = int(person.max()) + 1 if len(bad) else 0
    values = np.array([measure(risk[rows], bad[rows]) for rows in _drawn(random, person, people)])
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _drawn(random: np.random.Generator, person: NDArray[np.intp], people: int) -> Iterator[NDArray[np.intp]]:
    """Rows of people drawn with replacement, time after time."""
    for _ in range(DRAWS):
        times = np.bincount(random.integers(people, size=people), minlength=people)
        yield np.repeat(np.arange(len(person)), times[person])
