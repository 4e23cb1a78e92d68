"""Draw a portrait: a few coarse attributes in three steps, by published rules, only from the categories they name."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from compliance.act import Act
from compliance.canonical import Json
from compliance.vocabulary import Categories, Category, PartnerId, Purpose, UserId
from consent import permits
from scoring import companions, population, registry, release, scorer
from scoring.answers import given
from scoring.answers.given import Answer, Worked
from scoring.deciles import Deciles
from scoring.population import Held
from scoring.release import Released
from scoring.scorer import InsufficientEvidence, Scorer

KIND: Final = "portrait"
PURPOSE = Purpose.PORTRAIT
CATALOGUE = Path(__file__).with_name("portraits.toml")
LOW_UP_TO, HIGH_FROM = 0.3, 0.7
"""Shares of the people below whom somebody stands."""


class Step(StrEnum):
    """How much of an attribute."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Measure:
    """A feature, and whether more of it means more of the attribute."""

    feature: str
    more: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """An attribute, the categories it needs, and what it is measured by."""

    attribute: str
    version: int
    categories: Categories
    measures: tuple[Measure, ...]


@cache
def rules() -> tuple[Rule, ...]:
    """The published rules."""
    told = tomllib.loads(CATALOGUE.read_text("utf-8"))
    return tuple(
        Rule(
            name,
            entry["version"],
            frozenset(map(Category, entry["categories"])),
            tuple(Measure(**each) for each in entry["measures"]),
        )
        for name, entry in told.items()
    )


def drawn(
    model: Scorer, spread: Deciles, published: Sequence[Rule], held: Held, shared: Categories
) -> Mapping[str, Step]:
    """The attributes that these data carry; of what is not shared nothing is read."""
    counted = _counted(model, held, shared)
    steps = {}
    for rule in published:
        step = _step(model, spread, rule, held) if rule.categories <= counted else None
        if step is not None:
            steps[rule.attribute] = step
    return steps


def _step(model: Scorer, spread: Deciles, rule: Rule, held: Held) -> Step | None:
    """Where somebody stands on the mean of the measures they have; None where they have none."""
    place = {each.name: n for n, each in enumerate(model.manifest.inputs)}
    places = []
    for measure in rule.measures:
        value = held.values[place[measure.feature]] if measure.feature in place else np.nan
        if measure.feature in spread and not np.isnan(value):
            # Half way between those below and those up to the value: ties stand in the middle.
            sides = [np.searchsorted(spread[measure.feature], value, side) for side in ("left", "right")]
            below = float(sum(sides)) / 2 / len(spread[measure.feature])
            places.append(below if measure.more else 1 - below)
    if not places:
        return None
    mean = sum(places) / len(places)
    return Step.LOW if mean < LOW_UP_TO else Step.HIGH if mean > HIGH_FROM else Step.MEDIUM


def _counted(model: Scorer, held: Held, shared: Categories) -> Categories:
    """The shared categories that hold enough."""
    filled = scorer.filled(
        model.manifest.inputs,
        model.manifest.minimum,
        held.values[None, :],
        {category: np.array([n], np.int32) for category, n in held.evidence.events.items()},
        {category: np.array([n], np.int32) for category, n in held.evidence.active_days.items()},
    )[0]
    known = frozenset(c for c, enough in zip(model.categories, filled, strict=True) if enough)
    return known & shared


async def issue(
    act: Act, user: UserId, wanted: Categories, *, recipient: PartnerId | None = None
) -> Released[Answer]:
    """Draw a person's portrait for a partner, from the categories they consented to.

    Refuses without a live grant, without a lawful channel, and where the data carry no attribute. Records
    `portrait_drawn`.
    """
    permitted = await permits.permit(act, user, PURPOSE, wanted, recipient=recipient)
    in_use = await registry.champion(act)
    model, spread = registry.scorer(in_use.digest), companions.spread(in_use.digest)

    async def evaluate() -> Worked:
        held = await population.read(act, permitted, model)
        steps = drawn(model, spread, rules(), held, permitted.categories)
        if not steps:
            raise InsufficientEvidence
        used = frozenset[Category]().union(*(rule.categories for rule in rules() if rule.attribute in steps))
        told: dict[str, Json] = {
            rule.attribute: {"step": steps[rule.attribute], "version": rule.version}
            for rule in rules()
            if rule.attribute in steps
        }
        return Worked(
            told=told,
            held=held,
            events=tuple(held.evidence.events.get(c, 0) for c in model.categories),
            active_days=tuple(held.evidence.active_days.get(c, 0) for c in model.categories),
            used=tuple(sorted(used)),
            not_used=tuple(c for c in model.categories if c not in used),
        )

    released = await release.release_evaluation(act, permitted, evaluate)
    return await given.keep(act, permitted, in_use, released, kind=KIND, fact="portrait_drawn")
