"""An invented population in the canonical shape: to show and test the product, never to claim an accuracy."""

import json
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from compliance.vocabulary import Category
from scoring import synthetic_events, synthetic_people
from scoring.invented import elsewhere
from scoring.synthetic_events import Shard

USERS_MAX = 1_000_000
SHARD_USERS = 1_000
"""People are drawn by shards of this size, each from its own counter, so that any part can be drawn alone."""
SEED_MAX = 2**63
DECIDED_DAYS = (366, 548)
"""How long before the cut-off lenders decided: half a year of decisions, and every outcome has had its year."""
STAMP = {"synthetic": "true"}
FURTHER_KEYS = 2**63
"""Streams that were added later are keyed from here on, so that the older ones stay as they were."""
TOPICS = ("people", "decision", "device", "app", "shopping", "credit")

TABLES = ("events", "profiles", "outcomes", "edges")
"""Edges are drawn only with every category."""

PROFILES = {
    "employment": ("category", ["feature"]),
    "education": ("category", ["feature"]),
    "income_band": ("category", ["feature"]),
    "region": ("category", ["eligibility"]),
    "birth_date": ("date", ["eligibility", "fairness"]),
    "is_student": ("bool", ["eligibility"]),
    "sex": ("category", ["fairness"]),
}


def generate(
    folder: Path,
    *,
    users: int,
    seed: int,
    cutoff: datetime,
    signal: float = 1.0,
    every_category: bool = False,
) -> None:
    """Write a stamped synthetic set: events, profiles, outcomes, schema.json.

    `cutoff` (aware) ends the events. About 5 % default: 90 or more days past due within a year of
    `decided_at`. `signal` scales how much the hidden traits say about default; 0 plants a world where
    behaviour carries nothing. The first n people are the same whatever `users` is. Whoever shows the set
    also shows `synthetic_people.recalled()`. `every_category` adds what is not offered until it is turned on, and
    edges among the people; all else stays as it is.

    Raises:
        ValueError: users or seed out of bounds, or a cut-off without a time zone.

    """
    if not 0 < users <= USERS_MAX or not 0 <= seed < SEED_MAX:
        raise ValueError(f"there may be 1 to {USERS_MAX} users, and a seed from 0")
    if cutoff.tzinfo is None:
        raise ValueError("the cut-off needs a time zone")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for first in range(0, users, SHARD_USERS):
            shard = _shard(first, seed, cutoff)
            among = min(SHARD_USERS, users - first)
            for table, part in _tables(shard, among, signal, every_category=every_category).items():
                part.write_parquet(Path(scratch) / f"{table}-{first:09d}.parquet")
        for table in TABLES if every_category else TABLES[:-1]:
            parts = pl.scan_parquet(Path(scratch) / f"{table}-*.parquet")
            parts.sink_parquet(folder / f"{table}.parquet", metadata=STAMP)
    (folder / "schema.json").write_text(json.dumps(_schema(), indent=1) + "\n", "utf-8")


def _tables(shard: Shard, among: int, signal: float, *, every_category: bool) -> dict[str, pl.DataFrame]:
    """Draw the tables of the first people of a shard; who is not among them does not show in anybody's edges."""
    tables = {
        "events": synthetic_events.draw(shard),
        "profiles": _profiles(shard).head(among),
        "outcomes": _outcomes(shard, signal).head(among),
    }
    if every_category:
        edges = elsewhere.edges(shard).filter(pl.col("a") < among, pl.col("b") < among)
        tables["events"] = pl.concat([tables["events"], elsewhere.draw(shard)])
        tables["edges"] = edges.drop("a", "b")
    tables["events"] = tables["events"].filter(pl.col("person") < among).drop("person")
    return tables


def _schema() -> dict[str, object]:
    profiles = {
        name: {"type": kind, "category": Category.DECLARED, "roles": roles}
        for name, (kind, roles) in PROFILES.items()
    }
    return {"synthetic": True, "currency": "CNY", "timezone": synthetic_events.ZONE.key, "profiles": profiles}


def _shard(first: int, seed: int, cutoff: datetime) -> Shard:
    keys = {topic: first * len(TOPICS) + i for i, topic in enumerate(TOPICS)}
    further = elsewhere.TOPICS
    keys |= {topic: FURTHER_KEYS + first * len(further) + i for i, topic in enumerate(further)}
    streams = {
        topic: np.random.Generator(np.random.Philox(key=np.array([seed, key], dtype=np.uint64)))
        for topic, key in keys.items()
    }
    return Shard(
        users=pl.Series([f"syn-{first + i:06d}" for i in range(SHARD_USERS)]),
        people=synthetic_people.draw(streams["people"], SHARD_USERS, cutoff.date()),
        decided_days=streams["decision"].uniform(*DECIDED_DAYS, SHARD_USERS),
        streams=streams,
        cutoff=cutoff,
    )


def _profiles(shard: Shard) -> pl.DataFrame:
    types = {"category": pl.String(), "date": pl.Date(), "bool": pl.Boolean()}
    columns = [
        pl.Series(name, getattr(shard.people, name), dtype=types[kind])
        for name, (kind, _) in PROFILES.items()
    ]
    return pl.DataFrame([shard.users.alias("user"), *columns])


def _outcomes(shard: Shard, signal: float) -> pl.DataFrame:
    rng, people = shard.streams["decision"], shard.people
    probability = synthetic_people.probability_of_default(people.traits, signal)
    n = len(probability)
    amount = np.round(people.income * rng.uniform(0.5, 3, n), -2)
    tenor_days = rng.choice([90, 180, 360], n)
    defaulted = rng.uniform(size=n) < probability
    late_for_a_while = np.where(rng.uniform(size=n) < 3 * probability, rng.integers(1, 90, n), 0)
    days_past_due = np.where(defaulted, 90 + rng.exponential(90, n), late_for_a_while)
    return pl.DataFrame({"user": shard.users}).select(
        "user",
        pl.col("user").str.replace("syn", "app").alias("application"),
        pl.lit("synthetic_loan").alias("product"),
        synthetic_events.moments(shard.cutoff, shard.decided_days).alias("decided_at"),
        pl.Series("amount", amount),
        pl.Series("tenor_days", tenor_days, dtype=pl.Int32),
        synthetic_events.moments(shard.cutoff, shard.decided_days - 365).alias("observed_until"),
        pl.Series("defaulted", defaulted),
        pl.Series("days_past_due_max", days_past_due.astype(np.int32)),
    )
