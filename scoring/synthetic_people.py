"""Invented people: hidden traits first, then what shows of them; every number has a row with its source."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

MARGINALS = Path(__file__).with_name("synthetic_marginals.csv")
COLUMNS = ("variable", "category", "share_or_quantile", "value", "source", "status")
STATUSES = frozenset({"MEASURED", "RECALLED", "CHOSEN"})
TRAITS = ("capacity", "stability", "impulsivity", "maturity")
AGE_YEARS = (18, 60)
YEAR_DAYS = 365.25
STUDENT_YEARS = 24
QUADRATURE_POINTS = 64

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Marginal:
    """One row: a share of a category, a value at a quantile, or a chosen number."""

    variable: str
    category: str
    share_or_quantile: float | None
    value: float | None
    source: str
    status: str


@dataclass(frozen=True, slots=True)
class People:
    """Traits are standard normal; what is stated may be missing (None). Arrays have one entry a person."""

    traits: Mapping[str, Numbers]
    income: Numbers
    employment: list[str]
    education: list[str | None]
    income_band: list[str | None]
    region: list[str]
    birth_date: list[date]
    is_student: list[bool]
    sex: list[str]


def read(text: str) -> tuple[Marginal, ...]:
    """Read rows of marginals.

    Raises:
        ValueError: a row without a source or with an unknown status; the file is ours, so this is a mistake.

    """
    rows = list(csv.DictReader(text.splitlines()))
    for number, row in enumerate(rows, start=2):
        if tuple(row) != COLUMNS or not (row["source"] or "").strip() or row["status"] not in STATUSES:
            raise ValueError(f"row {number} of the marginals has no source or an unknown status")
    return tuple(
        Marginal(
            row["variable"],
            row["category"],
            float(row["share_or_quantile"]) if row["share_or_quantile"] else None,
            float(row["value"]) if row["value"] else None,
            row["source"],
            row["status"],
        )
        for row in rows
    )


@cache
def marginals() -> tuple[Marginal, ...]:
    """Read the marginals of this population."""
    return read(MARGINALS.read_text("utf-8"))


def recalled() -> tuple[str, ...]:
    """Name the variables whose numbers are from memory; whoever shows this population says so."""
    return tuple(dict.fromkeys(m.variable for m in marginals() if m.status == "RECALLED"))


def share(variable: str, category: str = "") -> float:
    """Look up one share; KeyError if there is no such row."""
    return shares(variable)[category]


def shares(variable: str) -> dict[str, float]:
    """Look up the shares of a variable by category, in the order of the file."""
    return {
        m.category: m.share_or_quantile
        for m in marginals()
        if m.variable == variable and m.share_or_quantile is not None
    }


def chosen(variable: str) -> dict[str, float]:
    """Look up the chosen numbers of a variable by category."""
    return {m.category: m.value for m in marginals() if m.variable == variable and m.value is not None}


def at_quantile(variable: str, rank: Numbers) -> Numbers:
    """Interpolate a variable's value at each rank in (0, 1): log-linear between its measured quantiles."""
    rows = [m for m in marginals() if m.variable == variable]
    points = [
        (normal_quantile(m.share_or_quantile), math.log(m.value))
        for m in rows
        if m.share_or_quantile and m.value
    ]
    z, logs = (np.array(side) for side in zip(*points, strict=True))
    scores = np.array([normal_quantile(r) for r in np.clip(rank, 0.001, 0.999)])
    below = logs[0] + (scores - z[0]) * (logs[1] - logs[0]) / (z[1] - z[0])
    inside = np.interp(scores, z, logs)
    return np.asarray(np.exp(np.where(scores < z[0], below, inside)))


def normal_quantile(share: float) -> float:
    """Give the point below which a standard normal value falls with this probability."""
    return NormalDist().inv_cdf(share)


def normal_rank(score: Numbers) -> Numbers:
    """Give the probability that a standard normal value falls below each score."""
    return np.array([NormalDist().cdf(s) for s in score])


