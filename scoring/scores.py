"""Issue scores: with a permit, from what was shared, explained, recorded, and able to be computed again."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import version
from uuid import UUID

from compliance import facts, ids
from compliance.act import Act
from compliance.canonical import Json, digest
from compliance.refusals import NotFound, Refusal
from compliance.replies import Stored, check_on_replay
from compliance.vocabulary import AnswerForm, Categories, GrantId, PartnerId, Purpose, UserId
from consent import deletion, endings, permits
from consent.disputes import About
from consent.permits import Permit
from scoring import budget, population, registry, release, showing
from scoring.budget import Disclosure
from scoring.population import Held
from scoring.registry import InUse
from scoring.release import Released
from scoring.scorer import Evaluation, pack
from scoring.tables import ScoreRow

VALID_FOR = timedelta(days=30)
PURPOSE = Purpose.CREDIT_ASSESSMENT
CODE_VERSION = version("xinqiao")
endings.keep(
    "scoring_score", "evidence of what was disclosed; it cannot be shown or repeated once the grant has ended"
)


class AnswerOutdated(Refusal):
    """What an earlier answer says beside the score no longer holds."""

    status, code, title = 409, "answer_outdated", "The earlier answer no longer tells the whole"


class AnswerNotGranted(Refusal):
    """The person agreed to a form of the answer that tells less."""

    status, code, title = 403, "answer_not_granted", "The person agreed to a shorter answer"


@dataclass(frozen=True, slots=True)
class Given:
    """A score, and what its recipient must be told beside it, as it is now."""

    row: ScoreRow
    disputed: bool
    """The person disputes it, or data that it rests on (征信业管理条例 Art 25)."""
    automation_objected: bool
    """A person at the recipient must decide (PIPL Art 24)."""


@dataclass(frozen=True, slots=True)
class Against:
    """The cut-off that an answer of the form `threshold` is about, and how long that answer is given again."""

    product: UUID
    cutoff: int
    kept_for: timedelta


@dataclass(frozen=True, slots=True)
class _Answered:
    """A score that is about to be recorded and kept."""

    score: UUID
    permitted: Permit
    model: InUse
    released: Released[tuple[Held, Evaluation]]
    form: AnswerForm
    against: Against | None


async def issue(
    act: Act,
    user: UserId,
    wanted: Categories,
    *,
    answer: AnswerForm,
    recipient: PartnerId | None = None,
) -> Released[Given]:
    """Score a person for a partner, from the categories they consented to.

    A licensed bureau that relays names the `recipient`. Refuses without a live grant, without enough evidence, without
    a lawful channel, a third choice of data in 90 days (`SetChangedTooOften`), and beyond what one institution may
    learn of a person; whether a category was refused, empty or never asked changes no byte of the answer.
    """
    permitted = await permits.permit(act, user, PURPOSE, wanted, recipient=recipient)
    refuse_form(permitted, answer)
    return await issue_for(act, permitted, answer=answer)


async def issue_for(
    act: Act, permitted: Permit, *, answer: AnswerForm, against: Against | None = None
) -> Released[Given]:
    """Score a person under a permit that allows this form; of the form `threshold`, `against` a cut-off."""
    model = await registry.champion(act)
    scorer = registry.scorer(model.digest)

    async def evaluate() -> tuple[Held, Evaluation]:
        held = await population.read(act, permitted, scorer)
        cut = (str(against.product), str(against.cutoff)) if against else ()
        await budget.spend(act, permitted, Disclosure(answer), model.digest, held.snapshot, *cut)
        return held, scorer.evaluate(held.values, held.evidence, permitted.categories)

    released = await release.release_evaluation(act, permitted, evaluate)
    row = await _keep(act, _Answered(ids.ordered_id(), permitted, model, released, answer, against))
    return released.as_kept(_given(row, permitted))


def refuse_form(permitted: Permit, answer: AnswerForm) -> None:
    """What the person agreed to bounds what may be asked: a band allows a threshold, and neither allows points."""
    if not permitted.answer.allows(answer):
        raise AnswerNotGranted(f"ask for the {permitted.answer}: it is what the person agreed to")


def _given(row: ScoreRow, permitted: Permit) -> Given:
    return Given(row, is_disputed(row.used, permitted.disputed), permitted.automation_objected)


def is_disputed(used: Iterable[str], marks: frozenset[str]) -> bool:
    """Whether a score that rests on these categories is disputed, from what is in open dispute."""
    return About.SCORE in marks or not marks.isdisjoint(used)


async def _keep(act: Act, answered: _Answered) -> ScoreRow:
    """Record a score and write its row."""
    permitted = answered.permitted
    fact = act.record("score_issued", _told(answered), person=permitted.user, grant=permitted.grant)
    row = _row(act, answered, fact)
    # One statement of our own: the ORM's insert costs as much as the model.
    kept = {name: value for name, value in vars(row).items() if not name.startswith("_")}
    query, written = _insert(tuple(kept)), kept | {"reasons": json.dumps(row.reasons)}
    await act.db.execute_query(query, [*written.values()])
    return row


@cache
def _insert(columns: tuple[str, ...]) -> str:
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"insert into scoring_score ({', '.join(columns)}) values ({places})"  # noqa: S608 - names of our own


def _told(answered: _Answered) -> dict[str, Json]:
    permitted, (held, evaluation) = answered.permitted, answered.released.value
    return {
        "score": ids.public("scr", answered.score),
        "answer": answered.form,
        **(_recorded(answered.against) if answered.against else {}),
        "points": evaluation.points,
        "band": evaluation.band,
        "model": answered.model.digest,
        "vector": digest(pack(held.values).hex()),
        "snapshot": held.snapshot,
        "permit": permitted.digest,
        "channel": answered.released.channel,
        "used": list(evaluation.used),
        **({"disputed": True} if is_disputed(evaluation.used, permitted.disputed) else {}),
        **({"automated_decision": "objected"} if permitted.automation_objected else {}),
    }


def _row(act: Act, answered: _Answered, fact: facts.Fact) -> ScoreRow:
    permitted, against, (held, evaluation) = answered.permitted, answered.against, answered.released.value
    categories = registry.scorer(answered.model.digest).categories
    return ScoreRow(
        id=answered.score,
        user_id=permitted.user,
        partner=permitted.recipient,
        relay=permitted.bureau,
        grant_id=permitted.grant,
        model=answered.model.id,
        answer=answered.form,
        points=evaluation.points,
        band=evaluation.band,
        probability=str(evaluation.probability),
        scale=evaluation.scale,
        confidence=evaluation.confidence,
        used=list(evaluation.used),
        not_used=list(evaluation.not_used),
        reasons=[asdict(reason) for reason in evaluation.reasons],
        channel=answered.released.channel,
        vector=pack(held.values),
        events=[held.evidence.events.get(c, 0) for c in categories],
        active_days=[held.evidence.active_days.get(c, 0) for c in categories],
        snapshot=held.snapshot,
        data_cutoff=held.data_cutoff,
        permit_digest=permitted.digest,
        code_version=CODE_VERSION,
        fact=fact.id,
        fact_promise=facts.promise(fact),
        issued_at=act.now,
        valid_until=min(act.now + (against.kept_for if against else VALID_FOR), permitted.expires_at),
        product=against.product if against else None,
        cutoff=against.cutoff if against else None,
    )


def _recorded(against: Against) -> dict[str, Json]:
    return {"product": ids.public("prd", against.product), "cutoff": against.cutoff}


async def subject(act: Act, score: UUID, lender: PartnerId) -> tuple[UserId, GrantId, datetime]:
    """Whom a score of a lender's is about, the grant that it rests on, and when it was issued; or 404."""
    row = await _found(act, score)
    if row.partner != lender:
        raise NotFound
    return UserId(row.user_id), GrantId(row.grant_id), row.issued_at


