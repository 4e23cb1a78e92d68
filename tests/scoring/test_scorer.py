import math
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import catboost
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import small_models

from compliance.vocabulary import Categories, Category
from scoring import manifest, policy, scorer, training, trees
from scoring.manifest import ModelAltered
from scoring.scorer import Evidence, InsufficientEvidence, Scorer

MATRIX, DEFAULTED = small_models.people()
EVERYTHING = frozenset(small_models.REASONS)
SUBSETS = [frozenset(s) for n in range(len(EVERYTHING) + 1) for s in combinations(sorted(EVERYTHING), n)]
rows = st.integers(0, small_models.PEOPLE - 1)
MODEL = small_models.loaded()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.save(small_models.trained(), tmp_path_factory.mktemp("models"))


def answer(values: np.ndarray, evidence: Evidence, shared: Categories) -> bytes:
    """Everything the caller can learn, as bytes."""
    try:
        return repr(MODEL.evaluate(values, evidence, shared)).encode()
    except InsufficientEvidence as refusal:
        return repr((refusal.code, refusal.detail)).encode()


def without(evidence: Evidence, category: Category) -> Evidence:
    return Evidence({**evidence.events, category: 0}, {**evidence.active_days, category: 0})


# The trees


def oracle(booster: catboost.CatBoost, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pool = catboost.Pool(np.asfortranarray(values))
    return booster.predict(pool, prediction_type="RawFormulaVal"), booster.get_feature_importance(
        pool, type="ShapValues"
    )


def test_scores_and_contributions_are_catboosts_own(folder: Path) -> None:
    booster = catboost.CatBoostClassifier()
    booster.load_model(str(folder / manifest.CATBOOST))
    raw, shap = oracle(booster, MATRIX.values)
    ours = [MODEL.raw(values) for values in MATRIX.values]
    assert np.array([score for score, _ in ours]) == pytest.approx(raw, abs=1e-9)
    assert np.array([added for _, added in ours]) == pytest.approx(shap[:, :-1], abs=1e-9)
    assert MODEL.trees.base == pytest.approx(shap[0, -1], abs=1e-9)


def test_one_row_and_many_agree_to_the_last_bit() -> None:
    assert trees.raw(MODEL.trees, MATRIX.values).tolist() == [MODEL.raw(row)[0] for row in MATRIX.values]


@pytest.mark.parametrize(("depth", "trees_grown", "features"), [(1, 3, 1), (3, 8, 2), (6, 25, 12), (8, 4, 3)])
def test_trees_of_any_shape_are_catboosts_own(
    tmp_path: Path, depth: int, trees_grown: int, features: int
) -> None:
    random = np.random.default_rng(depth)
    values = random.normal(size=(400, features)).astype(np.float32)
    values[random.random(values.shape) < 0.3] = np.nan
    target = (random.random(400) < 0.4).astype(float)
    booster = catboost.CatBoostClassifier(
        iterations=trees_grown, depth=depth, allow_writing_files=False, verbose=False, nan_mode="Min"
    ).fit(catboost.Pool(np.asfortranarray(values), target))
    booster.save_model(str(tmp_path / "model.json"), format="json")
    ours = trees.read((tmp_path / "model.json").read_bytes())
    raw, shap = oracle(booster, values)
    assert trees.raw(ours, values) == pytest.approx(raw, abs=1e-9)
    explained = [trees.explained(ours, row) for row in values]
    assert np.array([added for _, added in explained]) == pytest.approx(shap[:, :-1], abs=1e-9)
    for score, added in explained:
        assert score == pytest.approx(ours.base + added.sum(), abs=1e-9)


def test_trees_without_a_split_and_of_unequal_depth_are_read(tmp_path: Path) -> None:
    values = np.repeat(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), 5, axis=0)
    target = (values[:, 0] > 0).astype(float)
    booster = catboost.CatBoostClassifier(
        iterations=30, depth=4, allow_writing_files=False, verbose=False, nan_mode="Min", random_strength=0
    ).fit(catboost.Pool(np.asfortranarray(values), target))
    booster.save_model(str(tmp_path / "model.json"), format="json")
    ours = trees.read((tmp_path / "model.json").read_bytes())
    raw, shap = oracle(booster, values)
    assert trees.raw(ours, values) == pytest.approx(raw, abs=1e-9)
    assert np.array([trees.explained(ours, row)[1] for row in values]) == pytest.approx(
        shap[:, :-1], abs=1e-9
    )


