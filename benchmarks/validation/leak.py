"""Whether anything that happened at or after the cut-off reaches a feature or a score: it may not change one byte."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl

from benchmarks.validation import gates, invented
from benchmarks.validation.gates import Gate
from compliance.vocabulary import Category
from scoring import behaviour as behaviours
from scoring import features
from scoring.behaviour import Behaviour

PEOPLE = {"small": 1_000, "full": 20_000}
LATER = (timedelta(), timedelta(microseconds=1), timedelta(days=1), timedelta(days=400))


def run(size: str) -> list[Gate]:
    """Repeat everybody's events after their cut-off, with other values, and compute again."""
    drawn = invented.draw(PEOPLE[size])
    asked = behaviours.applications(drawn.outcomes)
    chosen = features.chosen(drawn, frozenset(Category))
    before = features.compute(drawn, asked, chosen)
    after = features.compute(with_later_events(drawn), asked, chosen)
    same = np.array(
        [a.tobytes() == b.tobytes() for a, b in zip(before.values, after.values, strict=True)], np.bool_
    )
    counted = np.array(
        [
            (before.events[c] == after.events[c]) & (before.active_days[c] == after.active_days[c])
            for c in before.events
        ]
    ).all(axis=0)
    return [
        gates.share("vectors the same to the byte with events added after the cut-off", same, least=1.0),
        gates.share("people whose evidence counts the same", counted, least=1.0),
        gates.share("digests of the whole that agree", np.array([before.digest == after.digest]), least=1.0),
    ]


def with_later_events(drawn: Behaviour) -> Behaviour:
    """The same behaviour, and everything once more at and after each person's cut-off."""
    cutoffs = drawn.outcomes.select("user", pl.col("decided_at").alias("cutoff"))
    known = drawn.events.join(cutoffs, on="user", maintain_order="left").filter(
        pl.col("at") < pl.col("cutoff")
    )
    order = drawn.events.columns
    later = [
        known.with_columns((pl.col("cutoff") + by).alias("at"), pl.col("value") * 7 + 1).select(order)
        for by in LATER
    ]
    return replace(drawn, events=pl.concat([drawn.events, *later]))
