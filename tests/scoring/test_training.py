import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import small_models

from compliance.vocabulary import Category
from scoring import (
    boosting,
    calibration,
    card,
    evaluation,
    feature_catalogue,
    lessons,
    manifest,
    policy,
    scorer,
    training,
    trees,
)
from scoring.boosting import Way
from scoring.measures import forbidden
from scoring.policy import Scale
from scoring.training import Artifact, CannotTrain

MATRIX, DEFAULTED = small_models.people()
FIT, VALIDATE = small_models.split()
LESSON = lessons.prepare(MATRIX, DEFAULTED)


def one_time(rows: int) -> np.ndarray:
    return np.zeros(rows, np.bool_)


def card_of(artifact: Artifact) -> dict[str, Any]:
    return json.loads(artifact.files[manifest.CARD])


def manifest_of(artifact: Artifact) -> manifest.Manifest:
    return manifest.decode(artifact.files[manifest.MANIFEST])


# The same again


def test_the_same_rows_seed_and_threads_give_the_same_model() -> None:
    again = small_models.train(MATRIX, DEFAULTED)
    assert again.digest == small_models.trained().digest
    assert again.files == small_models.trained().files


def test_another_seed_gives_another_model() -> None:
    assert small_models.train(MATRIX, DEFAULTED, seed=8).digest != small_models.trained().digest


def test_outcomes_held_out_reach_the_card_and_nothing_else() -> None:
    turned = small_models.train(MATRIX, DEFAULTED ^ VALIDATE)
    first = small_models.trained()
    assert turned.files[manifest.TREES] == first.files[manifest.TREES]
    assert turned.files[manifest.CARD] != first.files[manifest.CARD]
    assert replace(manifest_of(turned), files={}) == replace(manifest_of(first), files={})


def test_saving_is_whole_and_twice_is_once(tmp_path: Path) -> None:
    home = training.save(small_models.trained(), tmp_path / "models")
    assert home == training.save(small_models.trained(), tmp_path / "models")
    assert home.name == small_models.trained().digest
    assert [path.name for path in home.parent.iterdir()] == [home.name]
    assert {path.name: path.read_bytes() for path in home.iterdir()} == small_models.trained().files


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    small_models.train(MATRIX, DEFAULTED, progress=lambda _, share: told.append(share))
    assert all(a < b for a, b in pairwise(told))
    assert told[-1] == 1


# Hiding


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_copies_hide_whole_categories_and_show_each_row_whole_once(number: int, seed: int) -> None:
    rows = np.flatnonzero(FIT)[:50]
    counted, source = lessons.copies(LESSON, rows, number, np.random.default_rng(seed))
    assert not (counted & ~LESSON.enough[source]).any()
    assert scorer.may_carry(LESSON.categories, counted).all()
    carried = rows[scorer.may_carry(LESSON.categories, LESSON.enough[rows])]
    assert (source[: len(carried)] == carried).all()
    assert (counted[: len(carried)] == LESSON.enough[carried]).all()
    assert len(source) <= number * len(rows)
    values = lessons.shown(LESSON, source, counted)
    for place, category in enumerate(LESSON.categories):
        columns = values[:, [each.category is category for each in LESSON.inputs]]
        assert np.isnan(columns[~counted[:, place]]).all()


def test_about_half_of_the_copies_hide_each_category() -> None:
    rows = np.flatnonzero(LESSON.enough.all(axis=1))
    counted, _ = lessons.copies(LESSON, rows, 9, np.random.default_rng(1))
    random = counted[len(rows) :]
    for place, category in enumerate(LESSON.categories):
        # Sets that carry nothing are left out: 2 of 16, neither of which shows a category of behaviour.
        shown = 8 / 14 if category is not Category.DECLARED else 7 / 14
        assert random[:, place].mean() == pytest.approx(shown, abs=0.03)


@pytest.mark.parametrize("outcomes", [DEFAULTED, ~DEFAULTED], ids=["real", "turned"])
def test_a_student_learns_what_its_teacher_says_and_no_outcome(outcomes: np.ndarray) -> None:
    rows, way = np.flatnonzero(FIT), Way(small_models.RECIPE, 7, 1, lambda _: None)
    teacher = boosting.boost(LESSON, rows, way)
    student = boosting.student(replace(LESSON, defaulted=outcomes), rows, teacher, way)
    everything = np.ones(len(LESSON.categories), np.bool_)
    taught, told = (boosting.predict(each, LESSON, rows, everything) for each in (teacher, student))
    assert np.corrcoef(taught, told)[0, 1] > 0.95


