"""The register of models: which is candidate, validated, approved, in use, retired, and by whom."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from compliance import facts, ids
from compliance.act import Act, Upkeep, View
from compliance.canonical import digest
from compliance.database import ground
from compliance.facts import describe
from compliance.refusals import NotFound, Refusal, SamePerson
from scoring import kinds
from scoring.governance import approval, places
from scoring.kinds import Stored
from scoring.manifest import ModelAltered
from scoring.scorer import Scorer
from scoring.tables import ModelRow

PRODUCT = kinds.SCORE
LOADED_MAX = 4
LISTED_MAX = 200
DIGEST = re.compile("[0-9a-f]{64}")
SERVING = """
select id, digest, registered_by, validated_by, approved_by, approval, shadowed_at from scoring_model
where product = $1 and state = $2
"""
REGISTER = """
select 1 from scoring_model where product = (select product from scoring_model where id = $1) order by id for update
"""


class State(StrEnum):
    """How far a model has come. Each step is in `registry`, by a person who did not take the one before."""

    CANDIDATE = "candidate"
    VALIDATED = "validated"
    APPROVED = "approved"
    CHAMPION = "champion"
    CHALLENGER = "challenger"
    RETIRED = "retired"


class NoModel(Refusal):
    """No model is in use."""

    status, code, title = 503, "no_model", "No approved model is in use"


class ModelNotApproved(Refusal):
    """The register names a model that three people did not let in."""

    status, code, title = 503, "model_not_approved", "This model was not approved"


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


async def register(act: Act, digest_of_model: str) -> ModelRow:
    """Enter a trained model, whose files already lie in its folder, as a candidate of the product that it is for.

    `ModelAltered` if a byte is wrong, or the card is none.
    """
    stored = _stored(digest_of_model)
    known = await ModelRow.filter(digest=digest_of_model).using_db(act.db).first()
    row = known or await ModelRow.create(
        id=ids.ordered_id(),
        digest=digest_of_model,
        product=stored.product,
        state=State.CANDIDATE,
        card=stored.card,
        registered_at=act.now,
        registered_by=describe(act.principal),
        using_db=act.db,
    )
    _record(act, "model_registered", row)
    return row


async def validate(act: Act, model: UUID) -> ModelRow:
    """Another person than the developer has checked the card; a card with an obstacle cannot pass."""
    row = await _locked(act, model, State.CANDIDATE)
    _refuse_same(act, row.registered_by)
    refuse_obstacles(row)
    row.state, row.validated_by = State.VALIDATED, describe(act.principal)
    await row.save(using_db=act.db, update_fields=["state", "validated_by"])
    act.record("model_validated", {"model": ids.public("mdl", row.id), "card": digest(row.card)})
    return row


async def approve(act: Act, model: UUID) -> ModelRow:
    """A third person approves; the approval is sealed over the digest and the three names, so that nobody writes it by hand."""
    row = await _locked(act, model, State.VALIDATED)
    _refuse_same(act, row.registered_by, row.validated_by)
    refuse_obstacles(row)
    row.state, row.approved_by = State.APPROVED, describe(act.principal)
    row.approval = approval.seal(row.digest, row.registered_by, row.validated_by, row.approved_by)
    await row.save(using_db=act.db, update_fields=["state", "approved_by", "approval"])
    _record(act, "model_approved", row)
    return row


async def promote(act: Act, model: UUID) -> ModelRow:
    """Put an approved model, or the challenger, in use; the model in use before retires in the same act."""
    row = await _locked(act, model, State.APPROVED, State.CHALLENGER)
    refuse_obstacles(row)
    return await _put_in_use(act, row, "model_promoted")


async def roll_back(act: Act, model: UUID) -> ModelRow:
    """Put a model in use again that was approved and retired; what is in use now retires in the same act."""
    row = await _locked(act, model, State.RETIRED)
    refuse_obstacles(row)
    return await _put_in_use(act, row, "model_rolled_back")


async def shadow(act: Act, model: UUID) -> ModelRow:
    """Let an approved model answer beside the one in use, for monitoring alone; an earlier challenger is approved again."""
    row = await _locked(act, model, State.APPROVED)
    if row.product != PRODUCT:
        raise NotPromotable("only a model of the score answers in shadow")
    _refuse_same(act, row.registered_by)
    _refuse_unsealed(row)
    in_use = await champion(act)
    if not _can_follow(row.digest, in_use.digest):
        raise NotPromotable("the challenger reads what the model in use does not: its vectors do not hold it")
    await _move(act, PRODUCT, State.CHALLENGER, State.APPROVED)
    row.state, row.shadowed_at = State.CHALLENGER, act.now
    await row.save(using_db=act.db, update_fields=["state", "shadowed_at"])
    _record(act, "model_shadowed", row)
    return row


async def retire(act: Act, model: UUID) -> ModelRow:
    """Take a model out of use, or out of the running; without a model in use nobody is scored.

    What is in use its developer neither puts there nor takes away.
    """
    row = await _locked(act, model, *(state for state in State if state is not State.RETIRED))
    if row.state == State.CHAMPION:
        _refuse_same(act, row.registered_by)
    row.state = State.RETIRED
    await row.save(using_db=act.db, update_fields=["state"])
    _record(act, "model_retired", row)
    return row


def refuse_obstacles(row: ModelRow) -> None:
    """Refuse a model whose files, card or inputs stand against it; the card that counts is the file's."""
    if found := _found(row):
        raise NotPromotable(f"the model card shows: {', '.join(found)}")


