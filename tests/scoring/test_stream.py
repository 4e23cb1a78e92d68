"""Outcomes that come late: no score rests on one that was not known, and pamir's own evaluation finds the same."""

import importlib
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from benchmarks.validation import delayed, gates
from benchmarks.validation.delayed import OutcomeNotMatured, Pace, Stream
from scoring import evaluation
from scoring.boosting import Recipe
from scoring.evaluation import Flags, Floats
from scoring.features import Matrix

PEOPLE, PACE = 400, Pace(least=5, more=10)
QUICK = Recipe(trees=40, depth=3, learning_rate=0.1, copies=2, folds=2, twins=3)


def arriving(delays: Floats) -> Stream:
    random = np.random.default_rng(4)
    bad, arrives = random.random(PEOPLE) < 0.3, np.arange(PEOPLE, dtype=np.float64)
    nothing = Matrix((), (), (), np.empty((PEOPLE, 0), np.float32), {}, {}, "")
    return Stream("people", nothing, bad, arrives, arrives + delays)


def base_rate(_: Matrix, outcomes: Flags, learn: Flags) -> delayed.Teller:
    """A model that knows how many defaulted of those it learnt from, to the last one."""
    said = evaluation.log_odds(np.array([outcomes[learn].mean()]))[0] + learn.sum() * 1e-6
    return lambda rows: np.full(len(rows), said)


@pytest.fixture
def uneven() -> Stream:
    return arriving(np.random.default_rng(5).uniform(1, 120, PEOPLE))


def test_a_score_is_the_same_whatever_becomes_known_after_it(uneven: Stream) -> None:
    told = delayed.tell(uneven, base_rate, PACE)
    for row in range(60, PEOPLE, 20):
        later = uneven.matures >= uneven.arrives[row]
        otherwise = replace(uneven, bad=np.where(later, ~uneven.bad, uneven.bad))
        again = delayed.tell(otherwise, base_rate, PACE)
        np.testing.assert_array_equal(again.log_odds[: row + 1], told.log_odds[: row + 1])


def test_what_matured_before_is_learnt_from(uneven: Stream) -> None:
    told = delayed.tell(uneven, base_rate, PACE)
    scored = np.isfinite(told.log_odds)
    assert told.models > 3
    assert scored[np.argmax(scored) :].all()
    assert (told.rests_on[scored] < uneven.arrives[scored]).all()
    first = uneven.matures < uneven.arrives[np.argmax(scored)]
    assert min(uneven.bad[first].sum(), (~uneven.bad[first]).sum()) == PACE.least


def test_an_outcome_that_has_not_matured_is_refused(uneven: Stream) -> None:
    learn = uneven.matures <= 100
    assert delayed.known(uneven, learn, 100.5).sum() == uneven.bad[learn].sum()
    learn[np.argmax(uneven.matures > 100)] = True
    with pytest.raises(OutcomeNotMatured):
        delayed.known(uneven, learn, 100.5)


def test_nobody_is_scored_where_outcomes_come_too_late() -> None:
    told = delayed.tell(arriving(np.full(PEOPLE, 1e6)), base_rate, PACE)
    assert told.models == 0
    assert np.isnan(told.log_odds).all()


@pytest.fixture
def by_pamir() -> ModuleType:
    """Imported where it runs: pamir is installed for `make check` and `make validate` alone."""
    return importlib.import_module("benchmarks.validation.by_pamir")


@pytest.mark.check
def test_pamir_comes_to_the_same(by_pamir: ModuleType) -> None:
    stream = arriving(np.full(PEOPLE, float(by_pamir.delay(PEOPLE))))
    told = delayed.tell(stream, base_rate, PACE)
    found = list(by_pamir.beside(stream, "rate", base_rate, PACE, told))
    assert {gate.verdict for gate in found} == {gates.PASS, gates.REPORTED}


@pytest.mark.check
def test_pamir_sees_outcomes_that_came_too_early(by_pamir: ModuleType) -> None:
    stream = arriving(np.full(PEOPLE, float(by_pamir.delay(PEOPLE))))
    told = delayed.tell(replace(stream, matures=stream.arrives + 0.5), base_rate, PACE)
    assert gates.FAIL in {gate.verdict for gate in by_pamir.beside(stream, "rate", base_rate, PACE, told)}


@pytest.mark.check
def test_the_whole_of_it_on_few_invented_people() -> None:
    stream = importlib.import_module("benchmarks.validation.stream")
    found = list(stream.tried(stream.people(400), Pace(least=30, more=40), QUICK))
    assert gates.FAIL not in {gate.verdict for gate in found}
    assert sum(gate.verdict == gates.PASS for gate in found) == 2 + 3 * 3
    assert sum("AUC, ours" in gate.name for gate in found) == 2 * (1 + stream.PERIODS) + 1
