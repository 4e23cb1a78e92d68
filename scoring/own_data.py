"""A person's own behaviour data: how much is held of each kind, and in their copy each feature by its name."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from compliance.act import Act
from compliance.keys import Sealer
from compliance.vocabulary import Category
from consent import copies
from consent.permits import OwnPermit
from scoring import registry
from scoring.manifest import ModelAltered
from scoring.scorer import unpack
from scoring.tables import ModelRow


@dataclass(frozen=True, slots=True)
class KindOfData:
    """How much is held of one category, up to a moment."""

    category: Category
    events: int
    active_days: int
    data_cutoff: datetime


async def by_category(act: Act, own: OwnPermit) -> list[KindOfData] | None:
    """What is held of a person by category; none where the model that it is counted by cannot be read.

    Records `own_data_read`.
    """
    rows = await act.db.execute_query_dict(
        "select model, events, active_days, data_cutoff from scoring_feature where user_id = $1", [own.user]
    )
    act.record("own_data_read", {}, person=own.user)
    try:
        named = [(row, registry.scorer(row["model"]).categories) for row in rows]
    except ModelAltered:
        return None
    return [
        KindOfData(category, events, days, row["data_cutoff"])
        for row, categories in named
        for category, events, days in zip(categories, row["events"], row["active_days"], strict=True)
        if events
    ]


@copies.opens("scoring_feature")
async def _behaviour(_: Act, __: Sealer, row: dict[str, Any]) -> dict[str, Any]:
    return row | {"vector": _named(row["vector"], row["model"])}


@copies.opens("scoring_score")
async def _score(act: Act, _: Sealer, row: dict[str, Any]) -> dict[str, Any]:
    model = await ModelRow.get(id=row["model"], using_db=act.db)
    return row | {"vector": _named(row["vector"], model.digest)}


@copies.opens("scoring_review")
async def _review(_: Act, sealer: Sealer, row: dict[str, Any]) -> dict[str, Any]:
    return copies.with_texts(row, sealer, {"text_sealed": "review", "answer_sealed": "answer"})


def _named(stored: str, digest: str) -> list[dict[str, object]]:
    """Each value with the name, category and unit of its feature; a missing one is null. Without the model, unnamed."""
    data = copies.unhex(stored)
    values = [float(value) if np.isfinite(value) else None for value in unpack(data[: len(data) // 4 * 4])]
    try:
        inputs = registry.scorer(digest).manifest.inputs
    except ModelAltered:
        inputs = ()
    if len(inputs) != len(values):  # a right does not wait for a model
        return [{"value": value} for value in values]
    return [
        {"feature": each.name, "category": each.category, "unit": each.unit, "value": value}
        for each, value in zip(inputs, values, strict=True)
    ]
