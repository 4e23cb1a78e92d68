"""People in the order of time, their outcomes only when they have matured: ours beside a logistic and a scorecard.

By two clocks: the calendar, where an outcome is known when the loan has been observed to its end; and pamir's, where it
is known so many applications later, and where pamir's own evaluation must come to the same figures. Of the set
`superlender`, and of invented people, on whom nothing measured is an accuracy.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import numpy as np
import polars as pl

from benchmarks.validation import baselines, by_pamir, delayed, gates, invented, ours, sets
from benchmarks.validation.delayed import Learner, Pace, Rows, Stream, Teller, Told
from benchmarks.validation.gates import Gate
from benchmarks.validation.sets import Set
from scoring import boosting, evaluation, synthetic
from scoring.boosting import Recipe
from scoring.evaluation import Flags, Floats
from scoring.features import Matrix
from scoring.scorer import Scorer, Values

SETS = ("superlender",)
PACE = Pace(least=50, more=100)
COHORTS = 6
"""Half-years of invented applications, one after the other; each outcome takes a year."""
PEOPLE = {"small": 1_500, "full": 20_000}
PACE_OF_INVENTED = {"small": PACE, "full": Pace(least=500, more=1_000)}
HALF_YEAR = timedelta(days=synthetic.DECIDED_DAYS[1] - synthetic.DECIDED_DAYS[0])
OURS, PERIODS, SEED = "ours", 4, 1

MEASURES = {
    "AUC": evaluation.auc,
    "Brier": evaluation.brier,
    "ECE": evaluation.ece,
    "observed over expected": evaluation.observed_over_expected,
}


def run(size: str) -> Iterator[Gate]:
    """The gates of the sets that are there, and of invented people."""
    for of in sets.there(SETS):
        yield from tried(of, PACE)
    yield from tried(people(PEOPLE[size]), PACE_OF_INVENTED[size])


def tried(of: Set, pace: Pace, recipe: Recipe | None = None) -> Iterator[Gate]:
    """One set by both clocks; without a `recipe` ours is grown as the product grows it from so many rows."""
    models = {
        OURS: _ours(recipe),
        "logistic": _plain(baselines.logistic),
        "scorecard": _plain(baselines.scorecard),
    }
    calendar, positions = by_calendar(of), by_positions(of)
    yield from _figures(
        calendar, {name: delayed.tell(calendar, model, pace) for name, model in models.items()}
    )
    told = {name: delayed.tell(positions, model, pace) for name, model in models.items()}
    yield from _figures(positions, told)
    for name, model in models.items():
        yield from by_pamir.beside(positions, name, model, pace, told[name])


def by_calendar(of: Set) -> Stream:
    """An outcome is known when the loan has been observed to its end; in days."""
    arrives, matures = (
        of.outcomes[name].dt.epoch("us").to_numpy() / 86.4e9 for name in ("decided_at", "observed_until")
    )
    return Stream(f"{of.name}, by the calendar", of.matrix, of.bad, arrives, matures)


def by_positions(of: Set) -> Stream:
    """An outcome is known so many applications later: 1,000, at most a fifth of all."""
    arrives = np.arange(len(of.bad), dtype=np.float64)
    return Stream(
        f"{of.name}, by positions", of.matrix, of.bad, arrives, arrives + by_pamir.delay(len(of.bad))
    )


def people(number: int) -> Set:
    """Invented people who applied over three years, so many each half-year."""
    parts: list[Set] = []
    for half in range(COHORTS):
        until = invented.UNTIL - (COHORTS - 1 - half) * HALF_YEAR
        read = invented.draw(number, seed=invented.SEED + half, until=until)
        parts.append(sets.of(read, parts[0].matrix.features if parts else ()))
    return Set(
        "invented people",
        invented.joined([part.matrix for part in parts]),
        pl.concat([part.outcomes for part in parts]),
        {},
    )


def _ours(recipe: Recipe | None) -> Learner:
    """Ours; who asks for a model of the same rows and outcomes again, as pamir does, gets the same one."""
    grown: dict[bytes, Scorer] = {}

    def learner(matrix: Matrix, outcomes: Flags, learn: Flags) -> Teller:
        lesson = learn.tobytes() + outcomes.tobytes()
        if lesson not in grown:
            found = recipe or boosting.recipe_for(int(learn.sum()))
            grown[lesson] = ours.trained(matrix, outcomes, learn, seed=SEED, recipe=found)
        return lambda rows: ours.said(grown[lesson], matrix, rows)

    return learner


def _plain(baseline: Callable[[Values, Flags, Flags, Flags], Floats]) -> Learner:
    def learner(matrix: Matrix, outcomes: Flags, learn: Flags) -> Teller:
        return lambda rows: baseline(matrix.values, outcomes, learn, np.isin(np.arange(len(learn)), rows))

    return learner


def _figures(stream: Stream, told: Mapping[str, Told]) -> Iterator[Gate]:
    """How far outcomes were ahead of the scores that rest on them, then all figures of the whole and of each period."""
    scored = np.isfinite(told[OURS].log_odds)
    yield gates.share(f"{stream.name}: answered", scored)
    if not scored.any():
        matured = stream.matures < stream.arrives[-1]
        known = f"{matured.sum()} outcomes, {stream.bad[matured].sum()} of them defaults"
        print(f"{stream.name}: {known}, mature before the last application: too few", flush=True)
        return
    yield _in_time(stream, told)
    rows = np.flatnonzero(scored)
    yield from _of_rows(stream, told, rows, "all")
    for number, part in enumerate(np.array_split(rows, PERIODS), start=1):
        yield from _of_rows(stream, told, part, f"period {number} of {PERIODS}")


def _in_time(stream: Stream, told: Mapping[str, Told]) -> Gate:
    """The least time from when the last outcome behind a score matured until whoever it is about arrived."""
    ahead = np.concatenate([stream.arrives - each.rests_on for each in told.values()])
    ahead = ahead[np.isfinite(ahead)]
    least = float(ahead.min())
    return gates.figure(
        f"{stream.name}: the least by which an outcome was known before the score that rests on it",
        least,
        (least, float(ahead.max())),
        len(ahead),
        rule="above 0",
        passes=lambda value: value > 0,
    )


def _of_rows(stream: Stream, told: Mapping[str, Told], rows: Rows, when: str) -> Iterator[Gate]:
    bad, people = stream.bad[rows], np.array(stream.matrix.users)[rows]
    for name, each in told.items():
        risk = evaluation.probability(each.log_odds[rows])
        for what, measure in MEASURES.items():
            interval = evaluation.bootstrap(measure, risk, bad, seed=SEED, user_of=people)
            yield gates.figure(
                f"{stream.name}, {when}: {what}, {name}", measure(risk, bad), interval, len(rows)
            )
    for name in [name for name in told if name != OURS]:
        both = np.column_stack([told[OURS].log_odds[rows], told[name].log_odds[rows]])
        interval = evaluation.bootstrap(_apart, both, bad, seed=SEED, user_of=people)
        yield gates.figure(
            f"{stream.name}, {when}: AUC less that of the {name}", _apart(both, bad), interval, len(rows)
        )


def _apart(both: Floats, bad: Flags) -> float:
    return evaluation.auc(both[:, 0], bad) - evaluation.auc(both[:, 1], bad)