def test_a_tree_without_a_split_only_moves_the_level() -> None:
    mean, shares = trees.shapley([], np.array([0.25]), np.array([10.0]))
    assert (mean, shares) == (0.25, {})


def test_trees_too_deep_to_table_are_refused() -> None:
    exported = b'{"scale_and_bias": [1, [0]], "oblivious_trees": []}'
    with pytest.raises(ValueError, match="cannot be tabled"):
        trees.read(exported)


# Refusing is never evidence


@settings(max_examples=40)
@given(rows, st.integers(0, 2**32 - 1))
def test_refused_is_no_data_is_whatever_it_holds(row: int, seed: int) -> None:
    values, evidence = MATRIX.values[row], small_models.evidence(MATRIX, row)
    noise = np.random.default_rng(seed).normal(size=len(values)).astype(np.float32)
    for shared in SUBSETS:
        expected = answer(values, evidence, shared)
        for hidden in EVERYTHING - shared:
            of_hidden = [each.category is hidden for each in MODEL.manifest.inputs]
            emptied = np.where(of_hidden, np.float32("nan"), values)
            assert answer(emptied, without(evidence, hidden), shared) == expected
            assert answer(emptied, without(evidence, hidden), shared | {hidden}) == expected
            assert answer(emptied, evidence, shared | {hidden}) == expected
            assert answer(np.where(of_hidden, noise, values), evidence, shared) == expected


def test_a_category_below_its_minimum_is_as_if_it_were_not_shared() -> None:
    row = next(r for r in range(small_models.PEOPLE) if len(used(r)) == len(EVERYTHING))
    values, evidence = MATRIX.values[row], small_models.evidence(MATRIX, row)
    least = policy.MINIMUM_EVIDENCE[Category.DEVICE_USAGE]
    for thin in (
        Evidence({**evidence.events, Category.DEVICE_USAGE: least.events - 1}, evidence.active_days),
        Evidence(evidence.events, {**evidence.active_days, Category.DEVICE_USAGE: least.active_days - 1}),
    ):
        assert answer(values, thin, EVERYTHING) == answer(
            values, evidence, EVERYTHING - {Category.DEVICE_USAGE}
        )
    enough = Evidence(
        {**evidence.events, Category.DEVICE_USAGE: least.events},
        {**evidence.active_days, Category.DEVICE_USAGE: least.active_days},
    )
    assert answer(values, enough, EVERYTHING) == answer(values, evidence, EVERYTHING)


def used(row: int) -> tuple[Category, ...]:
    try:
        return MODEL.evaluate(MATRIX.values[row], small_models.evidence(MATRIX, row), EVERYTHING).used
    except InsufficientEvidence:
        return ()


@pytest.mark.parametrize(
    "shared", [frozenset(), frozenset({Category.DECLARED}), frozenset({Category.FITNESS})]
)
def test_nothing_and_only_what_was_stated_are_insufficient(shared: Categories) -> None:
    row = next(r for r in range(small_models.PEOPLE) if len(used(r)) == len(EVERYTHING))
    with pytest.raises(InsufficientEvidence) as refused:
        MODEL.evaluate(MATRIX.values[row], small_models.evidence(MATRIX, row), shared)
    assert (refused.value.status, refused.value.code) == (422, "insufficient_evidence")
    assert "not an adverse result" in refused.value.detail


def test_points_that_could_lie_anywhere_in_120_are_insufficient() -> None:
    unsure = with_half_widths(60.01)
    row = next(r for r in range(small_models.PEOPLE) if used(r))
    with pytest.raises(InsufficientEvidence):
        unsure.evaluate(MATRIX.values[row], small_models.evidence(MATRIX, row), EVERYTHING)
    evaluated = with_half_widths(60.0).evaluate(
        MATRIX.values[row], small_models.evidence(MATRIX, row), EVERYTHING
    )
    assert evaluated.confidence is policy.Confidence.LOW


