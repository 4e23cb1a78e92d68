"""The figures that a model is held against: drift, groups, calibration by band, vintages, and what is news."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import small_models

from compliance.vocabulary import Category
from scoring import evaluation, policy, scorer
from scoring.behaviour import Behaviour
from scoring.behaviour_schema import ProfileColumn, Role, Schema
from scoring.governance import alerts, drift, fairness, groups, performance, snapshot
from scoring.governance.drift import Drift, Profile
from scoring.governance.performance import Issued
from scoring.policy import BANDS, STANDARD_CUTOFFS

counts = st.lists(st.integers(0, 500), min_size=2, max_size=12)


def a_profile(rows: list[int]) -> Profile:
    return Profile(tuple(float(n) for n in range(len(rows) - 1)), tuple(rows), 0)


# Drift


@given(st.data())
def test_psi_is_symmetric_never_negative_and_nothing_where_nothing_moved(data: st.DataObject) -> None:
    bins = data.draw(st.integers(2, 12))
    both = [a_profile(data.draw(st.lists(st.integers(0, 500), min_size=bins, max_size=bins))) for _ in "ab"]
    assert drift.psi(*both) == pytest.approx(drift.psi(*reversed(both)))
    assert drift.psi(*both) >= 0
    assert drift.psi(both[0], both[0]) == 0


@given(counts, st.integers(2, 9))
def test_psi_counts_shares_and_not_rows(rows: list[int], times: int) -> None:
    rows = [n + 1 for n in rows]
    assert drift.psi(a_profile(rows), a_profile([n * times for n in rows])) == pytest.approx(0)


def test_psi_known_answer() -> None:
    # (0.8 - 0.5) ln 1.6 + (0.2 - 0.5) ln 0.4
    assert drift.psi(a_profile([500, 500]), a_profile([800, 200])) == pytest.approx(0.41589, abs=1e-5)
    assert drift.read(a_profile([500, 500]), a_profile([800, 200]))[0] is Drift.RED
    assert drift.read(a_profile([500, 500]), a_profile([600, 400]))[0] is Drift.STABLE
    assert drift.read(a_profile([500, 500]), a_profile([690, 310]))[0] is Drift.SHIFTING
    assert drift.read(a_profile([500, 500]), a_profile([160, 39]))[0] is Drift.INSUFFICIENT


@given(st.lists(st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan"))), max_size=80))
def test_a_profile_counts_every_row_once_and_reads_back(values: list[float]) -> None:
    column = np.array(values, np.float32)
    told = drift.profile(column)
    assert told.rows + told.missing == len(values)
    assert told.missing == int(np.isnan(column).sum())
    assert list(told.edges) == sorted(set(told.edges))
    assert drift.decode(drift.encode(told)) == told
    assert drift.profiled(column, told.edges) == told
    half = len(values) // 2
    parts = [drift.profiled(part, told.edges) for part in (column[:half], column[half:])]
    assert drift.added(*parts) == told


def test_a_value_that_most_share_takes_one_bin() -> None:
    told = drift.profile(np.array([0.0] * 90 + [1.0] * 10))
    assert told.edges == (0.0, np.nextafter(0.0, 1.0))
    assert told.counts == (0, 90, 10)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ([0.0] * 950 + [1.0] * 50, [0.0] * 400 + [1.0] * 600),  # a flag, 5 % and then 60 %
        ([1.0] * 950 + [0.0] * 50, [1.0] * 400 + [0.0] * 600),
        ([0.0] * 920 + [*range(1, 81)], [0.0] * 200 + [*range(1, 801)]),  # a count, 92 % zero and then 20 %
    ],
)
def test_what_is_rare_and_becomes_common_is_seen(then: list[float], now: list[float]) -> None:
    told = drift.profile(np.array(then, np.float32))
    state, _ = drift.read(told, drift.profiled(np.array(now, np.float32), told.edges))
    assert state is Drift.RED


def test_points_without_an_answer_are_missing() -> None:
    told = drift.points_profile(np.array([0, 350, 399, 400, 950], np.int16))
    assert (told.missing, told.counts[0], told.counts[1], told.counts[-1]) == (1, 2, 1, 1)


# Groups


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_a_ratio_lies_in_its_interval_and_turns_over(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    ratio, low, high = fairness.relative(a, n, b, m)
    assert 0 < low <= ratio <= high
    turned = fairness.relative(b, m, a, n)
    assert turned == pytest.approx((1 / ratio, 1 / high, 1 / low))


def test_a_ratio_known_answer() -> None:
    # Katz et al. 1978 without the half: exp(ln 0.5 -+ 1.96 sqrt(1/40 - 1/100 + 1/80 - 1/100))
    ratio, low, high = fairness.relative(40, 100, 80, 100)
    assert ratio == pytest.approx(0.5, abs=0.01)
    assert (low, high) == pytest.approx((0.385, 0.649), abs=0.01)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random, held, times = np.random.default_rng(4), 0, 1_000
    for _ in range(times):
        _, low, high = fairness.relative(random.binomial(150, 0.3), 150, random.binomial(400, 0.5), 400)
        held += low <= 0.6 <= high
    assert held / times == pytest.approx(0.95, abs=0.025)


def people(**shares: tuple[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """Points and labels: of each group so many people, of whom that share reach band B."""
    points = np.concatenate([np.where(np.arange(n) < n * p, 700, 500) for n, p in shares.values()])
    return points.astype(np.int16), np.concatenate([[name] * n for name, (n, _) in shares.items()])


def read(points: np.ndarray, labels: np.ndarray) -> dict[str, fairness.Ratio]:
    found = fairness.ratios(points, STANDARD_CUTOFFS, {"sex": labels})["sex"]
    return {each.group: each for each in found}


def test_a_group_far_below_the_best_off_is_red_and_a_small_one_says_nothing() -> None:
    found = read(*people(best=(400, 0.6), worse=(400, 0.3), near=(400, 0.55), few=(99, 0.0)))
    assert found["worse"].red
    assert not found["near"].red
    assert not found["best"].red
    assert found["best"].ratio == 1
    assert (found["few"].ratio, found["few"].red) == (None, False)
    told = fairness.encode({"sex": tuple(found.values())})
    assert fairness.is_red(told)
    few = [each for each in told["sex"] if each["group"] == "few"]  # type: ignore[union-attr, index, call-overload]
    assert few[0]["evidence"] == "insufficient_evidence"  # type: ignore[index, call-overload]


def test_a_ratio_below_four_fifths_by_chance_is_not_red() -> None:
    found = read(*people(best=(120, 0.5), worse=(120, 0.38)))
    assert found["worse"].ratio is not None
    assert found["worse"].ratio < 0.8
    assert not found["worse"].red


def test_whose_group_is_unknown_and_who_got_no_answer_count_nowhere() -> None:
    points, labels = people(one=(200, 0.5), other=(200, 0.5))
    labels = labels.astype("<U10")
    labels[:50], points[50:70] = fairness.UNKNOWN, 0
    found = read(points, labels)
    assert set(found) == {"one", "other"}
    assert found["one"].rows == 130


def test_where_nobody_reaches_a_better_band_nobody_is_compared() -> None:
    found = read(*people(one=(200, 0.0), other=(200, 0.0)))
    assert {each.ratio for each in found.values()} == {None}


def test_too_many_labels_are_no_grouping() -> None:
    with pytest.raises(ValueError, match="no grouping"):
        read(np.full(60, 700, np.int16), np.array([str(n) for n in range(60)]))


def test_groups_come_from_columns_for_fairness_alone() -> None:
    columns = (
        ProfileColumn("sex", "category", "declared", frozenset({Role.FAIRNESS})),  # type: ignore[arg-type]
        ProfileColumn("birth_date", "date", "declared", frozenset({Role.FAIRNESS, Role.ELIGIBILITY})),  # type: ignore[arg-type]
        ProfileColumn("weight", "float", "declared", frozenset({Role.FAIRNESS})),  # type: ignore[arg-type]
        ProfileColumn("education", "category", "declared", frozenset({Role.FEATURE})),  # type: ignore[arg-type]
    )
    profiles = pl.DataFrame(
        {
            "user": ["a", "b"],
            "sex": ["F", None],
            "birth_date": [date(1990, 6, 1), date(2008, 1, 1)],
            "weight": [1.0, 2.0],
            "education": ["x", "y"],
        }
    )
    empty = pl.DataFrame()
    behaviour = Behaviour(
        "set", Schema("CNY", "Asia/Shanghai", columns, True), empty, profiles, empty, empty, 0, 0
    )
    at = [
        datetime(2020, 6, 1, tzinfo=UTC),
        datetime(2020, 5, 31, tzinfo=UTC),
        datetime(2020, 1, 1, tzinfo=UTC),
    ]
    found = groups.of(behaviour, ["a", "a", "b"], at)
    assert {name: list(each) for name, each in found.items()} == {
        "sex": ["f", "f", ""],
        "birth_date": ["30_39", "20_29", "under_20"],
    }
    assert list(groups.of(behaviour, ["stranger"], at[:1])["birth_date"]) == [""]


@given(st.integers(0, 130))
def test_every_age_has_its_band(age: int) -> None:
    band = str(fairness.age_bands([age, None])[0])
    low, _, high = band.partition("_")
    if band == "under_20":
        assert age < 20
    elif band == "60_and_over":
        assert age >= 60
    else:
        assert int(low) <= age <= int(high)


# What lenders reported


def issued(
    rows: int, *, honest: bool = True, matured: float = 1.0, seed: int = 1, lift: float = 0.0
) -> Issued:
    random = np.random.default_rng(seed)
    log_odds = random.normal(-1.5, 1.2, rows)
    truth = log_odds if honest else np.full(rows, -1.5)
    points = np.array([policy.points(x) for x in log_odds], np.int16)
    return Issued(
        points=points,
        log_odds=log_odds,
        bands=np.array([BANDS[n % 5] for n in range(rows)]),
        month=np.array([f"2026-{1 + n % 3:02}" if n % 10 else "" for n in range(rows)]),
        approved=np.arange(rows) % 10 > 2,
        matured=(np.arange(rows) % 10 > 2) & (random.random(rows) < matured),
        defaulted=random.random(rows) < evaluation.probability(truth),
        counted=np.zeros(rows, np.bool_),
        challenger=truth * lift if lift else np.full(rows, np.nan),
    )


def test_ranking_counts_the_matured_alone() -> None:
    told: Any = performance.ranking(issued(2_000))
    assert (told["evidence"], told["rows"]) == ("enough", 1_400)
    assert float(told["auc"]["low"]) < float(told["auc"]["value"]) < float(told["auc"]["high"])
    assert float(told["auc"]["value"]) > 0.7
    chance: Any = performance.ranking(issued(2_000, honest=False))
    assert float(chance["auc"]["low"]) < 0.5 < float(chance["auc"]["high"])


@pytest.mark.parametrize(
    "few", [issued(100), issued(2_000, matured=0.0), issued(0)], ids=["rows", "none", "empty"]
)
def test_too_little_evidence_says_so(few: Issued) -> None:
    assert performance.ranking(few)["evidence"] == "insufficient_evidence"
    assert {line["state"] for line in performance.calibration(few, [])} == {"insufficient_evidence"}
    comparison: Any = performance.comparison(few)
    assert comparison["evidence"] == "insufficient_evidence"
    assert {line["evidence"] for line in performance.vintages(few, [])} <= {"insufficient_evidence"}


def test_calibration_by_band_notices_a_promise_that_was_not_kept() -> None:
    assert [line["state"] for line in performance.calibration(issued(4_000), [])] == ["agrees"] * 5
    good = issued(4_000)
    wrong = Issued(
        **{name: getattr(good, name) for name in Issued.__slots__} | {"log_odds": good.log_odds - 2}
    )
    assert {line["state"] for line in performance.calibration(wrong, [])} == {"outside"}


def test_vintages_and_approvals_add_up() -> None:
    seen = issued(3_000)
    months: Any = performance.vintages(seen, [])
    assert [line["month"] for line in months] == ["2026-01", "2026-02", "2026-03"]
    assert sum(line["decided"] for line in months) == 2_700
    assert sum(line["approved"] for line in months) == int((seen.approved & (seen.month != "")).sum())
    assert sum(line["matured"] for line in months) == int(seen.matured.sum())
    bands: Any = performance.approvals(seen)
    assert sum(line["decided"] for line in bands) == 2_700
    assert all(0 <= float(line["low"]) <= float(line["share"]) <= float(line["high"]) <= 1 for line in bands)
    few: Any = performance.honoured(50, 99)
    assert few == {"approved": 99, "kept": 50, "evidence": "insufficient_evidence"}
    assert performance.honoured(75, 100)["share"] == "0.7500"


def test_what_was_counted_before_and_what_is_fresh_are_the_whole() -> None:
    seen = issued(3_000)
    found = performance.to_count(seen)
    cells = [cell for cell, _ in found]
    assert sum(cell.loans for cell in cells) == seen.matured.sum()
    counted = replace(seen, counted=seen.matured)
    assert performance.vintages(counted, cells) == performance.vintages(seen, [])
    assert performance.calibration(counted, cells) == performance.calibration(seen, [])
    assert performance.to_count(counted) == []
    # Nothing that somebody's withdrawal takes away later changes what was counted.
    gone = replace(counted, matured=np.zeros(3_000, np.bool_), counted=np.zeros(3_000, np.bool_))
    assert performance.calibration(gone, cells) == performance.calibration(seen, [])


def test_nobody_stands_alone_in_what_is_counted() -> None:
    few = issued(3_000)
    first = few.matured & (few.bands == "A") & (few.month == "2026-01")
    for kept, cells in ((9, 0), (10, 1)):
        some = np.zeros(3_000, np.bool_)
        some[np.flatnonzero(first)[:kept]] = True
        assert len(performance.to_count(replace(few, matured=some))) == cells


def test_a_challenger_is_compared_on_the_same_rows() -> None:
    same: Any = performance.comparison(issued(2_000, lift=1.0))
    assert same["difference"] == {"value": "0.0000", "low": "0.0000", "high": "0.0000"}
    assert same["champion"] == same["challenger"]
    worse: Any = performance.comparison(issued(2_000, lift=-1.0))
    assert float(worse["difference"]["high"]) < 0


# Alerts

QUIET: dict[str, Any] = {
    "stability": {"state": "stable", "psi": "0.0100"},
    "inputs": [{"name": "x", "state": "stable", "csi": "0.0200"}],
    "calibration": [{"band": "A", "state": "agrees"}],
    "ranking": {"evidence": "enough", "auc": {"value": "0.7000", "low": "0.6500", "high": "0.7500"}},
    "groups": {"age": [{"group": "20_29", "evidence": "insufficient_evidence"}]},
}
LOUD: dict[str, Any] = {
    "stability": {"state": "red", "psi": "0.3000"},
    "inputs": [{"name": "x", "state": "red", "csi": "0.4000"}],
    "calibration": [
        {"band": "A", "state": "outside", "expected": "0.01", "observed": "0.1", "low": "0.05", "high": "0.2"}
    ],
    "ranking": {"evidence": "enough", "auc": {"value": "0.5100", "low": "0.4900", "high": "0.5300"}},
    "groups": {
        "age": [{"group": "20_29", "evidence": "enough", "ratio": "0.5", "low": "0.4", "high": "0.7"}]
    },
}


def test_each_figure_that_stands_against_the_model_raises_one_alert() -> None:
    assert alerts.standing(QUIET) == {}
    assert set(alerts.standing(LOUD)) == {
        "points_drifted",
        "input_drifted:x",
        "calibration_off:A",
        "ranks_like_chance",
        "group_worse_off:age=20_29",
    }
    for part, told in LOUD.items():
        assert len(alerts.standing(QUIET | {part: told})) == 1


codes = st.dictionaries(st.sampled_from("abcdef"), st.just({"psi": "0.3"}))


@given(codes, codes)
def test_what_goes_on_is_told_once(before: dict[str, Any], now: dict[str, Any]) -> None:
    told = alerts.changes(before, now)
    assert {each.alert for each in told if each.raised} == set(now) - set(before)
    assert {each.alert for each in told if not each.raised} == set(before) - set(now)
    assert alerts.changes(now, now) == []


# What a card keeps


def test_points_are_held_against_those_of_people_the_model_never_saw_with_the_same_data() -> None:
    """What it learnt from, and how many share less, is no part of the comparison."""
    matrix, defaulted = small_models.people()
    fit, validate = small_models.split()
    model = small_models.loaded()
    few = {Category.DECLARED, Category.SHOPPING}
    kept = np.array([each.category in few for each in model.manifest.inputs])
    share_less = np.arange(len(matrix.values)) % 5 > 0
    fewer = replace(matrix, values=np.where(share_less[:, None] & ~kept, np.float32("nan"), matrix.values))
    told: Any = snapshot.taken(model, fewer, defaulted, fit=fit, validate=validate)
    nothing_learnt = snapshot.taken(model, fewer, defaulted, fit=fit & False, validate=validate)
    assert told["points"] == nothing_learnt["points"]
    assert set(told["points"]["used"]) == few
    stated = model.manifest
    enough = scorer.filled(stated.inputs, stated.minimum, fewer.values, fewer.events, fewer.active_days)
    alike = (enough == [category in few for category in model.categories]).all(axis=1) & validate
    counted = [drift.decode(told["points"][half]).rows for half in ("earlier", "later")]
    assert drift.LEAST_ROWS < sum(counted) <= alike.sum()
    assert told["points"]["state"] != Drift.RED


def test_a_card_keeps_what_monitoring_needs() -> None:
    matrix, defaulted = small_models.people()
    fit, validate = small_models.split()
    model = small_models.loaded()
    told: Any = snapshot.taken(model, matrix, defaulted, fit=fit, validate=validate)
    assert set(told["inputs"]) == {each.name for each in model.manifest.inputs}
    for kept in told["inputs"].values():
        assert sum(kept["counts"]) + kept["missing"] == fit.sum()
    enough = scorer.filled(
        model.manifest.inputs, model.manifest.minimum, matrix.values, matrix.events, matrix.active_days
    )
    assert told["points"]["used"] == list(model.categories)
    both = [drift.decode(told["points"][part]) for part in ("earlier", "later")]
    rows, (one, other) = int((enough.all(axis=1) & validate).sum()), (each.rows for each in both)
    assert (one + other, one - other) == (rows, rows % 2)
    assert sum(each.missing for each in both) == 0
    assert float(told["points"]["psi"]) == pytest.approx(drift.psi(*both), abs=1e-4)
    tenths = told["calibration"]
    assert [float(each["expected"]) for each in tenths] == sorted(float(each["expected"]) for each in tenths)
    card = json.loads(small_models.trained().files["card.json"])
    assert sum(each["rows"] for each in tenths) == card["slices"]["all"]["rows"]
    assert {name: card[name] for name in told} == told
    assert snapshot.calibrated(np.array([]), np.array([], np.bool_)) == []
