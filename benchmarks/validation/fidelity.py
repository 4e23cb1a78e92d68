"""Whether reasons are true: said of the raw events, moving the points as stated, the ones that matter, not by chance.

Four tests on people the model has not seen. Resampling a reason's features given the rest takes them, all together,
from the people with the same categories who are most alike in every other feature, each weighed by how much the model
makes of it. Permuted attributions (the same points on other causes) must fail the same tests.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from benchmarks.validation import gates, invented, statements
from benchmarks.validation.gates import Gate
from benchmarks.validation.invented import Population
from scoring import evaluation, explanation, policy, scorer, trees
from scoring.explanation import Reason
from scoring.scorer import InsufficientEvidence

PEOPLE = {"small": (4_000, 60), "full": (20_000, 1_000)}
"""Drawn, and explained."""
ALIKE, AMONG_MOST = 60, 2_000
RANDOM_SETS = 10
WEIGHED_ON = 300
MOST_CORRELATED = 0.9
LEAST_TOGETHER = 200

Floats = NDArray[np.float64]
Places = list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What resampling needs: values without what is too thin, their ranks, each feature's weight."""

    found: Population
    values: scorer.Values
    ranks: Floats
    weights: Floats
    pattern: NDArray[np.intp]
    cause_of: NDArray[np.intp]
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """One person's reasons, real or permuted, as places among the causes."""

    row: int
    reasons: tuple[Reason, ...]
    places: Places
    present: Places
    per_raw: float  # points for one more of the raw score


def run(size: str) -> list[Gate]:
    """Measure the reasons and their permutation."""
    drawn, explained = PEOPLE[size]
    ground = prepared(invented.population(drawn))
    random = np.random.default_rng(1)
    real, permuted = _told(ground, explained, random)
    return [
        _grouping(ground),
        *_tests(ground, real, "reasons", random),
        *_must_fail(ground, permuted, random),
    ]


def prepared(found: Population) -> Ground:
    """Hide what is too thin to count, and rank each feature among everybody."""
    model = found.model
    counted = invented.enough(found)
    values = scorer.hide(found.matrix.values, counted, model.category_of)
    ranks = np.full(values.shape, np.nan)
    for place in range(values.shape[1]):
        known = ~np.isnan(values[:, place])
        _, where, many = np.unique(values[known, place], return_inverse=True, return_counts=True)
        ranks[known, place] = (np.cumsum(many) - many / 2)[where] / max(known.sum(), 1)
    mean = np.mean([np.abs(model.raw(row)[1]) for row in values[:WEIGHED_ON]], axis=0)
    told = [each.reason for each in model.manifest.inputs]
    codes = tuple(dict.fromkeys(told))
    return Ground(
        found=found,
        values=values,
        ranks=ranks,
        weights=mean / mean.max(),
        pattern=counted @ (1 << np.arange(counted.shape[1])),
        cause_of=np.array([codes.index(code) for code in told], np.intp),
        codes=codes,
    )


def _told(ground: Ground, people: int, random: np.random.Generator) -> tuple[list[Told], list[Told]]:
    model, real, permuted = ground.found.model, [], []
    for row in random.permutation(np.flatnonzero(~ground.found.fit)):
        if len(real) == people:
            break
        try:
            one = _explained(ground, int(row), None)
        except InsufficientEvidence:
            continue
        order = random.permutation(len(model.manifest.inputs))
        real.append(one)
        permuted.append(_explained(ground, int(row), order))
    return real, permuted


def _explained(ground: Ground, row: int, order: NDArray[np.intp] | None) -> Told:
    """The reasons as the product chooses them; with an `order`, from attributions that stand on other features."""
    model, matrix = ground.found.model, ground.found.matrix
    evidence = scorer.Evidence(
        {c: int(n[row]) for c, n in matrix.events.items()},
        {c: int(n[row]) for c, n in matrix.active_days.items()},
    )
    evaluated = model.evaluate(matrix.values[row], evidence, frozenset(model.categories))
    values = ground.values[row]
    _, added = model.raw(values)
    line = model.manifest.calibration[frozenset(evaluated.used)]
    per_raw = -policy.POINTS_PER_LOG_ODDS * line.slope
    present = ~np.isnan(values)
    reasons = evaluated.reasons
    if order is not None:
        causes = [explanation.cause(code) for code in ground.codes]
        everything = np.ones_like(present)
        reasons = explanation.reasons(added[order] * per_raw, everything, ground.cause_of, causes)
    return Told(
        row=row,
        reasons=reasons,
        places=[ground.codes.index(reason.code) for reason in reasons],
        present=sorted(set(ground.cause_of[present].tolist())),
        per_raw=per_raw,
    )


