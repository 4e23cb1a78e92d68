"""What is measured of a person's shared behaviour, strictly before the moment of the decision."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from compliance import canonical
from compliance.canonical import Json
from compliance.refusals import Fault, Refusal
from compliance.vocabulary import Categories, Category
from scoring import feature_catalogue, feature_history, feature_statements, feature_terms
from scoring.behaviour import Behaviour
from scoring.behaviour_schema import ProfileColumn, Role, Schema

FREQUENT_VALUES_MAX = 12
FREQUENT_SHARE_MIN = 0.01
FREQUENT_PEOPLE_MIN = 20

FORBIDDEN = re.compile(
    r"(?<![a-z])(sex|gene|genes|genetics?|dna|race|racial)(?![a-z])"
    r"|religio|fingerprint|blood|disease|medical|gender|marital|marriage|ethnic|politic"
    r"|宗教|信仰|基因|指纹|血型|疾病|病史|性别|婚姻|民族|种族|政治"
)
"""Words that no feature's name may hold: 征信业管理条例 Art 14, and attributes protected from discrimination."""

Column = npt.NDArray[np.float64]


class FeatureForbidden(Refusal):
    """A model was to use what the law or our own list forbids; each fault's pointer names the column."""

    status, code, title = 422, "feature_forbidden", "This must not become a feature"


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


def chosen(behaviour: Behaviour, categories: Categories) -> tuple[Feature, ...]:
    """Choose the features of `categories` that these data can fill.

    Raises:
        FeatureForbidden: a profile column with the role `feature` is on the forbidden list or takes a name.

    """
    occurring = set(behaviour.events.select("category", "name").unique().iter_rows())
    columns = {c.name: c.category for c in behaviour.schema.profiles if Role.FEATURE in c.roles}
    own = [f for f in _catalogue() if _can_be_filled(f, occurring, columns)]
    named = {f.category for f in own}
    general = [
        f for f in _general() if f.category not in named and any(c == f.category for c, _ in occurring)
    ]
    found = (*own, *general, *_asked(behaviour), *declared(behaviour.schema, behaviour))
    features = tuple(f for f in found if f.category in categories)
    _refuse_forbidden(features)
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
    rows = _rows(asked)
    expressions = [feature_terms.parse(f.expression) for f in features]
    categories = sorted({f.category for f in features})
    history = feature_history.before(rows, behaviour.events, behaviour.schema.timezone, categories)
    events, active_days = feature_history.evidence(history, rows.height, categories)
    wanted = [
        (f.category, f.window_days, e.terms)
        for f, e in zip(features, expressions, strict=True)
        if f.window_days
    ]
    statistics = feature_history.statistics(history, rows.height, wanted)
    stated = feature_statements.stated(rows, behaviour.profiles, behaviour.schema.profiles)
    values = np.full((rows.height, len(features)), np.nan, dtype=np.float32, order="F")
    for index, (feature, expression) in enumerate(zip(features, expressions, strict=True)):
        empty = active_days[feature.category] == 0
        parts = [
            feature_statements.numbers(stated, term, expression.equals)
            if term.how in feature_statements.SAID
            else feature_history.filled(
                statistics[feature.category, feature.window_days or 0, term], term, empty
            )
            for term in expression.terms
        ]
        values[:, index] = _single(_combined(expression.between, parts))
    for category in categories:
        of = [
            t for f, e in zip(features, expressions, strict=True) if f.category is category for t in e.terms
        ]
        events[category] += feature_statements.filled_count(stated, of)
    users, cutoffs = tuple(rows["user"]), tuple(rows["cutoff"])
    digest = _digest(features, users, cutoffs, values)
    return Matrix(tuple(features), users, cutoffs, values, events, active_days, digest)


def _catalogue() -> list[Feature]:
    return [
        Feature(
            name=f"{d.name}_{window}d",
            category=d.category,
            unit=d.unit,
            window_days=window,
            monotone=d.monotone,
            why=d.why,
            reason=d.reason,
            expression=d.expression,
        )
        for d in feature_catalogue.DEFINITIONS
        for window in d.windows
    ]