def gap(told: Any, everything: np.ndarray, rows: np.ndarray) -> float:
    """How far off, on the mean of thirds of people, each category alone is from what is said of everything."""
    gaps = []
    for used, flags in lessons.subsets(LESSON).items():
        if len(used) == 1:
            alone = evaluation.probability(boosting.predict(told, LESSON, rows, flags))
            thirds = np.array_split(np.argsort(alone, kind="stable"), 3)
            gaps += [abs(alone[third].mean() - everything[third].mean()) for third in thirds]
    return float(np.mean(gaps))


def test_what_a_student_says_of_a_set_is_on_the_mean_what_it_says_of_everything() -> None:
    rows, way = np.flatnonzero(FIT), Way(small_models.RECIPE, 7, 1, lambda _: None)
    teacher = boosting.boost(LESSON, rows, way)
    student = boosting.student(LESSON, rows, teacher, way)
    whole, flags = rows[LESSON.enough[rows].all(axis=1)], np.ones(len(LESSON.categories), np.bool_)
    everything = evaluation.probability(boosting.predict(teacher, LESSON, whole, flags))
    assert gap(student, everything, whole) < 0.7 * gap(teacher, everything, whole)


def test_with_one_category_the_teacher_is_the_model() -> None:
    one = replace(LESSON, categories=LESSON.categories[:1])
    teacher = object()
    assert boosting.student(one, np.arange(3), teacher, Way(small_models.RECIPE, 7, 1, print)) is teacher


def test_copies_of_every_size_are_as_many() -> None:
    rows = np.flatnonzero(LESSON.enough.all(axis=1))
    shown, source = lessons.copies(LESSON, rows, 6, np.random.default_rng(1), sizes_alike=True)
    assert (shown[: len(rows)]).all()
    assert not (shown & ~LESSON.enough[source]).any()
    whole = shown.shape[1]
    share = np.bincount(shown[len(rows) :].sum(axis=1), minlength=whole + 1)[2:] / (5 * len(rows))
    assert np.allclose(share, 1 / whole, atol=0.02)


def test_too_many_copies_are_a_bug() -> None:
    with pytest.raises(ValueError, match="copies"):
        lessons.copies(LESSON, np.arange(3), 17, np.random.default_rng(1))


def test_every_set_that_may_carry_an_answer_is_calibrated_and_has_intervals() -> None:
    stated = manifest_of(small_models.trained())
    carrying = set(lessons.subsets(LESSON))
    assert len(carrying) == 2**4 - 2
    assert set(stated.calibration) == set(stated.half_widths) == carrying
    assert all(line.slope > 0 for line in stated.calibration.values())
    assert all(len(widths) == policy.STEPS for widths in stated.half_widths.values())
    assert all(width > 0 for widths in stated.half_widths.values() for width in widths)


def test_whatever_we_hide_of_people_the_level_of_their_risk_is_theirs() -> None:
    model, whole = small_models.loaded(), np.flatnonzero(VALIDATE & LESSON.enough.all(axis=1))
    events = {category: counts[whole] for category, counts in MATRIX.events.items()}
    days = {category: counts[whole] for category, counts in MATRIX.active_days.items()}
    observed = DEFAULTED[whole].mean()
    error = np.sqrt(observed * (1 - observed) / len(whole))
    for flags in lessons.subsets(LESSON).values():
        shared = np.broadcast_to(flags, (len(whole), len(flags)))
        evaluated = model.evaluate_many(MATRIX.values[whole], events, days, shared)
        assert abs(evaluation.probability(evaluated.log_odds).mean() - observed) < 3 * error


# Calibration


def test_calibration_undoes_what_is_too_sure() -> None:
    random = np.random.default_rng(2)
    truth = random.normal(size=5_000) - 1
    bad = random.random(5_000) < evaluation.probability(truth)
    line = calibration.line(3 * truth + 1, bad)
    assert line is not None
    assert line.slope == pytest.approx(1 / 3, abs=0.03)
    assert line.intercept == pytest.approx(-1 / 3, abs=0.1)