def with_half_widths(half_width: float) -> Scorer:
    widths = dict.fromkeys(MODEL.manifest.half_widths, (half_width,) * policy.STEPS)
    return Scorer(MODEL.digest, replace(MODEL.manifest, half_widths=widths), MODEL.trees)


# The answer


@given(rows, st.sampled_from(SUBSETS))
def test_an_answer_is_whole_and_speaks_of_shared_data_only(row: int, shared: Categories) -> None:
    values, evidence = MATRIX.values[row], small_models.evidence(MATRIX, row)
    try:
        evaluated = MODEL.evaluate(values, evidence, shared)
    except InsufficientEvidence:
        return
    assert set(evaluated.used) <= shared
    assert sorted(evaluated.used + evaluated.not_used) == sorted(EVERYTHING)
    assert {reason.category for reason in evaluated.reasons} <= set(evaluated.used)
    assert len(evaluated.reasons) <= 4
    assert evaluated.interval[0] <= evaluated.points <= evaluated.interval[1]
    assert evaluated.band == policy.band(evaluated.points, policy.STANDARD_CUTOFFS)
    odds_good = (1 - float(evaluated.probability)) / float(evaluated.probability)
    exact = min(max(600 + 50 * math.log2(odds_good / 20), policy.LOWEST_POINTS), policy.HIGHEST_POINTS)
    assert abs(exact - evaluated.points) <= 0.5 + 1e-3


@given(rows)
def test_a_reason_lowers_the_points_when_its_features_raise_the_risk(row: int) -> None:
    values = MATRIX.values[row]
    try:
        evaluated = MODEL.evaluate(values, small_models.evidence(MATRIX, row), EVERYTHING)
    except InsufficientEvidence:
        return
    kept = [each.category in evaluated.used for each in MODEL.manifest.inputs]
    shown = np.where(kept, values, np.float32("nan"))
    added = MODEL.raw(shown)[1]
    for reason in evaluated.reasons:
        its = np.array([each.reason == reason.code for each in MODEL.manifest.inputs])
        assert (reason.direction == "lowers") == (added[its & ~np.isnan(shown)].sum() > 0)


def test_many_at_once_are_each_alone() -> None:
    random = np.random.default_rng(3)
    shared = random.random((small_models.PEOPLE, len(MODEL.categories))) < 0.7
    for several in (MODEL, with_half_widths(60.01)):
        together = several.evaluate_many(MATRIX.values, MATRIX.events, MATRIX.active_days, shared)
        for row in range(small_models.PEOPLE):
            allowed = frozenset(c for c, yes in zip(several.categories, shared[row], strict=True) if yes)
            try:
                alone = several.evaluate(MATRIX.values[row], small_models.evidence(MATRIX, row), allowed)
            except InsufficientEvidence:
                assert together.points[row] == scorer.NO_ANSWER
            else:
                assert together.points[row] == alone.points
                assert policy.probability(together.log_odds[row]) == alone.probability


def test_a_vector_of_another_model_is_a_bug() -> None:
    with pytest.raises(ValueError, match="one value for each"):
        MODEL.evaluate(MATRIX.values[0][:-1], small_models.evidence(MATRIX, 0), EVERYTHING)
    with pytest.raises(ValueError, match="the manifest names"):
        Scorer("m", replace(MODEL.manifest, inputs=MODEL.manifest.inputs[:-1]), MODEL.trees)


REPLAY = """
import sys
from pathlib import Path
from scoring import scorer
from support import small_models
matrix, _ = small_models.people()
model = scorer.Scorer.load(Path(sys.argv[1]))
for row in range(40):
    try:
        print(model.evaluate(matrix.values[row], small_models.evidence(matrix, row), frozenset(model.categories)))
    except scorer.InsufficientEvidence as refusal:
        print(refusal.code)
"""


