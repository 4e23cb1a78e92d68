"""The rows a model learns from, with categories hidden at random: we choose what is hidden, never the person."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from compliance.vocabulary import Categories, Category
from scoring import explanation, policy, scorer
from scoring.evaluation import Flags, Floats
from scoring.features import Feature, Matrix
from scoring.manifest import Input
from scoring.policy import Minimum
from scoring.scorer import Values

Rows = NDArray[np.intp]

MOST_COPIES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A matrix with its outcomes, and which categories of each row hold enough data to count."""

    matrix: Matrix
    defaulted: Flags
    inputs: tuple[Input, ...]
    categories: tuple[Category, ...]
    minimum: Mapping[Category, Minimum]
    enough: Flags  # [row, category]
    category_of: NDArray[np.intp]
    user_of: NDArray[np.intp]


def prepare(matrix: Matrix, defaulted: Flags) -> Lesson:
    """Read the categories and reasons of the features; an unknown reason is a programmer's error."""
    inputs = tuple(_input(feature) for feature in matrix.features)
    categories = tuple(sorted({each.category for each in inputs}))
    of_events = {each.category for each in inputs if each.window_days}
    minimum = {
        category: policy.minimum(category, has_events=category in of_events) for category in categories
    }
    return Lesson(
        matrix=matrix,
        defaulted=defaulted,
        inputs=inputs,
        categories=categories,
        minimum=minimum,
        enough=scorer.filled(inputs, minimum, matrix.values, matrix.events, matrix.active_days),
        category_of=np.array([categories.index(each.category) for each in inputs], np.intp),
        user_of=np.unique(np.array(matrix.users), return_inverse=True)[1],
    )


def _input(feature: Feature) -> Input:
    cause = explanation.cause(feature.reason)
    if cause.category is not feature.category:
        raise ValueError(f"{feature.name} and its reason {cause.code} are of two categories")
    return Input(**(asdict(feature) | {"reason": cause.code}), reason_version=cause.version)


def copies(
    lesson: Lesson,
    rows: Rows,
    number: int,
    random: np.random.Generator,
    *,
    declared_alone: bool = False,
    sizes_alike: bool = False,
) -> tuple[Flags, Rows]:
    """Say what to show of `number` copies of each row, and which row each is.

    The first copy shows all that counts, each other hides every category with probability one half, or with
    `sizes_alike` shows one, two, ... or all of them, each number as often; a copy that could never be answered is left
    out. With one category there is nothing to hide and no copy is made. `declared_alone`: what is estimated may rest
    on statements alone, unlike a score.
    """
    if not 1 <= number <= MOST_COPIES:
        raise ValueError(f"{number} copies; 1 to {MOST_COPIES} can be made")
    source = np.tile(rows, number if len(lesson.categories) > 1 else 1)
    held, drawn = lesson.enough[source], random.random((len(source), len(lesson.categories)))
    counted = _some(held, drawn, random) if sizes_alike else held & (drawn < 0.5)
    counted[: len(rows)] = held[: len(rows)]
    kept = counted.any(axis=1) if declared_alone else scorer.may_carry(lesson.categories, counted)
    return counted[kept], source[kept]


def _some(held: Flags, drawn: Floats, random: np.random.Generator) -> Flags:
    """Of each row's categories those drawn first: any number of them from one to all, each as often."""
    many = np.maximum(held.sum(axis=1), 1)
    place = np.where(held, drawn, 1.0).argsort(axis=1).argsort(axis=1)
    return np.asarray(held & (place < random.integers(1, many, endpoint=True)[:, None]))


def subsets(lesson: Lesson, *, declared_alone: bool = False) -> dict[Categories, Flags]:
    """Every set of categories that may carry an answer (see `copies`), and the same as flags [category]."""
    sets = (
        frozenset(chosen)
        for size in range(1, len(lesson.categories) + 1)
        for chosen in combinations(lesson.categories, size)
    )
    known = frozenset(lesson.categories)
    return {
        used: np.array([c in used for c in lesson.categories])
        for used in sets
        if declared_alone or policy.may_carry(used, known)
    }


def having(lesson: Lesson, rows: Rows, used: Flags) -> Flags:
    """Which of the rows hold enough data of every `used` category."""
    return np.asarray(lesson.enough[np.ix_(rows, used)].all(axis=1))


def shown(lesson: Lesson, rows: Rows, counted: Flags) -> Values:
    """Values of the rows without what is not counted; `counted` is [row, category]."""
    return scorer.hide(lesson.matrix.values[rows], counted, lesson.category_of)