def test_hiding_moves_nobodys_expected_risk_though_those_without_data_are_worse() -> None:
    random = np.random.default_rng(3)
    device, shopping = Category.DEVICE_USAGE, Category.SHOPPING
    truth = random.normal(size=20_000) - 2
    thin = random.random(20_000) < 0.3
    bad = random.random(20_000) < evaluation.probability(truth + 0.5 * thin)
    enough = np.column_stack([np.ones(20_000, np.bool_), ~thin])
    alone, both = frozenset({device}), frozenset({device, shopping})
    raw = {alone: 2 * truth + random.normal(size=20_000), both: np.where(thin, np.nan, 3 * truth + 1)}
    lines = calibration.calibrated(raw, raw, (device, shopping), enough, bad, one_time(20_000)).lines
    p = {used: evaluation.probability(lines[used].intercept + lines[used].slope * raw[used]) for used in raw}
    # The same people, seen with and without shopping: the same level (the common shift bends it a little).
    assert p[alone][~thin].mean() == pytest.approx(p[both][~thin].mean(), rel=0.01)
    # Everybody, with what they hold: as many as happened.
    assert np.where(thin, p[alone], p[both]).sum() == pytest.approx(bad.sum(), rel=1e-6)


@pytest.mark.parametrize(("moved", "level"), [(0.5, 0.5), (0.0, 0.0)])
def test_the_level_is_the_later_slices_where_it_moved(moved: float, level: float) -> None:
    random = np.random.default_rng(5)
    raw, later = random.normal(size=20_000) - 2, np.arange(20_000) >= 14_000
    bad = random.random(20_000) < evaluation.probability(raw + moved * later)
    one = frozenset({Category.SHOPPING})
    shown = {one: raw}
    found = calibration.calibrated(
        shown, shown, (Category.SHOPPING,), np.ones((20_000, 1), np.bool_), bad, later
    )
    lines = found.lines
    assert lines[one].intercept == pytest.approx(level, abs=0.06)


def test_a_rare_category_does_not_decide_whom_the_others_are_fitted_on() -> None:
    random = np.random.default_rng(3)
    raw = random.normal(size=2_000)
    bad = random.random(2_000) < evaluation.probability(raw - 1)
    rare = np.arange(2_000) < 30
    one, two = frozenset({Category.DEVICE_USAGE}), frozenset({Category.FITNESS})
    enough = np.column_stack([np.ones(2_000, np.bool_), rare])
    scores = {one: raw, two: np.where(rare, raw, np.nan), one | two: np.full(2_000, np.nan)}
    both = (Category.DEVICE_USAGE, Category.FITNESS)
    lines = calibration.calibrated(scores, scores, both, enough, bad, one_time(2_000)).lines
    assert set(lines) == {one, two}
    everybody = calibration.line(raw, bad)
    assert everybody is not None
    assert lines[one].slope == everybody.slope
    assert lines[two].slope == 1


@pytest.mark.parametrize("defaults", [1, 19])
def test_too_few_outcomes_set_the_level_only(defaults: int) -> None:
    raw = np.linspace(-1, 1, 100)
    bad = np.zeros(100, np.bool_)
    bad[-defaults:] = True
    line = calibration.line(raw, bad)
    assert line is not None
    assert line.slope == 1
    assert evaluation.probability(line.intercept + raw).sum() == pytest.approx(defaults)


def test_a_score_that_ranks_the_wrong_way_becomes_nearly_flat() -> None:
    random = np.random.default_rng(4)
    raw = random.normal(size=2_000)
    bad = random.random(2_000) < evaluation.probability(-raw)
    line = calibration.line(raw, bad)
    assert line is not None
    assert line.slope == calibration.LEAST_SLOPE
    assert evaluation.probability(line.intercept + line.slope * raw).sum() == pytest.approx(bad.sum())


def test_one_outcome_only_is_not_calibrated() -> None:
    assert calibration.line(np.arange(50.0), np.zeros(50, np.bool_)) is None
    assert calibration.line(np.full(50, np.nan), np.zeros(50, np.bool_)) is None


def test_half_widths_are_those_of_the_spread_and_sparse_steps_have_the_widest() -> None:
    random = np.random.default_rng(5)
    points = np.repeat(np.array([420, 620], np.int16), 400)
    spread = np.repeat([0.1, 0.3], 400)
    widths = calibration.half_widths(points, random.normal(size=(50, 800)) * spread)
    narrow, wide = (policy.POINTS_PER_LOG_ODDS * 1.2816 * sigma for sigma in (0.1, 0.3))
    assert widths[policy.place(420)] == pytest.approx(narrow, rel=0.05)
    assert widths[policy.place(620)] == pytest.approx(wide, rel=0.05)
    assert widths[0] == widths[-1] == widths[policy.place(620)]


# The card


