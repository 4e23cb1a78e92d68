"""What is measured of a person's shared behaviour, strictly before the moment of the decision."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from compliance import canonical
from compliance.canonical import Json
from compliance.vocabulary import Categories, Category
from scoring import feature_catalogue, feature_history, feature_statements, feature_terms
from scoring.behaviour import Behaviour
from scoring.behaviour_schema import ProfileColumn, Role, Schema
from scoring.feature_terms import Expression
from scoring.manifest import Input
from scoring.measures import columns, forbidden, general, graph
from scoring.measures.definition import OUTSIDE, STATED, Definition

FREQUENT_VALUES_MAX = 12
FREQUENT_SHARE_MIN = 0.01
FREQUENT_PEOPLE_MIN = 20

ROWS_AT_ONCE = 20_000
"""So many rows are computed together: more would only take more memory."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One declared measure of behaviour.

    `expression` is text in the language of `feature_terms`, so that a model stores its features whole.
    `monotone` is +1 if more of it means more risk, -1 if less, 0 if either, and then `why`.
    """

    name: str
    category: Category
    unit: str
    window_days: int | None
    monotone: int
    why: str
    reason: str
    expression: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Features of users, each as of its own cut-off.

    `values` is float32 [n, f] in Fortran order, NaN where there are no data. `events` and `active_days`
    (int32 [n] per category) say how much there is before the cut-off; filled profile columns and asked
    terms count as events, without a day. `digest` is the SHA-256 over definitions, values, users, cut-offs.
    """

    features: tuple[Feature, ...]
    users: tuple[str, ...]
    cutoffs: tuple[datetime, ...]
    values: npt.NDArray[np.float32]
    events: Mapping[Category, npt.NDArray[np.int32]]
    active_days: Mapping[Category, npt.NDArray[np.int32]]
    digest: str


def as_features(inputs: Sequence[Input]) -> tuple[Feature, ...]:
    """The features that a model reads, as it stores them."""
    names = [field.name for field in fields(Feature)]
    return tuple(Feature(**{name: getattr(each, name) for name in names}) for each in inputs)


def chosen(behaviour: Behaviour, categories: Categories) -> tuple[Feature, ...]:
    """Choose the features of `categories` that these data can fill.

    Raises:
        FeatureForbidden: a profile column with the role `feature` is on the forbidden list or takes a name.

    """
    usable = {c.name: c.category for c in behaviour.schema.profiles if Role.FEATURE in c.roles}
    held = _held(behaviour)
    own = [f for f in _catalogue() if _can_be_filled(f, held.kinds, usable) and _is_brought(f, behaviour)]
    measures = (
        *(measure for category in held.unknown for measure in general.whole(category)),
        *general.by_name(behaviour, _known()),
    )
    found = (*own, *map(_of_outside, measures), *_asked(behaviour), *declared(behaviour.schema, behaviour))
    features = tuple(f for f in found if f.category in categories)
    forbidden.refuse([feature.name for feature in features])
    return features


def declared(schema: Schema, behaviour: Behaviour) -> tuple[Feature, ...]:
    """Make features of the profile columns that may be used: numbers as they are, frequent values as 0 or 1.

    Which values are frequent is decided on these data and then fixed, since each is a feature of its own.
    """
    features: list[Feature] = []
    for column in schema.profiles:
        if Role.FEATURE not in column.roles:
            continue
        if column.type != "category":
            features.append(_of_profile(column, "days" if column.type == "date" else "as stated", None))
            continue
        counts = behaviour.profiles[column.name].drop_nulls().value_counts(name="people")
        enough = max(FREQUENT_PEOPLE_MIN, FREQUENT_SHARE_MIN * behaviour.profiles.height)
        frequent = counts.filter(pl.col("people") >= enough).sort(
            ["people", column.name], descending=[True, False]
        )
        features += [
            _of_profile(column, "yes or no", v) for v in frequent[column.name].head(FREQUENT_VALUES_MAX)
        ]
    return tuple(features)


