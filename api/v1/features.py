"""The data dictionary as JSON: every measure, its meaning, direction, reason, and whether its data are asked for."""

from typing import Literal

import msgspec
from litestar import get

from api.access import AnyRequest, public
from compliance.vocabulary import Category, Language
from scoring import explanation, feature_dictionary
from scoring.feature_dictionary import Entry
from scoring.measures import forbidden

DIRECTIONS: dict[int, Literal["higher_risk", "lower_risk", "none"]] = {
    1: "higher_risk",
    -1: "lower_risk",
    0: "none",
}


class FeatureTexts(msgspec.Struct, frozen=True):
    """What a measure says in one language; `why` is empty where it has a direction."""

    meaning: str
    unit: str
    why: str
    raises: str
    lowers: str


class FeatureOut(msgspec.Struct, frozen=True):
    """One measure; `direction` is what more of it goes with."""

    name: str
    category: Category
    offered: bool
    expression: str
    unit: str
    windows_days: list[int]
    direction: Literal["higher_risk", "lower_risk", "none"]
    reason: str
    reason_version: int
    texts: dict[Language, FeatureTexts]


class OutsideFeatureOut(msgspec.Struct, frozen=True):
    """One measure of events whose names the catalogue does not know; `…` stands for the name."""

    expression: str
    unit: str
    windows_days: list[int]


class BanOut(msgspec.Struct, frozen=True):
    """What one law keeps out of every model; `category` is one that is out as a whole in that jurisdiction."""

    jurisdiction: str
    source: dict[Language, str]
    what: dict[Language, str]
    pattern: str
    category: Category | None


class FeatureList(msgspec.Struct, frozen=True):
    """All that may be measured, and what never is."""

    features: list[FeatureOut]
    outside: list[OutsideFeatureOut]
    forbidden: list[BanOut]


@get("/v1/features", opt=public(), summary="Read the data dictionary")
async def feature_list(request: AnyRequest) -> FeatureList:
    """The whole catalogue, with every text in both languages. It says nothing about anybody."""
    return FeatureList(
        features=[
            _feature(entry) for entry in feature_dictionary.entries(request.app.state.settings.offered)
        ],
        outside=[
            OutsideFeatureOut(p.expression, p.unit, list(p.windows)) for p in feature_dictionary.patterns()
        ],
        forbidden=[
            BanOut(b.jurisdiction, dict(b.source), dict(b.what), b.pattern.pattern, b.category)
            for b in forbidden.bans()
        ],
    )


def _feature(entry: Entry) -> FeatureOut:
    of = entry.of
    texts = {}
    for language in Language:
        told = entry.told(language)
        texts[language] = FeatureTexts(told.meaning, told.unit, told.why, told.raises, told.lowers)
    return FeatureOut(
        name=of.name,
        category=of.category,
        offered=entry.offered,
        expression=of.expression,
        unit=of.unit,
        windows_days=list(of.windows),
        direction=DIRECTIONS[of.monotone],
        reason=of.reason,
        reason_version=explanation.cause(of.reason).version,
        texts=texts,
    )


routes = [feature_list]