def test_the_card_says_what_it_was_tried_on_and_how_well_it_did() -> None:
    told = card_of(small_models.trained())
    assert told["rows"]["fit"] == FIT.sum()
    assert told["rows"]["validate"] == VALIDATE.sum()
    assert set(told["slices"]) == {"all", "credit_history", "device_usage", "shopping"}
    tried = told["slices"]["all"]
    assert tried["rows"] == told["rows"]["validate"] - told["rows"]["validate_without_evidence"]
    for name in (*card.RANKING, *card.HONESTY):
        figure = {bound: float(number) for bound, number in tried[name].items()}
        assert (
            figure["low"] <= figure["value"] <= figure["high"] or name == "ece"
        )  # resampling adds noise to it
    assert 0.65 < float(tried["auc"]["value"]) < 0.85
    assert set(told["against_direction"]) == {each.name for each in LESSON.inputs if each.monotone}
    assert all(0 <= float(share) <= 1 for share in told["against_direction"].values())
    assert told["about"]["data"] == "random"
    assert float(told["share_answered"]) > 0.5


def test_a_world_where_behaviour_carries_nothing_scores_like_chance() -> None:
    artifact = small_models.train(*small_models.people(signal=0.0))
    told = card_of(artifact)
    assert float(told["slices"]["all"]["auc"]["value"]) == pytest.approx(0.5, abs=0.08)
    assert "ranks_like_chance" in card.obstacles(told, LESSON.inputs)
    # Grown and calibrated by people the trees had not seen: nobody is told far from the base rate.
    model = scorer.Scorer("null", manifest_of(artifact), trees.read(artifact.files[manifest.TREES]))
    everything = np.ones((len(DEFAULTED), len(model.categories)), np.bool_)
    found = model.evaluate_many(MATRIX.values, MATRIX.events, MATRIX.active_days, everything)
    assert np.nanstd(found.log_odds) < 0.25


def test_a_feature_that_gives_the_outcome_away_is_seen() -> None:
    values = MATRIX.values.copy(order="F")
    values[:, 0] = np.where(
        np.isnan(values[:, 0]), np.nan, DEFAULTED + np.random.default_rng(1).normal(size=len(values)) / 4
    )
    told = card_of(small_models.train(replace(MATRIX, values=values), DEFAULTED))
    assert told["largest_feature"]["name"] == LESSON.inputs[0].name
    assert "one_feature_carries_too_much" in card.obstacles(told, LESSON.inputs)
    # More of it is more risk, as its direction says: little of the movement runs against it.
    assert float(told["against_direction"][LESSON.inputs[0].name]) < 0.2


def test_a_feature_that_runs_against_its_direction_is_seen() -> None:
    turned = replace(LESSON.matrix.features[0], monotone=-1)
    features = (turned, *MATRIX.features[1:])
    told = card_of(small_models.train(replace(MATRIX, features=features), DEFAULTED))
    right = card_of(small_models.trained())["against_direction"][turned.name]
    assert float(right) < 0.5
    assert float(told["against_direction"][turned.name]) == pytest.approx(1 - float(right), abs=0.001)


def interval(low: str, high: str) -> dict[str, str]:
    return {"value": low, "low": low, "high": high}


def made_card(**changed: Any) -> dict[str, Any]:
    """A card with nothing against it, each figure at its bound; `slice_...`, or a part of its own."""
    tried = {
        "rows": 400,
        "base_rate": "0.2000",
        "defaults": 50,
        "auc": interval("0.5001", "0.6000"),
        "observed_over_expected": interval("0.8000", "0.8000"),
        "calibration_slope": interval("1.2500", "1.7000"),
        "calibration_intercept": interval("-0.9000", "-0.2500"),
        # 0.05, and sqrt(2 / pi * 0.2 * 0.8 * 10 / 400) = 0.0505 by chance.
        "ece": interval("0.1004", "0.2000"),
    }
    whole: dict[str, Any] = {"largest_feature": {"share": "0.4000"}, "points": {"psi": "0.2500"}}
    for name, value in changed.items():
        (tried if name in tried else whole)[name] = value
    return whole | {"slices": {"all": tried}}


