"""Small research sets, as a developer of models might bring them."""

import json
from datetime import UTC, datetime

import numpy as np
import polars as pl

from scoring import evaluation

ONCE = datetime(2026, 1, 1, tzinfo=UTC)


def write(folder, people, *, seed, category="credit_history", outcomes=True):
    """A set of profiles alone: two columns that say something, one that is a word, one that must not be used."""
    random = np.random.default_rng(seed)
    latent = random.normal(size=people)
    users = [f"{seed}-{n}" for n in range(people)]
    profiles = pl.DataFrame(
        {
            "user": users,
            "level": latent + random.normal(size=people),
            "kind": np.where(latent + random.normal(size=people) > 0, "open", "closed"),
            "age": random.integers(18, 60, people).astype(float),
        }
    ).with_columns(level=pl.when(pl.col("level") > -2.5).then("level"))
    kinds = {"level": "float", "kind": "category", "age": "float"}
    roles = {"level": ["feature"], "kind": ["feature"], "age": ["eligibility", "fairness"]}
    folder.mkdir()
    profiles.write_parquet(folder / "profiles.parquet")
    told = {name: {"type": kinds[name], "category": category, "roles": roles[name]} for name in kinds}
    (folder / "schema.json").write_text(json.dumps({"profiles": told}))
    bad = random.random(people) < evaluation.probability(latent - 1)
    table = {"user": users, "application": users, "product": "p", "decided_at": ONCE, "defaulted": bad}
    if outcomes:
        pl.DataFrame(table).write_parquet(folder / "outcomes.parquet")
    return folder
