"""What validates the score can itself fail: the checker of statements, the gates, the test for what leaks."""

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from benchmarks.validation import (
    fidelity,
    gates,
    invented,
    leak,
    planted_null,
    refusing,
    sets,
    slices,
    statements,
)
from benchmarks.validation.refusing import Cell
from benchmarks.validation.statements import Raw
from compliance.vocabulary import Category
from scoring import evaluation, explanation

AT = datetime(2026, 5, 1, tzinfo=UTC)


def event(category: Category, name: str, days: float, value: float | None = 1.0) -> dict[str, object]:
    return {"category": category.value, "name": name, "at": AT - timedelta(days=days), "value": value}


def raw(*events: dict[str, object], profile: dict[str, object] | None = None, **asked: object) -> Raw:
    declared = dict.fromkeys(profile or {}, Category.DECLARED)
    return Raw(AT, events, profile or {}, asked, declared)


def test_every_reason_that_can_be_told_has_a_checker() -> None:
    catalogue = tomllib.loads(explanation.CATALOGUE.read_text("utf-8"))
    told = {code for code, entry in catalogue.items() if "said_by" not in entry}
    assert told == set(statements.STATEMENTS)
    assert not [code for code in told if statements.is_true(code, raw())]


@pytest.mark.parametrize(
    ("code", "true", "false"),
    [
        ("DU-003", event(Category.DEVICE_USAGE, "session", 89), event(Category.DEVICE_USAGE, "session", 91)),
        ("SH-001", event(Category.SHOPPING, "order", 3), event(Category.SHOPPING, "order", 3, None)),
        ("SH-003", event(Category.SHOPPING, "order", 364), event(Category.SHOPPING, "refund", 3)),
        (
            "CH-006",
            event(Category.CREDIT_HISTORY, "loan_opened", 364),
            event(Category.CREDIT_HISTORY, "loan_opened", 366),
        ),
        ("CH-001", event(Category.CREDIT_HISTORY, "loan_opened", 700), event(Category.SHOPPING, "order", 3)),
        (
            "AA-001",
            event(Category.APP_ACTIVITY, "page_view", 1),
            event(Category.APP_ACTIVITY, "page_view", -1),
        ),
        (
            "AA-001",
            event(Category.APP_ACTIVITY, "page_view", 0.1),
            event(Category.APP_ACTIVITY, "page_view", 0),
        ),
    ],
)
def test_a_statement_is_checked_on_what_was_recorded_before(
    code: str, true: dict[str, object], false: dict[str, object]
) -> None:
    assert statements.is_true(code, raw(true))
    assert not statements.is_true(code, raw(false))


def test_what_was_stated_is_read_from_the_profile_and_the_request() -> None:
    assert statements.is_true("DE-003", raw(profile={"income_band": "x"}))
    assert not statements.is_true("DE-003", raw(profile={"income_band": None, "education": "x"}))
    assert statements.is_true("DE-010", raw(amount=100.0))
    assert not statements.is_true("DE-010", raw(tenor_days=30))


def test_a_share_fails_where_it_is_known_to_miss() -> None:
    assert gates.share("x", np.ones(100, np.bool_), least=1.0).verdict == gates.PASS
    assert gates.share("x", np.arange(100) > 0, least=1.0).verdict == gates.FAIL
    assert gates.share("x", np.arange(60) > 0, least=0.99).verdict == gates.UNKNOWN
    assert gates.share("x", np.arange(1_000) > 50, least=0.99).verdict == gates.FAIL
    assert gates.share("x", np.arange(1_000) > 500, most=0.9).verdict == gates.PASS
    assert gates.share("x", np.arange(1_000) > 5, most=0.9).verdict == gates.FAIL


@pytest.mark.parametrize(
    ("difference", "reach", "n", "verdict"),
    [
        (0.001, 0.0009, 500, gates.PASS),
        (0.001, 0.0011, 500, gates.UNKNOWN),
        (0.004, 0.0019, 500, gates.FAIL),
        (-0.004, 0.0019, 500, gates.FAIL),
        (0.0, 0.0, refusing.LEAST_PEOPLE - 1, gates.UNKNOWN),
    ],
)
def test_equal_means_shown_to_lie_within_the_margin(
    difference: float, reach: float, n: int, verdict: str
) -> None:
    assert Cell("s", "g", n, difference, reach, margin=0.002).verdict == verdict


def test_nothing_after_the_cutoff_is_read() -> None:
    assert {gate.verdict for gate in leak.run("small")} == {gates.PASS}


def test_a_leak_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak, "PEOPLE", {"small": 200})
    monkeypatch.setattr(leak, "LATER", (-timedelta(microseconds=1),))
    assert gates.FAIL in {gate.verdict for gate in leak.run("small")}


@pytest.mark.check
def test_reasons_are_true_and_permuted_ones_are_not() -> None:
    found = fidelity.run("small")
    assert gates.FAIL not in {gate.verdict for gate in found}
    assert sum(gate.verdict == gates.PASS for gate in found) >= len(found) - 2


@pytest.mark.check
def test_where_there_is_no_signal_none_is_found() -> None:
    assert gates.FAIL not in {gate.verdict for gate in planted_null.run("small")}


@pytest.fixture(scope="module")
def drawn() -> sets.Set:
    return sets.of(invented.draw(1_000))


def with_outcomes(of: sets.Set, defaulted: pl.Expr) -> sets.Set:
    return replace(of, outcomes=of.outcomes.with_columns(defaulted=defaulted))


def test_what_is_right_for_all_together_and_wrong_for_each_term_is_seen(drawn: sets.Set) -> None:
    every, term = pl.int_range(pl.len()), pl.col("tenor_days")
    of = with_outcomes(drawn, pl.when(term == 90).then(every % 2 == 0).otherwise(every % 12 == 0))
    said = np.full(len(of.bad), evaluation.log_odds(np.array([of.bad.mean()]))[0])
    told = {gate.name: gate.value for gate in slices.told(of, said, np.ones(len(of.bad), np.bool_))}
    assert told["invented, term in days 90: observed over expected"] > 1.5
    assert told["invented, term in days 360: observed over expected"] < 0.6
    assert told["invented, sex female: AUC"] == 0.5
    assert not [name for name in told if "product" in name]


def test_a_slice_of_few_is_left_out(drawn: sets.Set) -> None:
    of = with_outcomes(drawn, pl.int_range(pl.len()) % 2 == 0)
    few = np.arange(len(of.bad)) < slices.LEAST_ROWS - 1
    assert not list(slices.told(of, np.zeros(len(of.bad)), few))