GROUP = {"group": "b", "rows": 400, "evidence": "enough", "ratio": "0.7000", "low": "0.6000"}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, ()),
        ({"observed_over_expected": interval("1.2500", "2.0")}, ()),
        ({"calibration_slope": interval("0.1000", "0.8000")}, ()),
        ({"calibration_intercept": interval("0.2500", "0.9000")}, ()),
        ({"fairness": {"sex": [GROUP | {"high": "0.8000"}]}}, ()),
        ({"fairness": {"sex": [GROUP | {"high": "0.1", "evidence": "insufficient_evidence"}]}}, ()),
        ({"fairness": {"sex": [GROUP | {"high": "0.7999"}]}}, ("adverse_impact_red",)),
        ({"defaults": 49}, ("insufficient_evidence",)),
        ({"auc": interval("0.5000", "0.6000")}, ("ranks_like_chance",)),
        ({"auc": interval("unknown", "unknown")}, ("ranks_like_chance",)),
        ({"observed_over_expected": interval("0.7999", "0.9")}, ("calibration_red",)),
        ({"observed_over_expected": interval("1.2501", "1.3")}, ("calibration_red",)),
        ({"observed_over_expected": interval("unknown", "unknown")}, ("calibration_red",)),
        ({"calibration_slope": interval("1.2501", "1.9000")}, ("calibration_red",)),
        ({"calibration_slope": interval("0.1000", "0.7999")}, ("calibration_red",)),
        ({"calibration_slope": interval("unknown", "unknown")}, ("calibration_red",)),
        ({"calibration_intercept": interval("0.2501", "0.9000")}, ("calibration_red",)),
        ({"calibration_intercept": interval("-0.9000", "-0.2501")}, ("calibration_red",)),
        ({"ece": interval("0.1006", "0.2000")}, ("calibration_red",)),
        ({"points": {"psi": "0.2501"}}, ("stability_red",)),
        ({"points": {"psi": "unknown"}}, ("stability_red",)),
        ({"points": {}}, ("stability_red",)),
        ({"points": {"psi": "0.9000", "state": "insufficient_evidence"}}, ()),
        ({"largest_feature": {"share": "0.4001"}}, ("one_feature_carries_too_much",)),
        (
            {"defaults": 0, "largest_feature": {"share": "0.9000"}},
            ("insufficient_evidence", "one_feature_carries_too_much"),
        ),
    ],
)
def test_what_stands_against_promotion(changed: dict[str, Any], found: tuple[str, ...]) -> None:
    assert card.obstacles(made_card(**changed), LESSON.inputs) == found


@pytest.mark.parametrize(
    "said",
    [
        {"name": "sex"},
        {"name": "maritalStatus"},
        {"name": "x", "expression": "profile(gender)"},
        {"name": "x", "expression": 'profile(ethnicity) = "a"'},
        {"name": "宗教"},
    ],
)
def test_a_forbidden_input_stands_against_promotion_whatever_it_is_called(said: dict[str, str]) -> None:
    made = (*LESSON.inputs[1:], replace(LESSON.inputs[0], **said))
    assert card.obstacles(made_card(), made) == ("feature_forbidden",)


def test_nothing_of_the_catalogue_is_forbidden() -> None:
    assert not [d.name for d in feature_catalogue.DEFINITIONS if forbidden.is_in(d.expression)]


# Scales and refusals


def test_bands_of_a_products_own_scale_are_about_fifths_of_people() -> None:
    artifact = small_models.train(MATRIX, DEFAULTED, scale=Scale.PRODUCT)
    stated = manifest_of(artifact)
    assert stated.scale is Scale.PRODUCT
    assert stated.cutoffs != policy.STANDARD_CUTOFFS
    assert list(stated.cutoffs) == sorted(stated.cutoffs, reverse=True)
    held = np.flatnonzero(VALIDATE)
    points = (
        small_models.loaded()
        .evaluate_many(
            MATRIX.values[held],
            {category: counts[held] for category, counts in MATRIX.events.items()},
            {category: counts[held] for category, counts in MATRIX.active_days.items()},
            np.ones((len(held), len(LESSON.categories)), np.bool_),
        )
        .points
    )
    bands = [policy.band(int(each), stated.cutoffs) for each in points if each]
    assert all(bands.count(band) / len(bands) == pytest.approx(0.2, abs=0.08) for band in policy.BANDS)


def test_too_few_outcomes_cannot_be_trained_on() -> None:
    rare = np.zeros_like(DEFAULTED)
    rare[:19] = True
    with pytest.raises(CannotTrain, match="rarer outcome"):
        small_models.train(MATRIX, rare)


def test_a_row_cannot_be_fitted_and_validated_on() -> None:
    with pytest.raises(ValueError, match="fitted and validated"):
        small_models.train(MATRIX, DEFAULTED, validate=FIT)


def test_a_reason_of_another_category_is_a_bug() -> None:
    wrong = replace(MATRIX.features[0], reason="SH-001")
    with pytest.raises(ValueError, match="two categories"):
        lessons.prepare(replace(MATRIX, features=(wrong, *MATRIX.features[1:])), DEFAULTED)
