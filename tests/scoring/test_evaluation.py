import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring import evaluation

people = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: len({bad for _, bad in rows}) == 2
)


def arrays(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([float(risk) for risk, _ in rows]), np.array([bad for _, bad in rows])


@given(people)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    risk, bad = arrays(rows)
    pairs = np.sign(risk[bad][:, None] - risk[~bad][None, :])
    assert evaluation.auc(risk, bad) == pytest.approx(((pairs + 1) / 2).mean())


@given(people)
def test_ranking_does_not_change_with_a_rising_map_and_turns_with_a_falling_one(
    rows: list[tuple[int, bool]],
) -> None:
    risk, bad = arrays(rows)
    for measure in (evaluation.auc, evaluation.ks):
        assert measure(np.exp(risk / 3), bad) == pytest.approx(measure(risk, bad))
    assert evaluation.auc(-risk, bad) == pytest.approx(1 - evaluation.auc(risk, bad))


@given(people)
def test_ks_is_the_largest_gap_over_all_thresholds(rows: list[tuple[int, bool]]) -> None:
    risk, bad = arrays(rows)
    gaps = [abs((risk[bad] <= cut).mean() - (risk[~bad] <= cut).mean()) for cut in risk]
    assert evaluation.ks(risk, bad) == pytest.approx(max(gaps))


def test_ranking_of_one_class_is_unknown() -> None:
    risk, bad = np.array([1.0, 2.0]), np.array([True, True])
    assert np.isnan(evaluation.auc(risk, bad))
    assert np.isnan(evaluation.ks(risk, bad))


def test_known_answers() -> None:
    p, bad = np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, False, True, True])
    assert evaluation.auc(p, bad) == 1
    assert evaluation.ks(p, bad) == 1
    assert evaluation.brier(p, bad) == pytest.approx((0.01 + 0.04 + 0.16 + 0.01) / 4)
    assert evaluation.ece(p, bad) == pytest.approx((0.1 + 0.2 + 0.4 + 0.1) / 4)
    assert evaluation.observed_over_expected(p, bad) == pytest.approx(2 / 1.8)


def test_ece_is_zero_where_every_group_is_honest() -> None:
    p = np.repeat([0.2, 0.6], 50)
    bad = np.tile([True, False, False, False, False], 20)
    bad[50:] = np.tile([True, True, True, False, False], 10)
    assert evaluation.ece(p, bad) == pytest.approx(0)


@given(st.floats(-2, 2), st.floats(0.3, 3), st.floats(0.01, 100))
def test_line_recovers_what_made_the_outcomes_on_any_scale(level: float, slope: float, scale: float) -> None:
    random = np.random.default_rng(5)
    x = random.normal(size=4_000)
    bad = random.random(4_000) < evaluation.probability(level + slope * x)
    intercept, fitted = evaluation.line(x * scale, bad)
    assert fitted * scale == pytest.approx(slope, abs=0.3)
    assert intercept == pytest.approx(level, abs=0.3)
    # The score equations of the logistic regression hold: level and tilt are exact on the sample.
    p = evaluation.probability(intercept + fitted * x * scale)
    assert p.sum() == pytest.approx(bad.sum())
    assert (p * x).sum() == pytest.approx((bad * x).sum())


def test_line_with_a_given_slope_moves_the_level_only() -> None:
    random = np.random.default_rng(6)
    x = random.normal(size=500)
    bad = random.random(500) < 0.3
    intercept, slope = evaluation.line(x, bad, slope=0.5)
    assert slope == pytest.approx(0.5)
    assert evaluation.probability(intercept + slope * x).sum() == pytest.approx(bad.sum())


@pytest.mark.parametrize(
    ("x", "bad"),
    [
        ([1.0, 2.0, 3.0], [True, True, True]),
        ([1.0, 1.0, 1.0], [True, False, True]),
        ([1.0, 2.0], [False, True]),
    ],
    ids=["one class", "nothing to regress on", "separated"],
)
def test_line_without_a_finite_answer_is_unknown(x: list[float], bad: list[bool]) -> None:
    assert np.isnan(evaluation.line(np.array(x), np.array(bad))).all()


def test_perfect_calibration_has_slope_1_and_intercept_0() -> None:
    random = np.random.default_rng(8)
    p = random.uniform(0.02, 0.6, 50_000)
    bad = random.random(50_000) < p
    assert evaluation.slope(p, bad) == pytest.approx(1, abs=0.05)
    assert evaluation.intercept(p, bad) == pytest.approx(0, abs=0.05)
    assert evaluation.intercept(p / 2, bad) > 0.5


def test_wilson_known_answer_and_edges() -> None:
    assert evaluation.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert evaluation.wilson(0, 0) == (0, 1)
    assert evaluation.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_share(trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    low, high = evaluation.wilson(hits, trials)
    assert 0 <= low <= hits / trials + 1e-12
    assert hits / trials - 1e-12 <= high <= 1


def test_bootstrap_repeats_and_holds_the_value() -> None:
    random = np.random.default_rng(9)
    risk = random.normal(size=300)
    bad = random.random(300) < evaluation.probability(risk)
    low, high = evaluation.bootstrap(evaluation.auc, risk, bad, seed=1)
    assert (low, high) == evaluation.bootstrap(evaluation.auc, risk, bad, seed=1)
    assert low < evaluation.auc(risk, bad) < high
    assert high - low == pytest.approx(0.12, abs=0.05)  # Hanley & McNeil's error at this size: about 0.03


def test_bootstrap_of_what_is_never_known_is_unknown() -> None:
    bad = np.ones(20, np.bool_)
    assert np.isnan(evaluation.bootstrap(evaluation.auc, np.arange(20.0), bad, seed=1)).all()
