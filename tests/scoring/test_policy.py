import math
from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from compliance.vocabulary import Category
from scoring import policy
from scoring.policy import Confidence

log_odds = st.floats(-40, 40)
scale = st.integers(policy.LOWEST_POINTS, policy.HIGHEST_POINTS)


def test_600_points_are_odds_of_20_to_1() -> None:
    assert policy.points(-math.log(20)) == 600


@given(st.integers(-4, 6))
def test_50_points_double_the_odds(doublings: int) -> None:
    assert policy.points(-math.log(20 * 2.0**doublings)) == 600 + 50 * doublings


@given(log_odds)
@example(13.9)
@example(-13.9)
def test_points_are_those_of_the_published_formula(bad: float) -> None:
    p = min(max(1 / (1 + math.exp(-bad)), 1e-6), 1 - 1e-6)
    exact = 600 + 50 * math.log2((1 - p) / p / 20)
    assume(abs(exact % 1 - 0.5) > 1e-6)
    assert policy.points(bad) == min(max(math.floor(exact + 0.5), 350), 950)


@given(log_odds, log_odds)
def test_more_risk_never_has_more_points(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert policy.points(low) >= policy.points(high)
    assert policy.probability(low) <= policy.probability(high)


def test_points_of_nothing_are_a_bug() -> None:
    with pytest.raises(ValueError, match="NaN"):
        policy.points(float("nan"))


@given(log_odds)
def test_probability_is_printed_plainly_to_eight_places(bad: float) -> None:
    printed = policy.probability(bad)
    assert printed.as_tuple().exponent == -8
    assert "E" not in str(printed)
    assert Decimal("0.000001") <= printed <= Decimal("0.999999")
    assert abs(float(printed) - min(max(1 / (1 + math.exp(-bad)), 1e-6), 1 - 1e-6)) < 1e-8


def test_probability_has_known_digits() -> None:
    assert str(policy.probability(-3.0)) == "0.04742587"  # 1 / (1 + e^3)


@pytest.mark.parametrize(
    ("points", "band"),
    [
        *[(950, "A"), (720, "A"), (719, "B"), (660, "B"), (659, "C"), (600, "C"), (599, "D"), (540, "D")],
        *[(539, "E"), (350, "E")],
    ],
)
def test_standard_bands_begin_where_published(points: int, band: str) -> None:
    assert policy.band(points, policy.STANDARD_CUTOFFS) == band


@given(scale, scale)
def test_more_points_never_have_a_worse_band(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert policy.band(low, policy.STANDARD_CUTOFFS) >= policy.band(high, policy.STANDARD_CUTOFFS)


@pytest.mark.parametrize(
    ("half_width", "level"),
    [
        *[(0.0, Confidence.HIGH), (20.0, Confidence.HIGH), (20.01, Confidence.MEDIUM)],
        *[(40.0, Confidence.MEDIUM), (40.01, Confidence.LOW), (60.0, Confidence.LOW), (60.01, None)],
    ],
)
def test_confidence_follows_the_width_and_ends_at_120_points(half_width: float, level: object) -> None:
    assert policy.confidence(half_width) is level


@given(scale, st.floats(0, 200))
def test_interval_holds_the_points_and_stays_on_the_scale(points: int, half_width: float) -> None:
    low, high = policy.interval(points, half_width)
    assert policy.LOWEST_POINTS <= low <= points <= high <= policy.HIGHEST_POINTS
    assert low == policy.LOWEST_POINTS or points - low >= half_width
    assert high == policy.HIGHEST_POINTS or high - points >= half_width


@given(scale)
def test_every_points_have_a_step(points: int) -> None:
    assert policy.place(points) in range(policy.STEPS)


def test_every_category_has_a_minimum_and_what_is_stated_never_carries_alone() -> None:
    assert set(policy.MINIMUM_EVIDENCE) == set(Category)
    everything, declared = frozenset(Category), frozenset({Category.DECLARED})
    assert not policy.may_carry(frozenset(), everything)
    assert not policy.may_carry(declared, everything)
    assert all(policy.may_carry(frozenset({c}), everything) for c in everything - declared)


def test_a_model_that_knows_only_what_was_stated_answers_from_it():
    declared = frozenset({Category.DECLARED})
    assert policy.may_carry(declared, declared)
    assert not policy.may_carry(frozenset(), declared)


def test_where_no_event_is_read_no_day_is_asked_for():
    assert policy.minimum(Category.SHOPPING, has_events=True) == policy.MINIMUM_EVIDENCE[Category.SHOPPING]
    assert policy.minimum(Category.SHOPPING, has_events=False).active_days == 0
