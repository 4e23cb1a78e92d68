"""How a probability becomes points, a band and a confidence, and how much evidence an answer needs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from types import MappingProxyType

from compliance.vocabulary import Categories, Category

POINTS_TO_DOUBLE_ODDS = 50
LOWEST_POINTS, HIGHEST_POINTS = 350, 950
POINTS_PER_LOG_ODDS = POINTS_TO_DOUBLE_ODDS / math.log(2)
POINTS_AT_EVEN_ODDS = 600 - POINTS_TO_DOUBLE_ODDS * math.log2(20)
"""600 points are odds of 20 good to 1 bad."""

LEAST_PROBABILITY, GREATEST_PROBABILITY = Decimal("0.000001"), Decimal("0.999999")
PROBABILITY_QUANTUM = Decimal("0.00000001")
# Decimal's exponential is correctly rounded, so that every machine replays the same digits; libm's is not.
ARITHMETIC = Context(prec=16, rounding=ROUND_HALF_EVEN)

BANDS = ("A", "B", "C", "D", "E")
STANDARD_CUTOFFS = (720, 660, 600, 540)
"""Least points of bands A to D when the target is the standard one: 90 days past due within 12 months."""

WIDEST_POINTS = 120
POINTS_STEP = 50
STEPS = (HIGHEST_POINTS - LOWEST_POINTS) // POINTS_STEP + 1
"""The width of the interval is known for each 50 points of the scale."""


class Scale(StrEnum):
    """What the points of a model mean: the standard target, or a product's own target and cut-offs."""

    STANDARD = "standard"
    PRODUCT = "product"


class Confidence(StrEnum):
    """How narrow the 80 % interval of the points is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


CONFIDENCE_UP_TO_POINTS = ((40, Confidence.HIGH), (80, Confidence.MEDIUM), (WIDEST_POINTS, Confidence.LOW))


@dataclass(frozen=True, slots=True)
class Minimum:
    """The least evidence with which a category is used at all."""

    events: int
    active_days: int


MINIMUM_EVIDENCE: Mapping[Category, Minimum] = MappingProxyType(
    {
        Category.DEVICE_USAGE: Minimum(events=5, active_days=2),
        Category.APP_ACTIVITY: Minimum(events=5, active_days=2),
        Category.SHOPPING: Minimum(events=3, active_days=2),
        Category.LOCATION_RHYTHM: Minimum(events=10, active_days=5),
        Category.FITNESS: Minimum(events=10, active_days=5),
        Category.SMART_HOME: Minimum(events=10, active_days=5),
        Category.SOCIAL_GRAPH: Minimum(events=1, active_days=0),
        Category.CREDIT_HISTORY: Minimum(events=1, active_days=1),
        Category.DECLARED: Minimum(events=1, active_days=0),
    }
)
"""Published in every model's manifest; a model keeps the ones it was trained with. What a category of few events can
say is bounded by the interval of the points as well."""


def points(log_odds: float) -> int:
    """Points of the log-odds of default: 600 at odds of 20:1, 50 more double the odds, 350 to 950, half up.

    `600 + 50 * log2(odds_good / 20)` is linear in the log-odds, so no logarithm is taken and every machine
    agrees. Clipping the probability to 1e-6 first would change nothing: 350 and 950 are reached long before.
    """
    exact = POINTS_AT_EVEN_ODDS - POINTS_PER_LOG_ODDS * log_odds
    return math.floor(min(max(exact, LOWEST_POINTS), HIGHEST_POINTS) + 0.5)


def probability(log_odds: float) -> Decimal:
    """Probability of default, from 0.000001 to 0.999999, to eight decimal places."""
    odds_good = ARITHMETIC.exp(Decimal(-log_odds))
    exact = ARITHMETIC.divide(Decimal(1), ARITHMETIC.add(Decimal(1), odds_good))
    return min(max(exact, LEAST_PROBABILITY), GREATEST_PROBABILITY).quantize(PROBABILITY_QUANTUM)


def band(points: int, cutoffs: Sequence[int]) -> str:
    """Band of rounded points; `cutoffs` are the least points of bands A, B, C and D, falling."""
    return BANDS[sum(points < cutoff for cutoff in cutoffs)]


def place(points: int) -> int:
    """Which of the `STEPS` of the scale the points fall into."""
    return (points - LOWEST_POINTS) // POINTS_STEP


def interval(points: int, half_width_points: float) -> tuple[int, int]:
    """Lowest and highest points of the 80 % interval, kept inside the scale."""
    reach = math.ceil(half_width_points)
    return max(points - reach, LOWEST_POINTS), min(points + reach, HIGHEST_POINTS)


def confidence(half_width_points: float) -> Confidence | None:
    """How sure the points are; None when their 80 % interval is wider than 120 points: no answer then."""
    width = 2 * half_width_points
    return next((level for widest, level in CONFIDENCE_UP_TO_POINTS if width <= widest), None)


def may_carry(used: Categories, known: Categories) -> bool:
    """Whether these categories may carry an answer of a model that knows the `known` ones.

    At least one, and not only what the person stated: unless the model knows nothing else, and says so.
    """
    return bool(used - {Category.DECLARED}) or (bool(used) and known <= {Category.DECLARED})


def minimum(category: Category, *, has_events: bool) -> Minimum:
    """The least evidence of a category: where a model reads none of its events, one thing that is filled in."""
    return MINIMUM_EVIDENCE[category] if has_events else Minimum(events=1, active_days=0)
