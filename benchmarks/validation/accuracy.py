"""How the score ranks, and how honest it is, beside an untuned CatBoost, a logistic regression and a scorecard.

On the sets of the folder `XINQIAO_SETS`, without columns whose roles lack `feature`: the later 30 % where there is
time, else five folds of people; five seeds, every model on the same rows; differences with paired intervals; ours
also by slice.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.validation import baselines, gates, ours, sets, slices
from benchmarks.validation.gates import Gate
from benchmarks.validation.sets import Set
from scoring import evaluation
from scoring.evaluation import Flags, Floats

SETS = ("superlender", "taiwan", "rong360_graph")
SEEDS = {"small": 1, "full": 5}
FOLDS, FIT_SHARE = 5, 0.7
LARGE, MOST_LOST = 20_000, 0.005
DRAWS = 200

Parts = list[NDArray[np.intp]]
Model = Callable[[Flags, Flags, int], Floats]


def run(size: str) -> Iterator[Gate]:
    """The gates of every set that is there."""
    for of in sets.there(SETS):
        yield from _tried(of, SEEDS[size])


def _tried(of: Set, seeds: int) -> Iterator[Gate]:
    values, bad = of.matrix.values, of.bad
    models: dict[str, Model] = {
        "ours": lambda fit, seen, seed: ours.said(
            ours.trained(of.matrix, bad, fit, seed=seed), of.matrix, seen
        ),
        "untuned catboost": lambda fit, seen, seed: baselines.untuned(values, bad, fit, seen, seed=seed),
        "logistic": lambda fit, seen, _: baselines.logistic(values, bad, fit, seen),
        "scorecard": lambda fit, seen, _: baselines.scorecard(values, bad, fit, seen),
    }
    tries = [(_parts(of, seed), _out_of_part(of, models, seed)) for seed in range(seeds)]
    answered = np.isfinite(tries[0][1]["ours"])
    asked = np.concatenate(tries[0][0])
    yield gates.share(f"{of.name}: answered", answered[asked])
    samples = _samples(of, tries)
    for name in models:
        low, high = np.quantile(samples[name][1:], [0.025, 0.975])
        yield gates.figure(f"{of.name}: AUC, {name}", samples[name][0], (low, high), int(answered.sum()))
    for name in [name for name in models if name != "ours"]:
        yield _not_lower(of, samples["ours"] - samples[name], name, int(answered.sum()))
    yield from _honest(of, tries[0][1]["ours"], answered)
    yield from slices.told(of, tries[0][1]["ours"], answered)


def _parts(of: Set, seed: int) -> Parts:
    """The rows on which each model is tried, those of each part by models that saw none of them."""
    n, times = len(of.bad), set(of.matrix.cutoffs)
    if len(times) > 1:
        return [np.arange(int(n * FIT_SHARE), n)]
    fold = np.random.default_rng(seed).permutation(n) % FOLDS
    return [np.flatnonzero(fold == number) for number in range(FOLDS)]


def _out_of_part(of: Set, models: dict[str, Model], seed: int) -> dict[str, Floats]:
    found = {name: np.full(len(of.bad), np.nan) for name in models}
    for rows in _parts(of, seed):
        seen = np.isin(np.arange(len(of.bad)), rows)
        fit = np.arange(len(of.bad)) < rows[0] if len(_parts(of, seed)) == 1 else ~seen
        for name, model in models.items():
            found[name][seen] = model(fit, seen, seed)
    print(f"{of.name}: seed {seed} done", flush=True)
    return found


def _samples(of: Set, tries: list[tuple[Parts, dict[str, Floats]]]) -> dict[str, Floats]:
    """For each model the mean AUC over seeds and parts: first of all answered rows, then of rows drawn again.

    In one draw every model is tried on the same people, so that differences are paired.
    """
    random = np.random.default_rng(1)
    weights = [np.ones(len(of.bad), np.intp)]
    weights += [
        np.bincount(random.integers(len(of.bad), size=len(of.bad)), minlength=len(of.bad))
        for _ in range(DRAWS)
    ]
    return {
        name: np.array(
            [np.mean([_auc(of, parts, found, name, drawn) for parts, found in tries]) for drawn in weights]
        )
        for name in tries[0][1]
    }


def _auc(of: Set, parts: Parts, found: dict[str, Floats], name: str, drawn: NDArray[np.intp]) -> float:
    told = []
    for part in parts:
        rows = np.repeat(part, drawn[part])
        rows = rows[np.isfinite(found["ours"][rows])]
        told.append(evaluation.auc(found[name][rows], of.bad[rows]))
    return float(np.mean(told))


def _not_lower(of: Set, differences: Floats, than: str, n: int) -> Gate:
    low, high = np.quantile(differences[1:], [0.025, 0.975])
    name = f"{of.name}: AUC less that of {than}"
    if than != "untuned catboost":
        return gates.figure(name, differences[0], (low, high), n)
    reached = differences[0] >= -MOST_LOST if n >= LARGE else high >= -MOST_LOST
    rule = f">= -{MOST_LOST}" if n >= LARGE else f"the interval reaches -{MOST_LOST}"
    return gates.figure(name, differences[0], (low, high), n, rule=rule, passes=lambda _: bool(reached))


def _honest(of: Set, log_odds: Floats, answered: Flags) -> Iterator[Gate]:
    probability, bad, n = evaluation.probability(log_odds[answered]), of.bad[answered], int(answered.sum())
    envelope = evaluation.ece_envelope(probability, seed=1)
    measured = evaluation.ece(probability, bad)
    interval = evaluation.bootstrap(evaluation.ece, probability, bad, seed=1)
    rule = f"<= {envelope:.4f}, a perfect model's"
    yield gates.figure(
        f"{of.name}: ECE", measured, interval, n, rule=rule, passes=lambda value: value <= envelope
    )
    for name, measure, wanted in (("slope", evaluation.slope, 1.0), ("intercept", evaluation.intercept, 0.0)):
        low, high = evaluation.bootstrap(measure, probability, bad, seed=1)
        yield gates.figure(
            f"{of.name}: calibration {name}",
            measure(probability, bad),
            (low, high),
            n,
            rule=f"the interval holds {wanted:.0f}",
            passes=lambda _, low=low, high=high, wanted=wanted: low <= wanted <= high,
        )