def test_a_fresh_process_recomputes_every_byte(folder: Path) -> None:
    replayed = python(REPLAY, str(folder))
    here = [answer(MATRIX.values[r], small_models.evidence(MATRIX, r), EVERYTHING) for r in range(40)]
    assert [line.startswith("Evaluation") for line in replayed] == [b"Evaluation" in line for line in here]
    assert [line for line in replayed if line.startswith("Evaluation")] == [
        line.decode() for line in here if line.startswith(b"Evaluation")
    ]


def test_scoring_needs_neither_catboost_nor_a_data_frame() -> None:
    loaded = python("import sys, scoring.scorer; print(*sys.modules, sep='\\n')")
    assert "numpy" in loaded
    assert not {"catboost", "pandas", "polars", "scipy"} & set(loaded)


def python(program: str, *arguments: str) -> list[str]:
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "tests")]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return run.stdout.splitlines()


# Stored form


@given(st.lists(st.floats(width=32), max_size=30))
def test_a_packed_vector_comes_back_and_missing_has_one_form(values: list[float]) -> None:
    vector = np.array(values, np.float32)
    packed = scorer.pack(vector)
    assert np.array_equal(scorer.unpack(packed), vector, equal_nan=True)
    assert packed == scorer.pack(scorer.unpack(packed))
    assert scorer.pack(np.array([0x7FC00001, 0xFFC00000], "<u4").view("<f4")) == b"\x00\x00\xc0\x7f" * 2


def test_a_manifest_comes_back() -> None:
    encoded = small_models.trained().files[manifest.MANIFEST]
    assert manifest.encode(manifest.decode(encoded)) == encoded
    assert manifest.decode(encoded) == MODEL.manifest


@pytest.mark.parametrize("name", [manifest.MANIFEST, manifest.TREES, manifest.CATBOOST, manifest.CARD])
def test_a_model_with_one_other_byte_is_not_loaded(tmp_path: Path, name: str) -> None:
    home = training.save(small_models.trained(), tmp_path)
    intact = (home / name).read_bytes()
    (home / name).write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    with pytest.raises(ModelAltered, match=name.removesuffix(".json")):
        Scorer.load(home)
    (home / name).unlink()
    with pytest.raises(ModelAltered, match="cannot be read"):
        Scorer.load(home)


def test_a_model_under_another_name_is_not_loaded(tmp_path: Path) -> None:
    home = training.save(small_models.trained(), tmp_path)
    with pytest.raises(ModelAltered):
        Scorer.load(home.rename(tmp_path / ("0" * 64)))


# Insufficient evidence, at its edges


EDGE_ROW = next(r for r in range(small_models.PEOPLE) if len(used(r)) == len(EVERYTHING))


def counted(category: Category, **least: int) -> tuple[Category, ...]:
    """What is used of a rich person who has just so much of one category."""
    evidence = small_models.evidence(MATRIX, EDGE_ROW)
    events = {**evidence.events, category: least["events"]}
    thin = Evidence(events, {**evidence.active_days, category: least["active_days"]})
    return MODEL.evaluate(MATRIX.values[EDGE_ROW], thin, EVERYTHING).used


@pytest.mark.parametrize("category", sorted(EVERYTHING))
def test_each_categorys_minimum_is_met_exactly_and_missed_by_one(category: Category) -> None:
    least = policy.MINIMUM_EVIDENCE[category]
    assert MODEL.manifest.minimum[category] == least
    assert category in counted(category, events=least.events, active_days=least.active_days)
    assert category not in counted(category, events=least.events - 1, active_days=least.active_days)
    if least.active_days:
        assert category not in counted(category, events=least.events, active_days=least.active_days - 1)


@pytest.mark.parametrize("category", sorted(EVERYTHING))
def test_events_without_one_value_are_no_evidence(category: Category) -> None:
    values = MATRIX.values[EDGE_ROW].copy()
    of_it = [each.category is category for each in MODEL.manifest.inputs]
    values[of_it] = np.float32("nan")
    evidence = small_models.evidence(MATRIX, EDGE_ROW)
    assert category not in MODEL.evaluate(values, evidence, EVERYTHING).used
    first = of_it.index(True)
    values[first] = MATRIX.values[EDGE_ROW][first]
    assert np.isnan(values[first]) or category in MODEL.evaluate(values, evidence, EVERYTHING).used