async def _found(act: Act, score: UUID) -> ScoreRow:
    row = await ScoreRow.filter(id=score).using_db(act.db).first()
    if row is None:
        raise await deletion.missing(act, score)
    return row


async def show(act: Act, score: UUID) -> Released[Given]:
    """Show an earlier score again: a disclosure like the first, so the permit and the channel must hold now.

    Refuses (`ScoreSetAside`) what was set aside.
    """
    row = await _found(act, score)
    permitted = await showing.permit_again(act, row, PURPOSE)
    told = _given(row, permitted)
    released = await showing.release_again(act, permitted, told, recorded_as="score_shown")
    act.record(
        "score_shown", {"score": ids.public("scr", row.id)}, person=permitted.user, grant=permitted.grant
    )
    return released


async def set_aside(act: Act, score: UUID) -> None:
    """Staff found that a score must not be used: nobody but its person sees it again. Records `score_set_aside`."""
    row = await _found(act, score)
    row.set_aside_at = row.set_aside_at or act.now
    await row.save(using_db=act.db, update_fields=["set_aside_at"])
    told: dict[str, Json] = {"score": ids.public("scr", score)}
    act.record("score_set_aside", told, person=UserId(row.user_id), partner=PartnerId(row.partner))


async def refuse_outdated(act: Act, score: UUID, *, disputed: bool, automation_objected: bool) -> None:
    """An earlier answer is given again only while all that it says beside the score still holds."""
    row = await _found(act, score)
    permitted = await showing.permit_again(act, row, PURPOSE)
    now = _given(row, permitted)
    if (now.disputed, now.automation_objected) != (disputed, automation_objected):
        raise AnswerOutdated("see the score as it is now (GET /v1/scores/{id})")


@check_on_replay
async def still_releasable(act: Act, stored: Stored) -> None:
    """An old answer that holds a score is given again only while a channel is open for it."""
    if act.purpose is PURPOSE and stored.grant is not None:
        await release.refuse_unless_open(act, *await permits.bureau_of(act, stored.grant))
