"""An invented person, kept with a model, on whom people see what sharing can change before they decide."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from compliance import canonical
from scoring import rows as matrix_rows
from scoring import scorer
from scoring.features import Matrix
from scoring.scorer import Evidence, Scorer, Values, pack, unpack


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What the model reads of the invented person."""

    values: Values
    evidence: Evidence


def choose(model: Scorer, invented: Matrix) -> bytes | None:
    """Choose one of the invented people and write them as canonical JSON; None where none has enough data.

    Of those with enough of every category and an answer whatever is left off, it is the one whom leaving data off
    raises and lowers the most evenly: an example that talks nobody into sharing, and nobody out of it.
    """
    stated, everything = model.manifest, len(model.categories)
    enough = scorer.filled(
        stated.inputs, stated.minimum, invented.values, invented.events, invented.active_days
    )
    rows = np.flatnonzero(enough.all(axis=1))
    if not rows.size:
        return None
    masks = np.vstack([np.ones(everything, np.bool_), ~np.eye(everything, dtype=np.bool_)])
    points = np.array(
        [
            model.evaluate_many(
                *matrix_rows.of(invented, rows),
                np.broadcast_to(mask, (len(rows), everything)),
            ).points
            for mask in masks
        ],
        np.int32,
    )
    moves = points[1:] - points[0]
    evenly = np.minimum(np.maximum(moves, 0).sum(axis=0), np.maximum(-moves, 0).sum(axis=0))
    evenly[(points == scorer.NO_ANSWER).any(axis=0)] = -1
    best = int(evenly.argmax())
    return _write(model, invented, int(rows[best])) if evenly[best] >= 0 else None


def _write(model: Scorer, invented: Matrix, row: int) -> bytes:
    return canonical.canonical(
        {
            "invented": True,
            "vector": pack(invented.values[row]).hex(),
            "events": {c.value: int(invented.events[c][row]) for c in model.categories},
            "active_days": {c.value: int(invented.active_days[c][row]) for c in model.categories},
        }
    )


def read(model: Scorer, written: bytes) -> Example:
    """Read what `choose` wrote."""
    told: dict[str, Any] = json.loads(written)
    events, active_days = ({c: told[name][c] for c in model.categories} for name in ("events", "active_days"))
    return Example(unpack(bytes.fromhex(told["vector"])), Evidence(events, active_days))
