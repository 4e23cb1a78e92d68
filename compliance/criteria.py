"""Criteria: which people or loans are meant, in a closed language that can say nothing but what it shows.

A subset of CQL2-JSON (OGC 21-065r2) over a catalogue of attributes that the caller allows. An unknown value is
neither matched nor unmatched (Kleene's three values), so that a negation never turns ignorance into a match.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compliance import canonical as canonical_form
from compliance.canonical import Json

TEXT_MAX = 64
INTEGER_MAX = 2**63 - 1  # a NumPy column holds no more

Scalar = int | str | bool
Mask = NDArray[np.bool_]

EQUALITY: Mapping[str, Callable[[Any, Any], Any]] = {"=": operator.eq, "<>": operator.ne}
ORDER: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COMPARISONS = {**EQUALITY, **ORDER}
"""The same words on one value and on a NumPy column."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """What may be asked about: an integer from `low` to `high`, one of `codes`, or a boolean."""

    name: str
    type: Literal["integer", "code", "boolean"]
    low: int = 0
    high: int = 0
    codes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.type == "integer" and not -INTEGER_MAX <= self.low <= self.high <= INTEGER_MAX:
            raise ValueError(f"{self.name}: an integer attribute has a lowest and a highest value")
        if self.type == "code" and not (self.codes and all(len(code) <= TEXT_MAX for code in self.codes)):
            raise ValueError(f"{self.name}: a code attribute has codes of at most {TEXT_MAX} characters")


Catalogue = Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Compare:
    """An attribute against one value."""

    attribute: str
    op: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class Between:
    """An integer attribute from `low` to `high`, both included."""

    attribute: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class In:
    """An attribute among listed values."""

    attribute: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    """An attribute that is not known; the one question that always has an answer."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Criteria"


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds."""

    parts: tuple["Criteria", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds."""

    parts: tuple["Criteria", ...]


Criteria = Compare | Between | In | IsNull | Not | And | Or


def attributes(tree: Criteria) -> frozenset[str]:
    """Name the attributes that are asked about: the columns that `mask` needs."""
    match tree:
        case And(parts) | Or(parts):
            return frozenset().union(*(attributes(part) for part in parts))
        case Not(part):
            return attributes(part)
        case _:
            return frozenset({tree.attribute})


def evaluate(tree: Criteria, values: Mapping[str, Scalar | None]) -> bool | None:
    """Answer for one row; an absent or `None` value is unknown, and so is what depends on it."""
    match tree:
        case And(parts):
            return _weakest(evaluate(part, values) for part in parts)
        case Or(parts):
            return _negated(_weakest(_negated(evaluate(part, values)) for part in parts))
        case Not(part):
            return _negated(evaluate(part, values))
        case IsNull(attribute):
            return values.get(attribute) is None
    value = values.get(tree.attribute)
    if value is None:
        return None
    match tree:
        case Compare(_, op, asked):
            return bool(COMPARISONS[op](value, asked))
        case Between(_, low, high):
            return low <= int(value) <= high
        case In(_, asked_values):
            return value in asked_values


def matches(tree: Criteria, values: Mapping[str, Scalar | None]) -> bool:
    """Tell whether one row is known to be meant."""
    return evaluate(tree, values) is True


def mask(tree: Criteria, columns: Mapping[str, NDArray[Any]], known: Mapping[str, Mask]) -> Mask:
    """Tell for each row whether it is known to be meant; as `matches`, for whole columns.

    `known[name]` is False where `columns[name]` holds no value, whatever stands there. All are of one length; a
    missing column is a KeyError.
    """
    return _answers(tree, columns, known)[0]


def canonical(tree: Criteria) -> Json:
    """Write the criteria as CQL2-JSON, with parts and listed values in one order."""
    match tree:
        case Compare(attribute, op, value):
            return {"op": op, "args": [{"property": attribute}, value]}
        case Between(attribute, low, high):
            return {"op": "between", "args": [{"property": attribute}, low, high]}
        case In(attribute, values):
            return {"op": "in", "args": [{"property": attribute}, _sorted(set(values))]}
        case IsNull(attribute):
            return {"op": "isNull", "args": [{"property": attribute}]}
        case Not(part):
            return {"op": "not", "args": [canonical(part)]}
        case And(parts):
            return {"op": "and", "args": _sorted(canonical(part) for part in parts)}
        case Or(parts):
            return {"op": "or", "args": _sorted(canonical(part) for part in parts)}


def digest(tree: Criteria) -> str:
    """SHA-256 of the canonical form: the same for criteria that differ in order only."""
    return canonical_form.digest(canonical(tree))


def _weakest(answers: Iterable[bool | None]) -> bool | None:
    seen = set(answers)
    if False in seen:
        return False
    return None if None in seen else True


def _negated(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def _answers(
    tree: Criteria, columns: Mapping[str, NDArray[Any]], known: Mapping[str, Mask]
) -> tuple[Mask, Mask]:
    """Find the rows that hold and those that do not; a row in neither is unknown."""
    match tree:
        case And(parts):
            pairs = [_answers(part, columns, known) for part in parts]
            return reduce(operator.and_, (p[0] for p in pairs)), reduce(operator.or_, (p[1] for p in pairs))
        case Or(parts):
            pairs = [_answers(part, columns, known) for part in parts]
            return reduce(operator.or_, (p[0] for p in pairs)), reduce(operator.and_, (p[1] for p in pairs))
        case Not(part):
            holds, fails = _answers(part, columns, known)
            return fails, holds
        case IsNull(attribute):
            return ~known[attribute], known[attribute]
    column, there = columns[tree.attribute], known[tree.attribute]
    match tree:
        case Compare(_, op, asked):
            held = COMPARISONS[op](column, asked)
        case Between(_, low, high):
            held = (low <= column) & (column <= high)
        case In(_, asked_values):
            held = np.isin(column, list(asked_values))
    return there & held, there & ~held


def _sorted(items: Iterable[Json]) -> list[Json]:
    return sorted(items, key=canonical_form.canonical)
