"""Behaviour made of a few events, as the feature tests speak of it."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl

from compliance.vocabulary import Category
from scoring import behaviour, features
from scoring.behaviour_cells import DTYPES
from scoring.behaviour_schema import PROFILE_KEYS, PROFILE_KINDS, Schema

CUTOFF = datetime(2026, 6, 1, tzinfo=UTC)
EVERYTHING = frozenset(Category)
SHOPPING = Category.SHOPPING


def table(columns, rows):
    types = {c.name: DTYPES[c.kind] for c in columns}
    return pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=types)


def of(events=(), profiles=(), columns=(), outcomes=()):
    schema = Schema("CNY", "Asia/Shanghai", tuple(columns), synthetic=False)
    profile_columns = (*PROFILE_KEYS, *(behaviour.Column(c.name, PROFILE_KINDS[c.type]) for c in columns))
    return behaviour.Behaviour(
        name="test",
        schema=schema,
        events=table(behaviour.EVENTS, events),
        profiles=table(profile_columns, profiles),
        edges=table(behaviour.EDGES, ()),
        outcomes=table(behaviour.OUTCOMES, outcomes),
        read=0,
        quarantined=0,
    )


def event(name="order", value=None, *, days=1.0, user="u", category=SHOPPING, count=1, **attributes):
    return {
        "user": user,
        "at": CUTOFF - timedelta(days=days),
        "category": category.value,
        "name": name,
        "value": value,
        "count": count,
        "attributes": json.dumps(attributes) if attributes else None,
    }


def asked(*users, cutoff=CUTOFF, **terms):
    return pl.DataFrame({"user": list(users), "cutoff": [cutoff] * len(users), **terms})


def measure(expression, events, *, window=365, category=SHOPPING, **more):
    feature = features.Feature("x", category, "unit", window, 1, "", "SH-001", expression)
    return features.compute(of(events, **more), asked("u"), [feature]).values[0, 0]
