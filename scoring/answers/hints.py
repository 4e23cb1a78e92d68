"""What would help: the smallest plausible change of one behaviour that would have raised a person's own points.

A statement about the model, worked out by the model: the person's own values, of which those of one behaviour are moved
to where others are, scored again. Only what a person can act on, only of what was shared, and no promise.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compliance.vocabulary import Categories, Category, Language
from scoring import explanation
from scoring.deciles import Deciles
from scoring.explanation import Cause
from scoring.scorer import NO_ANSWER, Evidence, Scorer, Values

CATALOGUE = Path(__file__).with_name("hints.toml")
LEAST_POINTS = 10
MOST_STEPS = 5
"""Half of all people lie between where somebody is and the furthest that is called plausible."""
MOST_HINTS = 3

SAID_TOGETHER: Mapping[Language, tuple[str, str]] = {
    Language.EN: (", ", " and "),
    Language.ZH_CN: ("、", "、"),
}
WINDOW = re.compile(r"_\d+d$")

Way = Literal["better", "less"]
"""`better`: each measure of the behaviour goes the way that its feature declares as less risk. `less`: down, for what
declares no way; more of it is never advised, since it is what somebody borrows."""


@dataclass(frozen=True, slots=True)
class Move:
    """One measure of the behaviour: where it is, and where it would have been."""

    feature: str
    unit: str
    value: float
    moved_to: float


@dataclass(frozen=True, slots=True)
class Hint:
    """One behaviour, changed by so many tenths of people; everything else as it is. `points` is the rise."""

    code: str
    version: int
    category: Category
    way: Way
    steps: int
    points: int
    moves: tuple[Move, ...]


def hints(
    model: Scorer, spread: Deciles, values: Values, evidence: Evidence, shared: Categories
) -> tuple[Hint, ...]:
    """At most three hints, the smallest change first; none where no change of one behaviour gives 10 points.

    `values` may hold what is not shared: it is never read. A behaviour that several features measure moves as a whole,
    each measure by the same number of tenths of the people that the model was trained on; a part of it that goes with
    what has no direction stays as it is.
    """
    tried = [
        (cause, steps, moved)
        for cause in _actionable(model, shared)
        for steps in range(1, MOST_STEPS + 1)
        if (moved := _moved(model, spread, values, cause, steps)) is not None
    ]
    points = _points(model, [values, *(moved for *_, moved in tried)], evidence, shared)
    found: dict[str, Hint] = {}
    for (cause, steps, moved), reached in zip(tried, points[1:], strict=True):
        rise = reached - points[0]
        answered = NO_ANSWER not in (points[0], reached)
        if answered and rise >= LEAST_POINTS and cause.code not in found:
            changes = _changes(model, values, moved)
            found[cause.code] = Hint(
                cause.code, cause.version, cause.category, way(cause.code), steps, rise, changes
            )
    return tuple(sorted(found.values(), key=lambda hint: (hint.steps, -hint.points, hint.code))[:MOST_HINTS])


def words(code: str, moved: Iterable[str], language: Language) -> str:
    """What the person would have done, in their language: only the parts of which one of these features moved."""
    told, measures = _catalogue()[code], {_measure(feature) for feature in moved}
    said = [
        part[language.value] for part in told["parts"].values() if not measures.isdisjoint(part["measures"])
    ]
    *others, last = said
    comma, last_comma = SAID_TOGETHER[language]
    return str(told[language.value].format(last_comma.join([comma.join(others), last]) if others else last))


def way(code: str) -> Way:
    """Which way this behaviour is moved."""
    told: Way = _catalogue()[code]["way"]
    return told


def _actionable(model: Scorer, shared: Categories) -> Sequence[Cause]:
    """The causes of the model's shared features that a person can act on, and that there are words for."""
    causes = {Cause(each.reason, each.reason_version, each.category) for each in model.manifest.inputs}
    known = [
        cause
        for cause in causes
        if cause.category in shared
        and explanation.is_actionable(cause)
        and _catalogue().get(cause.code, {}).get("version") == cause.version
    ]
    return sorted(known, key=lambda cause: cause.code)


def _moved(model: Scorer, spread: Deciles, values: Values, cause: Cause, steps: int) -> Values | None:
    """The values with one behaviour moved; None where nothing of it moves."""
    moved, to_less = values.copy(), way(cause.code) == "less"
    held = [(n, each) for n, each in enumerate(model.manifest.inputs) if not np.isnan(values[n])]
    movable = _movable(cause, {_measure(each.name) for _, each in held})
    for place, each in held:
        if each.reason == cause.code and each.name in spread and _measure(each.name) in movable:
            sign = (-1 if each.monotone == 0 else 0) if to_less else -each.monotone
            moved[place] = _step(spread[each.name], values[place], sign * steps)
    return None if np.array_equal(moved, values, equal_nan=True) else moved


def _movable(cause: Cause, held: Set[str]) -> frozenset[str]:
    """The measures of a behaviour, without those of the parts that go with something of what is held."""
    parts = _catalogue()[cause.code]["parts"].values()
    return frozenset(
        measure
        for part in parts
        if held.isdisjoint(part.get("goes_with", ()))
        for measure in part["measures"]
    )


def _measure(feature: str) -> str:
    return WINDOW.sub("", feature)


def _step(deciles: Values, value: np.float32, steps: int) -> np.float32:
    """The decile so many tenths of people above a value (below, where negative); the value where it is past them all."""
    if steps > 0:
        place = min(int(np.searchsorted(deciles, value, side="right")) + steps, len(deciles)) - 1
        return max(value, deciles[place])
    if steps < 0:
        place = max(int(np.searchsorted(deciles, value, side="left")) + steps, 0)
        return min(value, deciles[place])
    return value


def _points(model: Scorer, rows: Sequence[Values], evidence: Evidence, shared: Categories) -> list[int]:
    """The points of each row, as `Scorer.evaluate` gives them."""
    many = len(rows)
    found = model.evaluate_many(
        np.stack(rows),
        {category: np.full(many, n, np.int32) for category, n in evidence.events.items()},
        {category: np.full(many, n, np.int32) for category, n in evidence.active_days.items()},
        np.broadcast_to([category in shared for category in model.categories], (many, len(model.categories))),
    )
    points: list[int] = found.points.tolist()
    return points


def _changes(model: Scorer, values: Values, moved: Values) -> tuple[Move, ...]:
    places = np.flatnonzero((moved != values) & ~np.isnan(values))
    inputs = model.manifest.inputs
    return tuple(Move(inputs[n].name, inputs[n].unit, float(values[n]), float(moved[n])) for n in places)


@cache
def _catalogue() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(CATALOGUE.read_text("utf-8"))