def resampled(ground: Ground, one: Told, places: Places) -> float:
    """How many points these causes add: the points less the mean of the points with them from people alike."""
    if not places:
        return 0.0
    own = np.isin(ground.cause_of, places)
    others = np.flatnonzero(ground.pattern == ground.pattern[one.row])
    others = others[others != one.row][:AMONG_MOST]
    apart = ground.ranks[others][:, ~own] - ground.ranks[one.row, ~own]
    unlike = np.isnan(ground.ranks[others][:, ~own]) != np.isnan(ground.ranks[one.row, ~own])
    distance = (np.where(unlike, 1.0, np.nan_to_num(apart)) ** 2 * ground.weights[~own]).sum(axis=1)
    alike = others[np.argpartition(distance, min(ALIKE, len(others) - 1))[:ALIKE]]
    values = np.repeat(ground.values[one.row][None, :], len(alike), axis=0)
    values[:, own] = ground.values[alike][:, own]
    trial = ground.found.model.trees
    raw = trees.raw(trial, np.vstack([ground.values[one.row][None, :], values]))
    return float(one.per_raw * (raw[0] - raw[1:].mean()))


def _tests(ground: Ground, told: list[Told], whose: str, random: np.random.Generator) -> list[Gate]:
    truths, directions, outweighs = _measured(ground, told, random)
    return [
        gates.share(f"{whose}: the statement is true on the raw events", truths, least=1.0),
        gates.share(f"{whose}: resampling moves the points as stated", directions, least=0.95),
        gates.share(f"{whose}: they move the points more than random ones", outweighs, least=0.99),
    ]


def _must_fail(ground: Ground, told: list[Told], random: np.random.Generator) -> list[Gate]:
    """Each test can fail: what stands on the wrong causes does not pass it."""
    truths, directions, outweighs = _measured(ground, told, random)
    return [
        _below("permuted: the statement is true on the raw events", truths, 1.0),
        _below("permuted: resampling moves the points as stated", directions, 0.95),
        _below("permuted: they move the points more than random ones", outweighs, 0.99),
    ]


def _below(name: str, holds: NDArray[np.bool_], bound: float) -> Gate:
    hits, n = int(holds.sum()), len(holds)
    low, high = evaluation.wilson(hits, n)
    value = hits / n if n else float("nan")
    return gates.figure(
        name, value, (low, high), n, rule=f"the interval is below {bound}", passes=lambda _: high < bound
    )


def _measured(
    ground: Ground, told: list[Told], random: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    truths, directions, outweighs = [], [], []
    raws = invented.raws(ground.found, [one.row for one in told])
    for one, raw in zip(told, raws, strict=True):
        truths += [statements.is_true(reason.code, raw) for reason in one.reasons]
        for reason, place in zip(one.reasons, one.places, strict=True):
            directions.append((resampled(ground, one, [place]) > 0) == (reason.direction == "raises"))
        if 0 < len(one.places) < len(one.present):
            outweighs.append(_outweighs(ground, one, random))
    return np.array(truths), np.array(directions), np.array(outweighs)


def _outweighs(ground: Ground, one: Told, random: np.random.Generator) -> bool:
    """Whether taking the reasons away, those that raise and those that lower apart, moves more than random ones do."""
    raising = [
        place for reason, place in zip(one.reasons, one.places, strict=True) if reason.direction == "raises"
    ]
    lowering = [place for place in one.places if place not in raising]

    def moved(first: Places, second: Places) -> float:
        return abs(resampled(ground, one, first)) + abs(resampled(ground, one, second))

    at_random = []
    for _ in range(RANDOM_SETS):
        drawn = random.permutation(one.present)[: len(one.places)].tolist()
        at_random.append(moved(drawn[: len(raising)], drawn[len(raising) :]))
    return moved(raising, lowering) > float(np.mean(at_random))


def _grouping(ground: Ground) -> Gate:
    """The largest correlation between features of one category that are told as two reasons."""
    largest, pairs = 0.0, 0
    category = ground.found.model.category_of
    for one, other in combinations(range(len(category)), 2):
        if category[one] != category[other] or ground.cause_of[one] == ground.cause_of[other]:
            continue
        a, b = ground.ranks[:, one], ground.ranks[:, other]
        known = ~np.isnan(a) & ~np.isnan(b)
        if known.sum() >= LEAST_TOGETHER and np.ptp(a[known]) > 0 and np.ptp(b[known]) > 0:
            pairs += 1
            largest = max(largest, abs(float(np.corrcoef(a[known], b[known])[0, 1])))
    rule = f"< {MOST_CORRELATED}"
    return gates.figure(
        "largest rank correlation between features of two reasons",
        largest,
        (largest, largest),
        pairs,
        rule=rule,
        passes=lambda value: value < MOST_CORRELATED,
    )