def _general() -> list[Feature]:
    """Measures of any category whose events are not in the catalogue by name."""
    return [
        Feature(
            name=f"{category}_{d.name}_{window}d",
            category=category,
            unit=d.unit,
            window_days=window,
            monotone=0,
            why="events of an outside set: whether more of them is better is not known beforehand",
            reason=f"{feature_catalogue.PREFIX[category]}-900",
            expression=d.expression,
        )
        for category in Category
        for d in feature_catalogue.GENERAL
        for window in d.windows
    ]


def _can_be_filled(
    feature: Feature, occurring: set[tuple[str, str]], columns: Mapping[str, Category]
) -> bool:
    for term in feature_terms.parse(feature.expression).terms:
        if term.how == "profile" and columns.get(term.event) != feature.category:
            return False
        if term.how != "profile" and (feature.category, term.event) not in occurring:
            return False
    return True


def _asked(behaviour: Behaviour) -> list[Feature]:
    return [
        Feature(
            name=f"asked_{name}",
            category=Category.DECLARED,
            unit={"amount": "currency", "tenor_days": "days"}[name],
            window_days=None,
            monotone=0,
            why="larger and longer loans go to people whom lenders already trust",
            reason={"amount": "DE-010", "tenor_days": "DE-011"}[name],
            expression=f"asked({name})",
        )
        for name in feature_statements.ASKED
        if behaviour.outcomes[name].count()
    ]


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
        why="a column of an outside set: its direction is not known beforehand",
        reason=feature_catalogue.STATED.get(column.name, generic) if is_stated else generic,
        expression=f"profile({column.name}){equals}",
    )


def is_forbidden(said: str) -> bool:
    """Whether a feature's name, or what it measures, is on the forbidden list; the value after `=` does not count."""
    return bool(FORBIDDEN.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", said.partition("=")[0]).lower()))


def _refuse_forbidden(features: Sequence[Feature]) -> None:
    times = Counter(f.name for f in features)
    faults = []
    for feature in features:
        if is_forbidden(feature.name):
            faults.append(Fault(f"/{feature.name}", "forbidden", "the law or our own list forbids it"))
        elif times[feature.name] > 1:
            faults.append(Fault(f"/{feature.name}", "name_taken", "another feature has this name"))
    if faults:
        raise FeatureForbidden("a profile column with the role feature must not be used in a model", *faults)


def _rows(asked: pl.DataFrame) -> pl.DataFrame:
    absent = [
        pl.lit(None, dtype=pl.Float64).alias(name)
        for name in feature_statements.ASKED
        if name not in asked.columns
    ]
    terms = [pl.col(name).cast(pl.Float64) for name in feature_statements.ASKED]
    stamp = asked.schema["cutoff"]
    if not isinstance(stamp, pl.Datetime) or stamp.time_zone is None:
        raise ValueError("a cut-off needs a time zone")
    cutoff = pl.col("cutoff").dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return asked.with_columns(absent).select("user", cutoff, *terms).with_row_index("row")


def _combined(between: str | None, parts: Sequence[Column]) -> Column:
    if between is None:
        return parts[0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return parts[0] - parts[1] if between == "-" else parts[0] / parts[1]


def _single(column: Column) -> npt.NDArray[np.float32]:
    """Round to float32; what is not finite has no value, and zero has no sign, so that equal means same bytes."""
    with np.errstate(over="ignore"):
        single = column.astype(np.float32) + np.float32(0)
    return np.where(np.isfinite(single), single, np.float32(np.nan))


def _digest(
    features: Sequence[Feature],
    users: Sequence[str],
    cutoffs: Sequence[datetime],
    values: npt.NDArray[np.float32],
) -> str:
    about: dict[str, Json] = {
        "features": [asdict(f) for f in features],
        "users": list(users),
        "cutoffs": [cutoff.isoformat() for cutoff in cutoffs],
    }
    written = hashlib.sha256(canonical.canonical(about))
    written.update(values.astype("<f4").tobytes(order="F"))
    return written.hexdigest()