def obstacles(row: ModelRow) -> tuple[str, ...]:
    """What stands against a model: codes, none when nothing does."""
    try:
        return _found(row)
    except ModelAltered as altered:
        return (altered.code,)


def _found(row: ModelRow) -> tuple[str, ...]:
    stored = _stored(row.digest)
    if (stored.card, stored.product) != (row.card, row.product):
        raise ModelAltered(f"the card in the register is not the one of {row.digest}")
    return kinds.obstacles(stored)


async def _put_in_use(act: Act, row: ModelRow, fact: str) -> ModelRow:
    _refuse_same(act, row.registered_by)
    _refuse_unsealed(row)
    for before in await _move(act, row.product, State.CHAMPION, State.RETIRED):
        _record(act, "model_retired", before)
    row.state = State.CHAMPION
    await row.save(using_db=act.db, update_fields=["state"])
    rival = await challenger(act) if row.product == PRODUCT else None
    if rival and not _can_follow(rival.digest, row.digest):
        await _move(act, PRODUCT, State.CHALLENGER, State.APPROVED)
    _record(act, fact, row)
    return row


def _can_follow(challenger_digest: str, champion_digest: str) -> bool:
    """Whether one model can answer from the vectors of the other."""
    return places.find(scorer(champion_digest).manifest, scorer(challenger_digest).manifest) is not None


async def _move(act: Act, product: str, state: State, to: State) -> list[ModelRow]:
    """Give a product's models in one state another."""
    rows = await ModelRow.filter(product=product, state=state).using_db(act.db)
    for row in rows:
        row.state = to
        await row.save(using_db=act.db, update_fields=["state"])
    return rows


async def _locked(act: Act, model: UUID, *states: State) -> ModelRow:
    """A model that is in one of the states; the whole register waits until the act ends, so that one at most is in use."""
    await act.db.execute_query_dict(REGISTER, [model])
    row = await ModelRow.filter(id=model).using_db(act.db).first()
    if row is None:
        raise NotFound
    if row.state not in states:
        raise NotPromotable(f"the model is {row.state}; it must be {' or '.join(states)} for this step")
    return row


def _refuse_other_than_digest(said: str) -> None:
    if not DIGEST.fullmatch(said):
        raise NotFound("a model is named by its digest: 64 hexadecimal digits")


def _stored(digest_of_model: str) -> Stored:
    """A stored model, after every file was held against its digest."""
    _refuse_other_than_digest(digest_of_model)
    return kinds.read(folder(digest_of_model))


def _record(act: Act, fact: str, row: ModelRow) -> None:
    act.record(fact, {"model": ids.public("mdl", row.id), "digest": row.digest})


def _refuse_unsealed(row: ModelRow) -> None:
    if not approval.holds(row.approval, row.digest, row.registered_by, row.validated_by, row.approved_by):
        raise ModelNotApproved("approve it first: three people, three steps")


@dataclass(frozen=True, slots=True)
class InUse:
    """The model that answers now."""

    id: UUID
    digest: str
    shadowed_at: datetime | None


async def champion(at: Act | View, product: str = PRODUCT) -> InUse:
    """The model in use; read on every score, so without its card. What nobody approved answers nothing."""
    found = await _serving(at, State.CHAMPION, product)
    if found is None:
        raise NoModel("the operator has not put a model in use")
    return found


async def challenger(at: Act | View) -> InUse | None:
    """The model that answers in shadow, if there is one."""
    return await _serving(at, State.CHALLENGER)


async def _serving(at: Act | View, state: State, product: str = PRODUCT) -> InUse | None:
    rows = await at.db.execute_query_dict(SERVING, [product, state])
    if not rows:
        return None
    row = rows[0]
    hands = row["registered_by"], row["validated_by"], row["approved_by"]
    if not approval.holds(row["approval"], row["digest"], *hands):
        raise ModelNotApproved("the register says that this model is in use, and nobody approved it")
    return InUse(row["id"], row["digest"], row["shadowed_at"])


async def everything(at: Act | View | Upkeep) -> list[ModelRow]:
    """Every registered model, the newest first."""
    return await ModelRow.all().using_db(at.db).order_by("-registered_at").limit(LISTED_MAX)


async def find(at: Act | View | Upkeep, digest_of_model: str) -> ModelRow:
    """A registered model by its digest."""
    _refuse_other_than_digest(digest_of_model)
    row = await ModelRow.filter(digest=digest_of_model).using_db(at.db).first()
    if row is None:
        raise NotFound
    return row


def _refuse_same(act: Act, *before: str | None) -> None:
    if any(facts.same_hands(who, act.principal) for who in before):
        raise SamePerson("ask a colleague: each step is another person's")
