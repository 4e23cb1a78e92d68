"""The register of models: which is candidate, validated, approved, in use, retired, and by whom."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from compliance import facts, ids
from compliance.act import Act, View
from compliance.canonical import digest
from compliance.database import ground
from compliance.facts import describe
from compliance.refusals import NotFound, Refusal
from scoring import card as model_card
from scoring import deciles, example, manifest
from scoring.deciles import Deciles
from scoring.example import Example
from scoring.manifest import CARD, DECILES, EXAMPLE
from scoring.release import SamePerson
from scoring.scorer import Scorer
from scoring.tables import ModelRow

PRODUCT = "behaviour_score"
LOADED_MAX = 4
Judge = Callable[[Mapping[str, Any]], tuple[str, ...]]
"""Says what stands against the promotion of a model with this card: codes."""
_judges: dict[str, Judge] = {PRODUCT: model_card.obstacles}


def judges(product: str) -> Callable[[Judge], Judge]:
    """Declare who judges the cards of the models of a product."""

    def declare(judge: Judge) -> Judge:
        _judges[product] = judge
        return judge

    return declare


class NoModel(Refusal):
    """No model is in use."""

    status, code, title = 503, "no_model", "No approved model is in use"


class NotPromotable(Refusal):
    """The model card shows why it may not be used."""

    status, code, title = 409, "not_promotable", "This model may not be promoted"


def folder(digest_of_model: str) -> Path:
    """Where a model's files are."""
    return ground().home / "models" / digest_of_model


@lru_cache(maxsize=LOADED_MAX)
def _loaded(path: Path) -> Scorer:
    return Scorer.load(path)


def scorer(digest_of_model: str) -> Scorer:
    """A model in memory, verified against its digest when it is first loaded."""
    return _loaded(folder(digest_of_model))


def invented_person(digest_of_model: str) -> Example | None:
    """The invented person kept with a model, if it has one."""
    model, path = scorer(digest_of_model), folder(digest_of_model)
    if EXAMPLE not in model.manifest.files:
        return None
    return example.read(model, manifest.file(path, model.manifest, EXAMPLE))


@lru_cache(maxsize=LOADED_MAX)
def spread(digest_of_model: str) -> Deciles:
    """How the people a model was trained on are spread; nothing of a model that was trained without it."""
    model = scorer(digest_of_model)
    if DECILES not in model.manifest.files:
        return {}
    return deciles.read(manifest.file(folder(digest_of_model), model.manifest, DECILES))


async def register(act: Act, digest_of_model: str, product: str = PRODUCT) -> ModelRow:
    """Enter a trained model, whose files already lie in its folder, as a candidate."""
    card: dict[str, Any] = json.loads((folder(digest_of_model) / CARD).read_text("utf-8"))
    known = await ModelRow.filter(digest=digest_of_model).using_db(act.db).first()
    row = known or await ModelRow.create(
        id=ids.ordered_id(),
        digest=digest_of_model,
        product=product,
        state="candidate",
        card=card,
        registered_at=act.now,
        registered_by=describe(act.principal),
        using_db=act.db,
    )
    act.record("model_registered", {"model": ids.public("mdl", row.id), "digest": digest_of_model})
    return row


async def validate(act: Act, model: UUID) -> ModelRow:
    """Another person than the developer has checked the card; a card with an obstacle cannot pass."""
    row = await _locked(act, model)
    if row.state != "candidate":
        raise NotPromotable(f"the model is {row.state}: only a candidate is validated")
    _refuse_same(act, row.registered_by)
    obstacles = _judges[row.product](row.card)
    if obstacles:
        raise NotPromotable(f"the model card shows: {', '.join(obstacles)}")
    row.state, row.validated_by = "validated", describe(act.principal)
    await row.save(using_db=act.db, update_fields=["state", "validated_by"])
    act.record("model_validated", {"model": ids.public("mdl", row.id), "card": digest(row.card)})
    return row


async def promote(act: Act, model: UUID) -> ModelRow:
    """Approve (a third person) and put in use; the model in use before retires in the same act."""
    row = await _locked(act, model)
    if row.state not in ("validated", "retired"):
        raise NotPromotable("the model has not been validated")
    _refuse_same(act, row.registered_by, row.validated_by)
    before = await ModelRow.filter(product=row.product, state="champion").using_db(act.db).first()
    if before:
        before.state = "retired"
        await before.save(using_db=act.db, update_fields=["state"])
        act.record("model_retired", {"model": ids.public("mdl", before.id)})
    row.state, row.approved_by = "champion", describe(act.principal)
    await row.save(using_db=act.db, update_fields=["state", "approved_by"])
    act.record("model_promoted", {"model": ids.public("mdl", row.id), "digest": row.digest})
    return row


async def _locked(act: Act, model: UUID) -> ModelRow:
    row = await ModelRow.filter(id=model).using_db(act.db).select_for_update().first()
    if row is None:
        raise NotFound
    return row


@dataclass(frozen=True, slots=True)
class InUse:
    """The model that answers now."""

    id: UUID
    digest: str


async def champion(at: Act | View, product: str = PRODUCT) -> InUse:
    """The model in use; read on every score, so without its card."""
    rows = await at.db.execute_query_dict(
        "select id, digest from scoring_model where product = $1 and state = 'champion'", [product]
    )
    if not rows:
        raise NoModel("the operator has not put a model in use")
    return InUse(rows[0]["id"], rows[0]["digest"])


async def find(at: Act | View, digest_of_model: str) -> ModelRow:
    """A registered model by its digest."""
    row = await ModelRow.filter(digest=digest_of_model).using_db(at.db).first()
    if row is None:
        raise NotFound
    return row


def _refuse_same(act: Act, *before: str | None) -> None:
    if any(facts.same_hands(who, act.principal) for who in before):
        raise SamePerson("ask a colleague: each step is another person's")
