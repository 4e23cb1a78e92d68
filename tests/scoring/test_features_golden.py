"""What a stored expression measured once it measures for ever: models are replayed with the features they were made with."""

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from compliance.vocabulary import Category
from scoring import behaviour, features, synthetic
from scoring.behaviour_cells import DTYPES
from scoring.behaviour_schema import PROFILE_KEYS, ProfileColumn, Role, Schema

GOLDEN = Path(__file__).with_name("golden_features.json")
CUTOFF = datetime(2026, 6, 1, 3, 30, tzinfo=UTC)
USERS = [f"user-{n}" for n in range(40)]
LIMIT = ProfileColumn("credit_limit", "float", Category.CREDIT_HISTORY, frozenset({Role.FEATURE}))
JOB = ProfileColumn("job", "category", Category.DECLARED, frozenset({Role.FEATURE}))
KINDS = {
    Category.CREDIT_HISTORY: (
        "loan_opened",
        "loan_first_repaid_days_late",
        "loan_closed_after_days",
        "repayment_status",
        "statement_balance",
        "payment",
    ),
    Category.DEVICE_USAGE: ("session",),
    Category.APP_ACTIVITY: ("page_view", "bill_check"),
    Category.SHOPPING: ("order", "refund"),
    Category.FITNESS: ("unheard_of",),
}


@cache
def lived():
    """Forty people's events: ties, missing values, several loans, and things after the cut-off."""
    seeded = random.Random(20261128)
    rows = []
    for _ in range(6_000):
        category = seeded.choice(list(KINDS))
        about = {"loan": seeded.randrange(3), "term_days": seeded.choice([0, 15, 30]), "night": 1}
        about |= {"loan_number": seeded.randrange(1, 9), "total_due": seeded.randrange(100, 900)}
        rows.append(
            {
                "user": seeded.choice(USERS),
                "at": CUTOFF - timedelta(hours=seeded.randrange(-400, 9_000)),
                "category": category.value,
                "name": seeded.choice(KINDS[category]),
                "value": None if seeded.random() < 0.1 else round(seeded.uniform(-3, 40), 2),
                "count": seeded.randrange(5),
                "attributes": json.dumps(about) if seeded.random() < 0.8 else None,
            }
        )
    types = {column.name: DTYPES[column.kind] for column in behaviour.EVENTS}
    profiles = {"user": USERS, "known_at": None, "credit_limit": range(100, 140), "job": ["a", "b"] * 20}
    keys = {column.name: DTYPES[column.kind] for column in PROFILE_KEYS}
    return behaviour.Behaviour(
        name="lived",
        schema=Schema("CNY", "Asia/Shanghai", (LIMIT, JOB), synthetic=True),
        events=pl.DataFrame(rows, schema=types),
        profiles=pl.DataFrame(profiles, schema=keys | {"credit_limit": pl.Float64, "job": pl.String}),
        edges=pl.DataFrame(schema={column.name: DTYPES[column.kind] for column in behaviour.EDGES}),
        outcomes=pl.DataFrame(schema={column.name: DTYPES[column.kind] for column in behaviour.OUTCOMES}),
        read=len(rows),
        quarantined=0,
    )


def measured(expression, category, window):
    """The bytes of one column, as a hash."""
    asked = pl.DataFrame(
        {"user": USERS, "cutoff": [CUTOFF] * 40, "amount": [float(n) for n in range(40)], "tenor_days": 30}
    )
    feature = features.Feature("x", Category(category), "", window, 0, "", "CH-900", expression)
    return hashlib.sha256(features.compute(lived(), asked, [feature]).values.tobytes()).hexdigest()


@pytest.mark.parametrize("line", json.loads(GOLDEN.read_text())["expressions"], ids=lambda line: line[0])
def test_an_old_expression_keeps_its_bytes(line):
    expression, category, window, expected = line
    assert measured(expression, category, window) == expected


def test_the_invented_set_keeps_its_bytes(tmp_path):
    synthetic.generate(tmp_path, users=1_100, seed=7, cutoff=CUTOFF)
    written = hashlib.sha256()
    for table in ("events", "profiles", "outcomes"):
        written.update(pl.read_parquet(tmp_path / f"{table}.parquet").write_csv().encode())
    written.update((tmp_path / "schema.json").read_bytes())
    assert written.hexdigest() == json.loads(GOLDEN.read_text())["invented_set"]
