"""How good incomes are, by five folds of people, each figure beside that of the best constant of the same folds."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benchmarks.validation import gates
from benchmarks.validation.gates import Gate
from compliance.vocabulary import Category
from scoring import behaviour, features
from scoring.answers import income_card, income_trials

SET = "rong360_income"
SEED = 1


def run(_: str) -> Iterator[Gate]:
    """The gates of the set, if it is there; the same for any size."""
    folder = Path(os.environ.get("XINQIAO_SETS", "")) / SET
    if not (folder / "schema.json").exists():
        print(f"{SET} is not in XINQIAO_SETS: left out", flush=True)
        return
    with TemporaryDirectory() as aside:
        read = behaviour.read(folder, Path(aside))
    known = read.outcomes.filter(pl.col("income") > 0)
    asked = behaviour.applications(known)
    matrix = features.compute(read, asked, features.chosen(read, frozenset(Category)))
    tried = income_trials.cross_validated(
        matrix, known["income"].to_numpy(), seed=SEED, threads=2, currency=read.schema.currency or "CNY"
    )
    yield from _gates(tried, known.height)


def _gates(tried: Mapping[str, object], asked: int) -> Iterator[Gate]:
    rows = int(str(tried["rows"]))
    for name, told in tried.items():
        if not isinstance(told, Mapping):
            continue
        model, constant = float(told["model"]), float(told["constant"])
        print(f"{name}: {model:.4f} beside a constant's {constant:.4f}", flush=True)
        if "gain_low" in told:
            low, high = float(told["gain_low"]), float(told["gain_high"])
            must = name in income_card.MUST_BEAT
            yield gates.figure(
                f"{SET}: {name}, gain over a constant",
                constant - model if name in income_card.LOSSES else model - constant,
                (low, high),
                rows,
                rule="the interval is above 0" if must else "",
                passes=(lambda _, low=low: low > 0) if must else None,
            )
    held = tried["interval_held"]
    assert isinstance(held, Mapping)
    low, high = float(held["low"]), float(held["high"])
    yield gates.figure(
        f"{SET}: an 80 % interval holds",
        float(held["model"]),
        (low, high),
        rows,
        rule=f"{income_card.HELD_BY_INTERVAL[0]} to {income_card.HELD_BY_INTERVAL[1]}",
        passes=lambda value: income_card.HELD_BY_INTERVAL[0] <= value <= income_card.HELD_BY_INTERVAL[1],
    )
    print(f"{rows} of {asked} were answered", flush=True)
