"""The data dictionary: everything that may be measured, as anybody may read it."""

from collections.abc import Iterator
from dataclasses import dataclass

from compliance.vocabulary import Categories, Category, Language
from scoring import explanation, feature_catalogue
from scoring.measures import general, meaning
from scoring.measures.definition import STATED, Definition

ANY_NAME = "…"
"""Stands for the name of an event that the catalogue does not know."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one measure says, in one language: its meaning, unit, why it has no direction, the two reason texts."""

    meaning: str
    unit: str
    why: str
    raises: str
    lowers: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One measure with all its windows; `offered` says whether this installation asks anybody for its category."""

    of: Definition
    offered: bool

    def told(self, language: Language) -> Told:
        """Tell it in a language."""
        texts = explanation.texts(self.of.reason, language)
        return Told(
            meaning=meaning.meaning(self.of.expression, self.of.category, language),
            unit=meaning.unit(self.of.unit, language),
            why=meaning.why(self.of.why, language) if self.of.why else "",
            raises=texts["raises"],
            lowers=texts["lowers"],
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """One measure of events whose names the catalogue does not know; `…` stands for the name."""

    expression: str
    unit: str
    windows: tuple[int, ...]


def entries(offered: Categories) -> tuple[Entry, ...]:
    """Everything that the catalogue knows, by category, in the order in which it was declared."""
    listed = (*feature_catalogue.DEFINITIONS, *feature_catalogue.ASKED, *_stated())
    by_category = sorted(listed, key=lambda each: list(Category).index(each.category))
    return tuple(Entry(each, each.category in offered) for each in by_category)


def patterns() -> tuple[Pattern, ...]:
    """What is measured of events that the catalogue does not know, all together and each by its name."""
    unknown = f'"{ANY_NAME}"'
    named = (*general.WHOLE, *general.TIMES, *general.VALUES)
    return tuple(Pattern(expression.format(unknown), unit, windows) for _, unit, windows, expression in named)


def _stated() -> Iterator[Definition]:
    """Profile columns that we know by name; each of their frequent values is a feature of its own."""
    for column, reason in feature_catalogue.STATED.items():
        expression = f"profile({column})"
        yield Definition(column, Category.DECLARED, "yes or no", (), 0, reason, expression, STATED)