def compute(behaviour: Behaviour, asked: pl.DataFrame, features: Sequence[Feature]) -> Matrix:
    """Compute features for each row of `asked`: user, cutoff, optional amount and tenor_days.

    No event at or after a row's cut-off is read; a window is open at both ends. A user without any event of
    a category has no value in all of its event features, so that no data and not shared look the same.

    Raises:
        ValueError: the cut-offs have no time zone.

    """
    rows = columns.rows(asked)
    expressions = [feature_terms.parse(f.expression) for f in features]
    categories = sorted({f.category for f in features})
    known = behaviour
    if Category.SOCIAL_GRAPH in categories and not behaviour.edges.is_empty():
        touched = graph.as_events(behaviour.edges, rows["user"])
        known = replace(behaviour, events=pl.concat([behaviour.events, touched]))
    values = np.full((rows.height, len(features)), np.nan, dtype=np.float32, order="F")
    events = {c: np.zeros(rows.height, dtype=np.int32) for c in categories}
    active_days = {c: np.zeros(rows.height, dtype=np.int32) for c in categories}
    for start in range(0, rows.height, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        found = _computed(known, rows[part].with_row_index("row"), features, expressions)
        for index, column in enumerate(found.columns):
            values[part, index] = column
        for category in categories:
            events[category][part] = found.events[category]
            active_days[category][part] = found.active_days[category]
    users, cutoffs = tuple(rows["user"]), tuple(rows["cutoff"])
    digest = _digest(features, users, cutoffs, values)
    return Matrix(tuple(features), users, cutoffs, values, events, active_days, digest)


@dataclass(frozen=True, slots=True)
class _Computed:
    columns: list[npt.NDArray[np.float32]]
    events: feature_history.Counts
    active_days: feature_history.Counts


def _computed(
    behaviour: Behaviour, rows: pl.DataFrame, features: Sequence[Feature], expressions: Sequence[Expression]
) -> _Computed:
    pairs = list(zip(features, expressions, strict=True))
    categories = sorted({f.category for f in features})
    history = feature_history.before(rows, behaviour.events, behaviour.schema.timezone, categories)
    events, active_days = feature_history.evidence(history, rows.height, categories)
    wanted = [(f.category, f.window_days, e.terms) for f, e in pairs if f.window_days]
    statistics = feature_history.statistics(history, rows.height, wanted)
    stated = feature_statements.stated(rows, behaviour.profiles, behaviour.schema.profiles)
    found: list[npt.NDArray[np.float32]] = []
    for feature, expression in pairs:
        empty = active_days[feature.category] == 0
        parts = [
            feature_statements.numbers(stated, term, expression.equals)
            if term.how in feature_statements.SAID
            else feature_history.filled(
                statistics[feature.category, term.within or feature.window_days or 0, term], term, empty
            )
            for term in expression.terms
        ]
        found.append(columns.single(columns.combined(expression.between, parts)))
    for category in categories:
        of = [term for f, e in pairs if f.category is category for term in e.terms]
        events[category] += feature_statements.filled_count(stated, of)
    return _Computed(found, events, active_days)


def _catalogue() -> list[Feature]:
    return [_feature(d, window) for d in feature_catalogue.DEFINITIONS for window in d.windows]


def _feature(of: Definition, window: int | None) -> Feature:
    """Make a feature of a definition in one of its windows."""
    return Feature(
        name=of.name if window is None else f"{of.name}_{window}d",
        category=of.category,
        unit=of.unit,
        window_days=window,
        monotone=of.monotone,
        why=of.why,
        reason=of.reason,
        expression=of.expression,
    )


def _of_outside(measure: general.Measure) -> Feature:
    """Make a feature of what the catalogue does not know."""
    reason = f"{feature_catalogue.PREFIX[measure.category]}-900"
    return Feature(**asdict(measure), monotone=0, why=OUTSIDE, reason=reason)


@cache
def _known() -> frozenset[tuple[Category, str]]:
    terms = [(d.category, feature_terms.parse(d.expression).terms) for d in feature_catalogue.DEFINITIONS]
    kinds = {(category, term.event) for category, of in terms for term in of}
    return frozenset(kind for kind in kinds if kind[1] != feature_terms.ANY)


@dataclass(frozen=True, slots=True)
class _Held:
    """The kinds of event that data hold, with * for all of a category; and the categories of which none is known.

    What is forbidden by its name is not there, and all events of its category are not measured together either.
    """

    kinds: frozenset[tuple[Category, str]]
    unknown: tuple[Category, ...]


def _held(behaviour: Behaviour) -> _Held:
    names = [
        (Category(c), name) for c, name in behaviour.events.select("category", "name").unique().iter_rows()
    ]
    spoilt = {category for category, name in names if forbidden.ban_of(name)}
    kinds = {(category, name) for category, name in names if not forbidden.ban_of(name)}
    known = {category for category, _ in kinds & _known()}
    if not behaviour.edges.is_empty():
        known.add(Category.SOCIAL_GRAPH)
    everything = {(category, feature_terms.ANY) for category in known - spoilt}
    unknown = {category for category, _ in names} - known - spoilt
    return _Held(frozenset(kinds | everything), tuple(sorted(unknown)))


def _is_brought(feature: Feature, behaviour: Behaviour) -> bool:
    """Whether events bring along what is to be told apart; edges always say with whom."""
    return feature.category is Category.SOCIAL_GRAPH or all(
        feature_history.bring(behaviour.events, feature.category, term)
        for term in feature_terms.parse(feature.expression).terms
    )


def _can_be_filled(
    feature: Feature, kinds: frozenset[tuple[Category, str]], usable: Mapping[str, Category]
) -> bool:
    for term in feature_terms.parse(feature.expression).terms:
        if term.how == "profile" and usable.get(term.event) != feature.category:
            return False
        if term.how != "profile" and (feature.category, term.event) not in kinds:
            return False
    return True


def _asked(behaviour: Behaviour) -> list[Feature]:
    terms = zip(feature_statements.ASKED, feature_catalogue.ASKED, strict=True)
    return [_feature(asked, None) for name, asked in terms if behaviour.outcomes[name].count()]


def _of_profile(column: ProfileColumn, unit: str, value: str | None) -> Feature:
    generic = f"{feature_catalogue.PREFIX[column.category]}-900"
    is_stated = column.category is Category.DECLARED
    equals = "" if value is None else f" = {json.dumps(value, ensure_ascii=False)}"
    return Feature(
        name=column.name if value is None else f"{column.name}={value}",
        category=column.category,
        unit=unit,
        window_days=None,
        monotone=0,
        why=STATED,
        reason=feature_catalogue.STATED.get(column.name, generic) if is_stated else generic,
        expression=f"profile({column.name}){equals}",
    )


@lru_cache(feature_terms.EXPRESSIONS_KEPT)
def _declaration(feature: Feature) -> dict[str, Json]:
    return asdict(feature)


def _digest(
    features: Sequence[Feature],
    users: Sequence[str],
    cutoffs: Sequence[datetime],
    values: npt.NDArray[np.float32],
) -> str:
    about: dict[str, Json] = {
        "features": [_declaration(f) for f in features],
        "users": list(users),
        "cutoffs": [cutoff.isoformat() for cutoff in cutoffs],
    }
    written = hashlib.sha256(canonical.canonical(about))
    written.update(values.astype("<f4").tobytes(order="F"))
    return written.hexdigest()
