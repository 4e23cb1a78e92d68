"""Incomes: told in two digits, with a range that holds what it says, and every figure beside a constant's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import small_incomes, small_models

from compliance.vocabulary import Category
from scoring import manifest, training
from scoring.answers import amounts, income, income_card, income_manifest, income_training, income_trials
from scoring.answers.income import IncomeModel
from scoring.answers.income_manifest import LOWER, MEDIAN, UPPER
from scoring.manifest import ModelAltered
from scoring.scorer import InsufficientEvidence
from scoring.training import CannotTrain

MATRIX, _ = small_models.people()
FIT, VALIDATE = small_models.split()
INCOME = small_incomes.incomes()
EVERYTHING = frozenset(small_models.REASONS)


def card_of(artifact: training.Artifact) -> dict[str, Any]:
    return json.loads(artifact.files[manifest.CARD])


def estimates(model: IncomeModel, rows: np.ndarray, shared: np.ndarray) -> income.IncomeEstimates:
    return model.evaluate_many(
        MATRIX.values[rows],
        {category: counts[rows] for category, counts in MATRIX.events.items()},
        {category: counts[rows] for category, counts in MATRIX.active_days.items()},
        np.broadcast_to(shared, (len(rows), len(model.categories))),
    )


# Amounts


@given(st.floats(0, 20.7))
def test_an_amount_is_told_in_two_digits_and_near(log_amount: float) -> None:
    told = int(amounts.told(np.array([log_amount]))[0])
    assert len(str(told).rstrip("0")) <= 2
    assert abs(told - np.exp(log_amount)) <= max(0.5, 0.05 * told) + 1e-6


@pytest.mark.parametrize(
    ("amount", "told"),
    [(0.2, 1), (1.4, 1), (1.6, 2), (99.4, 99), (4_449, 4_400), (4_451, 4_500), (9_960, 10_000)],
)
def test_amounts_are_rounded_to_the_nearest(amount: float, told: int) -> None:
    assert amounts.told(np.log([amount])).tolist() == [told]


@given(st.floats(0.1, 20), st.integers(1, 10**8))
def test_what_is_told_is_below_or_from_an_amount_just_where_it_is_said(
    log_amount: float, amount: int
) -> None:
    told = amounts.told(np.array([log_amount]))[0]
    limit = np.array([float(amount)])
    assert (told <= amount) == (log_amount < amounts.below(limit)[0])
    assert (told >= amount) == (log_amount >= amounts.from_(limit)[0])


# Training


def test_the_same_rows_seed_and_threads_give_the_same_model() -> None:
    again = small_incomes.train(INCOME)
    assert again.files == small_incomes.trained().files
    assert again.digest == small_incomes.trained().digest


def test_incomes_held_out_reach_the_card_and_nothing_else() -> None:
    first, turned = small_incomes.trained(), small_incomes.train(np.where(VALIDATE, INCOME[::-1], INCOME))
    assert {name for name in first.files if first.files[name] != turned.files[name]} == {
        manifest.CARD,
        manifest.MANIFEST,
    }
    both = [replace(small_incomes.read(each).manifest, files={}) for each in (first, turned)]
    assert both[0] == both[1]


def test_unknown_incomes_are_left_out_and_counted() -> None:
    some = np.where(np.arange(len(INCOME)) % 10 == 0, np.nan, INCOME)
    rows = card_of(small_incomes.train(some))["rows"]
    assert rows["left_out"] == np.isnan(some).sum()


def test_too_few_incomes_carry_no_model() -> None:
    with pytest.raises(CannotTrain, match="income"):
        small_incomes.train(np.where(FIT, np.nan, INCOME))


def test_every_set_of_categories_has_its_own_interval() -> None:
    assert len(small_incomes.loaded().manifest.widening) == 2**4 - 1


def test_the_widening_is_the_one_that_just_holds_the_income() -> None:
    random = np.random.default_rng(5)
    middle = random.normal(8, 0.4, 500)
    raw = {LOWER: middle - 0.4, MEDIAN: middle, UPPER: middle + 0.3}
    earned = np.round(np.exp(middle + random.normal(0, 0.5, 500)), -1)
    needed = income_training.covering(raw, earned)
    outside = np.abs(amounts.told(middle) - earned) > 0
    for step, held in ((1e-9, True), (-1e-6, False)):
        low, high = income.told_interval(raw, needed + step)
        inside = (low <= earned) & (earned <= high)
        assert inside[outside].all() if held else not inside[outside & (needed > -0.25)].any()


def test_the_interval_holds_its_share_of_people_it_has_not_seen() -> None:
    """The sketch of the trees may be as wrong as it likes."""
    random = np.random.default_rng(6)
    held = []
    for _ in range(200):
        middle = np.zeros(301) + 8
        raw = {LOWER: middle - 0.05, MEDIAN: middle, UPPER: middle + 0.02}
        earned = np.round(np.exp(random.normal(8.3, 0.7, 301)), -2) + 100
        width = income_training.conformal(income_training.covering(raw, earned)[:300])
        low, high = income.told_interval(raw, width)
        held.append(bool(low[300] <= earned[300] <= high[300]))
    assert np.mean(held) == pytest.approx(0.8, abs=0.08)


def test_too_few_people_have_no_interval() -> None:
    assert income_training.conformal(np.arange(99.0)) is None


# The card


def test_a_model_that_knows_something_beats_the_constant_and_may_be_promoted() -> None:
    card = card_of(small_incomes.trained())
    tried = card["slices"]["all"]
    assert income_card.obstacles(card, ()) == ()
    for name in (*income_card.LOSSES, *income_card.HITS):
        assert {"model", "constant", "gain_low", "gain_high"} == tried[name].keys()
    assert 0.72 < float(tried["interval_held"]["model"]) < 0.88
    assert set(card["slices"]) == {"all", *EVERYTHING}


def test_a_model_that_knows_nothing_may_not() -> None:
    nothing = np.random.default_rng(9).permutation(INCOME)
    assert "no_better_than_a_constant" in income_card.obstacles(card_of(small_incomes.train(nothing)), ())


@pytest.mark.parametrize(("low", "high"), [("0.60", "0.77"), ("0.83", "0.90")])
def test_a_model_whose_interval_says_too_much_may_not(low: str, high: str) -> None:
    card = card_of(small_incomes.trained())
    card["slices"]["all"]["interval_held"] |= {"low": low, "high": high}
    assert income_card.obstacles(card, ()) == ("interval_dishonest",)


def test_a_small_sample_shows_nothing() -> None:
    card = card_of(small_incomes.trained())
    card["slices"]["all"]["rows"] = 199
    assert income_card.obstacles(card, ()) == ("insufficient_evidence",)


def test_folds_of_people_are_measured_together_beside_the_constants() -> None:
    tried = income_trials.cross_validated(
        MATRIX, INCOME, seed=3, threads=2, currency="CNY", recipe=replace(small_incomes.RECIPE, trees=20)
    )
    assert (tried["folds"], tried["asked"]) == (5, len(INCOME))
    assert 0.8 * len(INCOME) < tried["rows"] <= len(INCOME)
    assert float(tried["log_absolute_error"]["gain_low"]) > 0
    assert 0.75 < float(tried["interval_held"]["model"]) < 0.87
    constants = tried["exact_band"]["constant"]
    assert 0.1 < float(constants) < float(tried["exact_band"]["model"])


# Evaluation


def test_one_person_and_many_get_the_same() -> None:
    model, rows = small_incomes.loaded(), np.arange(40)
    many = estimates(model, rows, np.ones(4, np.bool_))
    for row in rows:
        try:
            one = model.evaluate(MATRIX.values[row], small_models.evidence(MATRIX, row), EVERYTHING)
        except InsufficientEvidence:
            assert many.point[row] == income.NO_ANSWER
        else:
            assert (one.low, one.point, one.high) == (many.low[row], many.point[row], many.high[row])
            assert one.low <= one.point <= one.high
    assert (many.point > 0).mean() > 0.8


def test_what_is_not_shared_changes_nothing() -> None:
    model, device = small_incomes.loaded(), Category.DEVICE_USAGE
    row = int(np.flatnonzero((MATRIX.events[device] >= 30) & (MATRIX.active_days[device] >= 10))[0])
    values, evidence = MATRIX.values[row].copy(), small_models.evidence(MATRIX, row)
    refused = model.evaluate(values, evidence, EVERYTHING - {device})
    values[[each.category is device for each in model.manifest.inputs]] = 99
    assert model.evaluate(values, evidence, EVERYTHING - {device}) == refused
    values[[each.category is device for each in model.manifest.inputs]] = np.nan
    assert model.evaluate(values, evidence, EVERYTHING) == refused


def test_nothing_shared_is_no_answer() -> None:
    model = small_incomes.loaded()
    with pytest.raises(InsufficientEvidence):
        model.evaluate(MATRIX.values[0], small_models.evidence(MATRIX, 0), frozenset())


@pytest.mark.parametrize(
    ("point", "named"),
    [
        (900, "below_2500"),
        (2_500, "2500_3999"),
        (3_999, "2500_3999"),
        (6_000, "6000_9999"),
        (10_000, "from_10000"),
    ],
)
def test_bands_are_named_by_their_bounds(point: int, named: str) -> None:
    assert income.band(point, income_training.CNY_EDGES) == named


def test_a_wide_interval_is_no_answer() -> None:
    assert income.confidence(1_000, 2_000) == "high"
    assert income.confidence(1_000, 6_000) == "low"
    assert income.confidence(1_000, 6_100) is None


# Stored


def test_a_stored_model_answers_like_the_trained_one(tmp_path: Path) -> None:
    home = training.save(small_incomes.trained(), tmp_path)
    rows = np.arange(20)
    one, other = (
        estimates(model, rows, np.ones(4, np.bool_))
        for model in (IncomeModel.load(home), small_incomes.loaded())
    )
    assert one.point.tolist() == other.point.tolist()
    assert one.high.tolist() == other.high.tolist()


def test_an_altered_model_is_not_loaded(tmp_path: Path) -> None:
    home = training.save(small_incomes.trained(), tmp_path)
    (home / MEDIAN).write_bytes((home / MEDIAN).read_bytes() + b" ")
    with pytest.raises(ModelAltered):
        IncomeModel.load(home)


def test_a_score_model_is_no_income_model(tmp_path: Path) -> None:
    with pytest.raises(ModelAltered, match="incomes"):
        income_manifest.read(training.save(small_models.trained(), tmp_path))
