"""What staff set aside when a person is right about the data behind it."""

from uuid import UUID

from compliance import ids
from compliance.act import Act
from compliance.canonical import Json
from compliance.vocabulary import PartnerId, UserId
from consent import disputes
from consent.permits import StaffPermit
from scoring import scores


async def answer_dispute(act: Act, looks: StaffPermit, dispute: UUID, *, upheld: bool, text: str) -> None:
    """Staff answer a dispute. Upheld: the score it names is set aside, or all answers that rest on the data it names.

    Records `answer_set_aside` of incomes, limits and portraits.
    """
    row = await disputes.answer(act, looks, dispute, upheld=upheld, text=text)
    if not upheld:
        return
    subject = disputes.subject_of(row)
    rows = await act.db.execute_query_dict(
        """select id from scoring_score where user_id = $1 and set_aside_at is null
             and (id = $2 or $3 = any(used)) order by id""",
        [row.user_id, subject.score, subject.category],
    )
    for found in rows:
        await scores.set_aside(act, found["id"])
    others = await act.db.execute_query_dict(
        """update scoring_answer set set_aside_at = $3
           where user_id = $1 and set_aside_at is null and $2 = any(used) returning id, partner""",
        [row.user_id, subject.category, act.now],
    )
    for other in others:
        told: dict[str, Json] = {"answer": ids.public("ans", other["id"])}
        act.record("answer_set_aside", told, person=UserId(row.user_id), partner=PartnerId(other["partner"]))
