"""What an upheld dispute holds back for ever, and the one way out: it was upheld in error, and another officer says so."""

from uuid import UUID

from compliance import facts, ids
from compliance.act import Act
from compliance.canonical import Json
from compliance.refusals import NotFound, Refusal, SamePerson
from compliance.vocabulary import UserId
from consent import disputes, people, statements
from consent.disputes import About, State
from consent.permits import StaffPermit
from consent.tables import DisputeRow

LISTED_MAX = 100


class NoHold(Refusal):
    """The dispute holds nothing back, or no longer."""

    status, code, title = 409, "no_hold", "This dispute holds nothing back"


async def standing(act: Act) -> list[DisputeRow]:
    """The newest upheld disputes about a kind of data that still hold it back, without what was written.

    Whoever asks records what it is for.
    """
    upheld = DisputeRow.filter(state=State.UPHELD, about=About.CATEGORY, lifted_at__isnull=True)
    return await upheld.using_db(act.db).order_by("-closed_at").limit(LISTED_MAX)


async def lift(act: Act, looks: StaffPermit, dispute: UUID, text: str) -> DisputeRow:
    """Staff lift what was held back in error: earlier data of the kind count again, from the next features on.

    Records `hold_lifted`, and the person reads the reason. The answer and the scores that were set aside stay as they
    are. Raises `NoHold`, and `SamePerson` where it is who upheld the dispute.
    """
    plain = statements.checked(text, length_min=statements.ANSWER_LENGTH_MIN)
    await people.hold(act, await disputes.whose(act, dispute))
    row = await DisputeRow.filter(id=dispute).using_db(act.db).select_for_update().first()
    if row is None:
        raise NotFound
    await act.tick()
    if row.state != State.UPHELD or row.about != About.CATEGORY or row.lifted_at:
        raise NoHold("only an upheld dispute about a kind of data holds it back, until that is lifted")
    by = facts.describe(looks.staff)
    if facts.same_hands(row.answered_by, looks.staff):
        raise SamePerson("ask a colleague to lift what you upheld")
    user = UserId(row.user_id)
    row.lifted_at, row.lifted_by = act.now, by
    row.lifted_sealed = await statements.seal(user, plain, "lifted", dispute)
    await row.save(using_db=act.db, update_fields=["lifted_at", "lifted_by", "lifted_sealed"])
    told: dict[str, Json] = {"dispute": ids.public("dsp", row.id), **disputes.subject_of(row).told}
    act.record("hold_lifted", told | {"reason_sha256": statements.digest(plain)}, person=user)
    return row
