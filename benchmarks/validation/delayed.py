"""Scores given to people as they arrive, by models that learnt from outcomes which had matured before, and no other.

The protocol of pamir 0.4.0 in its mode `arrival`, with any clock: a model learns anew with so many defaults more that
have matured, from all that has; it scores who arrives later, until the next one has learnt; a score once given stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scoring.evaluation import Flags, Floats
from scoring.features import Matrix

Rows = NDArray[np.intp]
Teller = Callable[[Rows], Floats]
"""Log-odds of rows, NaN where there is no answer."""
Learner = Callable[[Matrix, Flags, Flags], Teller]
"""From the matrix, outcomes [row] and which rows to learn from; the outcomes of the others are never true."""


class OutcomeNotMatured(Exception):
    """Somebody would be scored by what was not known yet when they arrived."""


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """People in the order in which they arrive; nobody knows the outcome of one before it `matures` [row]."""

    name: str
    matrix: Matrix
    bad: Flags
    arrives: Floats
    matures: Floats


@dataclass(frozen=True, slots=True)
class Pace:
    """The first model learns from at least so many defaults and others; the next with so many defaults `more`."""

    least: int
    more: int


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What each was told [row]: log-odds, and when the last outcome behind them had matured; NaN without a model."""

    log_odds: Floats
    rests_on: Floats
    models: int


def lessons(stream: Stream, pace: Pace) -> list[float]:
    """When a model learns: as the default that makes enough of them matures, while somebody is still to come."""
    defaults = others = since = 0
    moments: list[float] = []
    for row in np.argsort(stream.matures, kind="stable"):
        bad = bool(stream.bad[row])
        defaults, others, since = defaults + bad, others + (not bad), since + bad
        enough = min(defaults, others) >= pace.least and (not moments or since >= pace.more)
        if enough and stream.matures[row] < stream.arrives[-1]:
            moments.append(float(stream.matures[row]))
            since = 0
    return moments


def tell(stream: Stream, learner: Learner, pace: Pace) -> Told:
    """Score everybody who arrives after the first model has learnt."""
    log_odds, rests_on = (np.full(len(stream.bad), np.nan) for _ in range(2))
    moments = lessons(stream, pace)
    for moment, following in pairwise([*moments, np.inf]):
        rows = np.flatnonzero((stream.arrives > moment) & (stream.arrives <= following))
        learn = stream.matures <= moment
        if rows.size:
            outcomes = known(stream, learn, float(stream.arrives[rows[0]]))
            log_odds[rows] = learner(stream.matrix, outcomes, learn)(rows)
            rests_on[rows] = stream.matures[learn].max()
    return Told(log_odds, rests_on, len(moments))


def known(stream: Stream, learn: Flags, arriving: float) -> Flags:
    """Outcomes [row] of those to learn from, for scores of whoever arrives at a moment or later; false of all others.

    Raises:
        OutcomeNotMatured: one of them is not known before that moment.

    """
    if (stream.matures[learn] >= arriving).any():
        raise OutcomeNotMatured(f"{stream.name}: an outcome is used before it has matured")
    return np.where(learn, stream.bad, False)
