"""What leaving a kind of data off changes: the same data, scored with all that is shared and without each part."""

from dataclasses import dataclass

import numpy as np

from compliance.vocabulary import Categories, Category
from scoring import policy, scorer
from scoring.scorer import Evidence, Scorer, Values


@dataclass(frozen=True, slots=True)
class Line:
    """The result with one kind of data left off (`None`: with nothing left off); no points: too little evidence."""

    left_off: Category | None
    points: int | None
    band: str | None


def lines(model: Scorer, values: Values, evidence: Evidence, shared: Categories) -> tuple[Line, ...]:
    """All that is shared first, then the same without each kind of it, in the order of their names.

    Each line's points are those of `Scorer.evaluate`, without its reasons: one pass for all of them.
    """
    without: list[Category | None] = [None, *sorted(shared)]
    masks = [[c in shared and c is not left_off for c in model.categories] for left_off in without]
    many = len(without)
    found = model.evaluate_many(
        np.repeat(values[None, :], many, axis=0),
        {c: np.full(many, n, np.int32) for c, n in evidence.events.items()},
        {c: np.full(many, n, np.int32) for c, n in evidence.active_days.items()},
        np.array(masks, np.bool_).reshape(many, len(model.categories)),
    )
    return tuple(
        _line(left_off, points, model)
        for left_off, points in zip(without, found.points.tolist(), strict=True)
    )


def _line(left_off: Category | None, points: int, model: Scorer) -> Line:
    if points == scorer.NO_ANSWER:
        return Line(left_off, None, None)
    return Line(left_off, points, policy.band(points, model.manifest.cutoffs))
