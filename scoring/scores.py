"""Issue scores: with a permit, from what was shared, explained, recorded, and able to be computed again."""

from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from uuid import UUID

from compliance import facts, ids
from compliance.act import Act
from compliance.canonical import digest
from compliance.refusals import NotFound, Refusal
from compliance.replies import Stored, check_on_replay
from compliance.vocabulary import AnswerForm, Categories, Category, GrantId, PartnerId, Purpose, UserId
from consent import deletion, endings, permits
from consent.permits import Permit
from scoring import population, registry, release
from scoring.population import Held
from scoring.registry import InUse
from scoring.release import Released
from scoring.scorer import Evaluation, pack, unpack
from scoring.tables import ModelRow, ScoreRow

VALID_FOR = timedelta(days=30)
PURPOSE = Purpose.CREDIT_ASSESSMENT
CODE_VERSION = version("xinqiao")
endings.keep(
    "scoring_score", "evidence of what was disclosed; it cannot be shown or repeated once the grant has ended"
)


class AnswerNotGranted(Refusal):
    """The person agreed to the band and not to the points."""

    status, code, title = 403, "answer_not_granted", "The person agreed to a shorter answer"


async def issue(
    act: Act, user: UserId, wanted: Categories, *, answer: AnswerForm, recipient: PartnerId | None = None
) -> Released[ScoreRow]:
    """Score a person for a partner, from the categories they consented to.

    A licensed bureau that relays names the `recipient`. Refuses without a live grant, without enough evidence, and
    without a lawful channel; whether a category was refused, empty or never asked changes no byte of the answer.
    """
    permitted = await permits.permit(act, user, PURPOSE, wanted, recipient=recipient)
    if permitted.answer is AnswerForm.BAND and answer is AnswerForm.FULL:
        raise AnswerNotGranted("ask for the band: it is what the person agreed to")
    model = await registry.champion(act)
    scorer = registry.scorer(model.digest)

    async def evaluate() -> tuple[Held, Evaluation]:
        held = await population.read(act, permitted, scorer)
        return held, scorer.evaluate(held.values, held.evidence, permitted.categories)

    released = await release.release_evaluation(act, permitted, evaluate)
    return released.as_kept(await _keep(act, permitted, model, released, answer))


async def _keep(
    act: Act, permitted: Permit, model: InUse, released: Released[tuple[Held, Evaluation]], answer: AnswerForm
) -> ScoreRow:
    (held, evaluation), score = released.value, ids.ordered_id()
    categories = registry.scorer(model.digest).categories
    fact = act.record(
        "score_issued",
        {
            "score": ids.public("scr", score),
            "answer": answer,
            "points": evaluation.points,
            "band": evaluation.band,
            "model": model.digest,
            "vector": digest(pack(held.values).hex()),
            "snapshot": held.snapshot,
            "permit": permitted.digest,
            "channel": released.channel,
            "used": list(evaluation.used),
        },
        person=permitted.user,
        grant=permitted.grant,
    )
    return await ScoreRow.create(
        id=score,
        user_id=permitted.user,
        partner=permitted.recipient,
        relay=permitted.bureau,
        grant_id=permitted.grant,
        model=model.id,
        answer=answer,
        points=evaluation.points,
        band=evaluation.band,
        probability=str(evaluation.probability),
        scale=evaluation.scale,
        confidence=evaluation.confidence,
        used=list(evaluation.used),
        not_used=list(evaluation.not_used),
        reasons=[asdict(reason) for reason in evaluation.reasons],
        channel=released.channel,
        vector=pack(held.values),
        events=[held.evidence.events.get(c, 0) for c in categories],
        active_days=[held.evidence.active_days.get(c, 0) for c in categories],
        snapshot=held.snapshot,
        permit_digest=permitted.digest,
        code_version=CODE_VERSION,
        fact=fact.id,
        fact_promise=facts.promise(fact),
        issued_at=act.now,
        valid_until=min(act.now + VALID_FOR, permitted.expires_at),
        using_db=act.db,
    )


async def subject(act: Act, score: UUID) -> tuple[UserId, GrantId]:
    """Whom a score of the calling lender's is about, and the grant that it rests on; or 404."""
    row = await _found(act, score)
    if row.partner != act.tenant:
        raise NotFound
    return UserId(row.user_id), GrantId(row.grant_id)


async def _found(act: Act, score: UUID) -> ScoreRow:
    row = await ScoreRow.filter(id=score).using_db(act.db).first()
    if row is None:
        raise await deletion.missing(act, score)
    return row


async def show(act: Act, score: UUID) -> Released[ScoreRow]:
    """Show an earlier score again: a disclosure like the first, so the permit and the channel must hold now."""
    row = await _found(act, score)
    used: Categories = frozenset(Category(c) for c in row.used)
    permitted = await permits.permit(
        act, UserId(row.user_id), PURPOSE, used, recipient=PartnerId(row.partner), count=False
    )
    if permitted.grant != row.grant_id:
        raise permits.ConsentWithdrawn("the consent that this score rested on has ended")

    async def kept() -> ScoreRow:
        return row

    released = await release.release_evaluation(act, permitted, kept)
    act.record(
        "score_shown", {"score": ids.public("scr", row.id)}, person=permitted.user, grant=permitted.grant
    )
    return released


@check_on_replay
async def still_releasable(act: Act, stored: Stored) -> None:
    """An old answer that holds a score is given again only while a channel is open for it."""
    if act.purpose is PURPOSE and stored.grant is not None:
        await release.refuse_unless_open(act, *await permits.bureau_of(act, stored.grant))


async def replay(act: Act, score: UUID) -> tuple[int, int]:
    """Compute an old score again from what was recorded; return (points then, points now)."""
    row = await _found(act, score)
    model = await ModelRow.filter(id=row.model).using_db(act.db).get()
    scorer = registry.scorer(model.digest)
    shared: Categories = frozenset(scorer.categories)
    evidence = population.evidence_of(scorer, row.events, row.active_days, shared)
    again = scorer.evaluate(unpack(row.vector), evidence, shared)
    act.record(
        "score_replayed",
        {"score": ids.public("scr", row.id), "same": again.points == row.points},
        person=UserId(row.user_id),
    )
    return row.points, again.points
