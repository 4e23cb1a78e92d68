"""The same stream by pamir's own evaluation (pamir 0.4.0): it says when a model learns, hands it outcomes, and measures."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pamir
import polars as pl
from pamir.evaluate import BUDGET_EDGES

from benchmarks.validation import gates
from benchmarks.validation.delayed import Learner, Pace, Stream, Teller, Told
from benchmarks.validation.gates import Gate
from scoring import evaluation

MOST_DELAY, MOST_SHARE = 1_000, 0.2
"""Those of pamir's reference setting."""
STANDS_IN_FOR = "sba"
"""pamir reads the tables of its catalogue only: ours takes the name of one, and pamir flags it as not that table."""
NO_INTERVAL = (float("nan"), float("nan"))
MOST_APART = 1e-9


def delay(people: int) -> int:
    """After how many later applications an outcome is known, in a stream of so many."""
    return int(max(1, min(MOST_DELAY, MOST_SHARE * people)))


def beside(stream: Stream, name: str, learner: Learner, pace: Pace, told: Told) -> Iterator[Gate]:
    """What pamir finds of a model, which must be what we found."""
    found = _evaluated(stream, learner, pace)
    scored, title = np.isfinite(told.log_odds), f"{stream.name}: by pamir"
    same = (found["n_scored"], found["n_refits_ok"], found["n_refits"]) == (
        scored.sum(),
        told.models,
        told.models,
    )
    yield gates.share(
        f"{title}, as many people scored by as many models, {name}", np.array([same]), least=1.0
    )
    yield gates.share(
        f"{title}, a score is the same alone, {name}", np.array([found["row_independent"]]), least=1.0
    )
    if found["auc_final"] is None:
        print(f"{title}, {name}: too few to measure", flush=True)
        return
    auc = evaluation.auc(told.log_odds[scored], stream.bad[scored])
    yield gates.figure(f"{title}, AUC, {name}", found["auc_final"], NO_INTERVAL, found["n_scored"])
    yield gates.figure(
        f"{title}, AUC less ours, {name}",
        found["auc_final"] - auc,
        NO_INTERVAL,
        found["n_scored"],
        rule=f"0 within {MOST_APART}",
        passes=lambda value: abs(value) <= MOST_APART,
    )
    yield from _by_budget(title, name, found)


def _by_budget(title: str, name: str, found: Mapping[str, Any]) -> Iterator[Gate]:
    """AUC by how many matured outcomes the model had learnt from."""
    learnt, edges = np.array(found["train_n"]), [*BUDGET_EDGES, np.inf]
    for least, most in pairwise(edges):
        value = found[f"auc_budget_{least}"]
        if value is not None:
            n = int(((learnt >= least) & (learnt < most)).sum())
            yield gates.figure(
                f"{title}, AUC with {least} or more outcomes learnt from, {name}", value, NO_INTERVAL, n
            )


def _evaluated(stream: Stream, learner: Learner, pace: Pace) -> dict[str, Any]:
    def fit(known: Any, outcomes: Any) -> Teller:
        learn = np.zeros(len(stream.bad), np.bool_)
        learn[known["row"]] = True
        bad = np.zeros(len(stream.bad), np.bool_)
        bad[known["row"]] = outcomes == 1
        tell = learner(stream.matrix, bad, learn)
        return lambda rows: tell(rows["row"].to_numpy())

    table = {"row": np.arange(len(stream.bad)), "__target__": stream.bad.astype(np.int8)}
    with _cached(pl.DataFrame(table)):
        return pamir.evaluate_one(
            fit,
            STANDS_IN_FOR,
            lag=MOST_DELAY,
            k_refit=pace.more,
            max_n=None,
            min_defaults=pace.least,
            on_error="raise",
            mode="arrival",
            max_lag_frac=MOST_SHARE,
            strict=False,
        )


@contextmanager
def _cached(table: pl.DataFrame) -> Iterator[None]:
    """Give pamir a table where it looks for its own; it downloads nothing."""
    before = os.environ.get("PAMIR_CACHE")
    with TemporaryDirectory() as folder:
        table.write_parquet(Path(folder) / f"{STANDS_IN_FOR}.parquet")
        os.environ["PAMIR_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("PAMIR_CACHE")
            if before is not None:
                os.environ["PAMIR_CACHE"] = before