def test_one_well_filled_category_may_be_enough_and_what_is_stated_never_is() -> None:
    values, evidence = MATRIX.values[EDGE_ROW], small_models.evidence(MATRIX, EDGE_ROW)
    for category in sorted(EVERYTHING - {Category.DECLARED}):
        assert MODEL.evaluate(values, evidence, frozenset({category})).used == (category,)
    with pytest.raises(InsufficientEvidence):
        MODEL.evaluate(values, evidence, frozenset({Category.DECLARED}))


def test_a_set_that_was_never_calibrated_gives_no_answer() -> None:
    alone = frozenset({Category.SHOPPING})
    lines = {used: line for used, line in MODEL.manifest.calibration.items() if used != alone}
    without_line = Scorer(MODEL.digest, replace(MODEL.manifest, calibration=lines), MODEL.trees)
    widths = {used: row for used, row in MODEL.manifest.half_widths.items() if used != alone}
    without_widths = Scorer(MODEL.digest, replace(MODEL.manifest, half_widths=widths), MODEL.trees)
    evidence = small_models.evidence(MATRIX, EDGE_ROW)
    for model in (without_line, without_widths):
        with pytest.raises(InsufficientEvidence):
            model.evaluate(MATRIX.values[EDGE_ROW], evidence, alone)
        assert model.evaluate(MATRIX.values[EDGE_ROW], evidence, EVERYTHING).used


def test_the_width_is_judged_where_the_points_lie() -> None:
    """The interval is known by steps of the scale: 120 points wide is an answer, a hair more is none."""
    whole = MODEL.evaluate(MATRIX.values[EDGE_ROW], small_models.evidence(MATRIX, EDGE_ROW), EVERYTHING)
    here = policy.place(whole.points)
    for half, answers in ((policy.WIDEST_POINTS / 2, True), (policy.WIDEST_POINTS / 2 + 0.01, False)):
        row = tuple(half if step == here else 0.0 for step in range(policy.STEPS))
        elsewhere = tuple(0.0 if step == here else 999.0 for step in range(policy.STEPS))
        for widths, expected in ((row, answers), (elsewhere, True)):
            stated = replace(MODEL.manifest, half_widths=dict.fromkeys(MODEL.manifest.half_widths, widths))
            model = Scorer(MODEL.digest, stated, MODEL.trees)
            try:
                told = model.evaluate(
                    MATRIX.values[EDGE_ROW], small_models.evidence(MATRIX, EDGE_ROW), EVERYTHING
                )
                assert expected
                assert told.points == whole.points
            except InsufficientEvidence:
                assert not expected


# The table of contributions


def test_contributions_are_catboosts_to_the_twelfth_digit_and_decide_no_score(folder: Path) -> None:
    booster = catboost.CatBoostClassifier()
    booster.load_model(str(folder / manifest.CATBOOST))
    values = MATRIX.values.copy()
    values[:50] = np.nan  # nothing known of somebody
    raw, shap = oracle(booster, values)
    ours = [MODEL.raw(row) for row in values]
    assert np.isnan(values).any(axis=1).mean() > 0.5
    assert np.abs(np.array([added for _, added in ours]) - shap[:, :-1]).max() <= 1e-12
    assert [score for score, _ in ours] == raw.tolist() == trees.raw(MODEL.trees, values).tolist()
    untabled = replace(MODEL.trees, share=np.zeros_like(MODEL.trees.share))
    mute = Scorer(MODEL.digest, MODEL.manifest, untabled)
    for row in range(0, small_models.PEOPLE, 30):
        evidence = small_models.evidence(MATRIX, row)
        try:
            told = MODEL.evaluate(MATRIX.values[row], evidence, EVERYTHING)
        except InsufficientEvidence:
            continue
        assert mute.evaluate(MATRIX.values[row], evidence, EVERYTHING) == replace(told, reasons=())
