import tomllib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.vocabulary import Category, Language
from scoring import explanation
from scoring.explanation import Cause, Reason

CAUSES = tuple(Cause(f"SH-00{n}", 1, Category.SHOPPING) for n in range(1, 8))
points = st.lists(st.floats(-80, 80), min_size=10, max_size=10)
present = st.lists(st.booleans(), min_size=10, max_size=10)
groups = st.lists(st.integers(0, len(CAUSES) - 1), min_size=10, max_size=10)


def tell(points: list[float], present: list[bool], groups: list[int]) -> tuple[Reason, ...]:
    return explanation.reasons(np.array(points), np.array(present), np.array(groups), CAUSES)


@given(points, present, groups)
def test_reasons_are_the_largest_true_sums_those_that_lower_first(
    points: list[float], present: list[bool], groups: list[int]
) -> None:
    told = tell(points, present, groups)
    sums = {
        cause.code: sum(p for p, here, g in zip(points, present, groups, strict=True) if here and g == n)
        for n, cause in enumerate(CAUSES)
    }
    worth = sorted((t for t in sums.values() if abs(t) >= 1), key=abs, reverse=True)
    chosen = worth[:4]
    if chosen and min(chosen) > 0 and min(worth) < 0:
        chosen[3] = max((t for t in worth if t < 0), key=abs)
    effects = [sums[reason.code] for reason in told]
    assert effects == pytest.approx(sorted(chosen, key=lambda t: (t > 0, -abs(t))))
    assert [reason.direction for reason in told] == ["raises" if e > 0 else "lowers" for e in effects]


def test_what_lowers_most_is_always_said() -> None:
    told = tell([50.0, 40.0, 30.0, 20.0, -2.0, -1.5] + [0.0] * 4, [True] * 10, [0, 1, 2, 3, 4, 5] + [6] * 4)
    assert [(reason.code, reason.direction) for reason in told] == [
        ("SH-005", "lowers"),
        ("SH-001", "raises"),
        ("SH-002", "raises"),
        ("SH-003", "raises"),
    ]


@given(points, present, groups, points)
def test_what_is_absent_changes_nothing(
    points: list[float], present: list[bool], groups: list[int], other: list[float]
) -> None:
    changed = [p if here else q for p, q, here in zip(points, other, present, strict=True)]
    assert tell(points, present, groups) == tell(changed, present, groups)


def test_less_than_a_point_is_not_a_reason() -> None:
    assert tell([0.9] + [0.0] * 9, [True] * 10, [0] * 10) == ()
    assert tell([-1.0] + [0.0] * 9, [True] * 10, [0] * 10)[0].direction == "lowers"


def test_correlated_features_are_one_reason_with_their_sum() -> None:
    told = tell([-30.0, 28.0, -5.0] + [0.0] * 7, [True] * 10, [0, 0, 1] + [2] * 7)
    assert [reason.code for reason in told] == ["SH-002", "SH-001"]


def test_every_reason_has_its_texts_in_every_language_and_direction() -> None:
    catalogue = tomllib.loads(explanation.CATALOGUE.read_text("utf-8"))
    assert catalogue
    for code, entry in catalogue.items():
        texts = {
            explanation.text(Reason(code, entry["version"], Category(entry["category"]), direction), language)
            for direction in ("raises", "lowers")
            for language in Language
        }
        assert len(texts) == 4
        assert all(texts)


def test_an_unknown_code_or_version_is_a_programmers_error() -> None:
    with pytest.raises(KeyError):
        explanation.cause("ZZ-999")
    cause = explanation.cause("SH-001")
    with pytest.raises(LookupError, match="version"):
        explanation.text(Reason("SH-001", cause.version + 1, cause.category, "raises"), Language.EN)


def test_what_cannot_be_told_apart_is_said_by_one() -> None:
    catalogue = tomllib.loads(explanation.CATALOGUE.read_text("utf-8"))
    said = {code: entry["said_by"] for code, entry in catalogue.items() if "said_by" in entry}
    assert said
    for code, by in said.items():
        assert "said_by" not in catalogue[by]
        assert catalogue[by]["category"] == catalogue[code]["category"]
        assert explanation.cause(code) == explanation.cause(by)


def test_a_score_keeps_the_words_it_was_given_with() -> None:
    earlier = tomllib.loads(explanation.EARLIER.read_text("utf-8"))
    assert earlier
    for named, entry in earlier.items():
        code, version = named.split("@")
        assert int(version) < explanation.cause(code).version
        for direction in ("raises", "lowers"):
            reason = Reason(code, int(version), Category(entry["category"]), direction)
            now = replace(reason, version=explanation.cause(code).version)
            for language in Language:
                assert explanation.text(reason, language) == entry[language][direction]
                assert explanation.text(reason, language) != explanation.text(now, language)