def draw(rng: np.random.Generator, count: int, today: date) -> People:
    """Draw people; sex and region have no path to the traits, so that a fair model shows no difference by them."""
    mixed = np.linalg.cholesky(_correlation()) @ rng.standard_normal((len(TRAITS), count))
    traits = dict(zip(TRAITS, mixed, strict=True))
    income = at_quantile("salary_per_month", normal_rank(shown(rng, traits, "income")))
    education = ordered("education", shown(rng, traits, "education"))
    age_days = rng.uniform(AGE_YEARS[0] * YEAR_DAYS, AGE_YEARS[1] * YEAR_DAYS, count)
    young = age_days < STUDENT_YEARS * YEAR_DAYS
    return People(
        traits=traits,
        income=income,
        employment=ordered("employment", shown(rng, traits, "employment")),
        education=_unstated(rng, education, share("education_unstated")),
        income_band=_unstated(rng, _bands(income), share("income_unstated")),
        region=ordered("region", rng.standard_normal(count)),
        birth_date=[today - timedelta(days=int(days)) for days in age_days],
        is_student=(young & (rng.uniform(size=count) < share("student_when_young"))).tolist(),
        sex=ordered("sex", rng.standard_normal(count)),
    )


def shown(rng: np.random.Generator, traits: Mapping[str, Numbers], variable: str) -> Numbers:
    """Let the traits show in a variable: a standard normal score, as much trait as its rows say, the rest noise."""
    weights = chosen(f"shows_in_{variable}")
    noise = math.sqrt(1 - _variance(weights))
    trait = np.sum([w * traits[t] for t, w in weights.items()], axis=0)
    return np.asarray(trait + noise * rng.standard_normal(len(trait)))


def ordered(variable: str, score: Numbers) -> list[str]:
    """Give each standard normal score the category in whose share it falls, in the order of the rows."""
    of = shares(variable)
    names = list(of)
    return [names[i] for i in np.searchsorted(np.cumsum(list(of.values()))[:-1], normal_rank(score))]


def probability_of_default(traits: Mapping[str, Numbers], signal: float) -> Numbers:
    """Give each person's true probability: a logistic function of the hidden traits alone.

    `signal` 0 plants a world where no behaviour says anything; the base rate stays the same.
    """
    weights = chosen("log_odds_of_default")
    spread = signal * math.sqrt(_variance(weights))
    log_odds = _intercept(share("default_within_a_year"), spread) + signal * np.sum(
        [weights[t] * traits[t] for t in TRAITS], axis=0
    )
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _correlation() -> Numbers:
    matrix = np.eye(len(TRAITS))
    for pair, value in chosen("correlation").items():
        a, b = (TRAITS.index(name) for name in pair.split())
        matrix[a, b] = matrix[b, a] = value
    return matrix


def _variance(weights: Mapping[str, float]) -> float:
    vector = np.array([weights.get(trait, 0.0) for trait in TRAITS])
    return float(vector @ _correlation() @ vector)


def _intercept(rate: float, spread: float) -> float:
    """Solve for the intercept at which normal log-odds of this spread default at this rate, by bisection."""
    points, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_POINTS)
    low, high = -20.0, 20.0
    for _ in range(80):
        middle = (low + high) / 2
        mean = float(np.sum(weights / (1 + np.exp(-(middle + spread * points)))) / np.sum(weights))
        low, high = (middle, high) if mean < rate else (low, middle)
    return (low + high) / 2


def _bands(income: Numbers) -> list[str]:
    edges = [3_000, 4_500, 8_000, 20_000]
    names = ["below_3000", "3000_4499", "4500_7999", "8000_19999", "from_20000"]
    return [names[i] for i in np.searchsorted(edges, income, side="right")]


def _unstated(rng: np.random.Generator, said: Sequence[str], missing: float) -> list[str | None]:
    return [None if u < missing else word for word, u in zip(said, rng.uniform(size=len(said)), strict=True)]
