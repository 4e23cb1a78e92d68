"""Earlier answers shown again: a disclosure like the first, while all that they rest on still holds."""

from datetime import timedelta
from typing import TypeVar

from compliance.act import Act
from compliance.refusals import Refusal
from compliance.vocabulary import Categories, Category, GrantId, PartnerId, Purpose, UserId
from consent import permits
from consent.permits import Permit
from scoring import release
from scoring.release import Released
from scoring.tables import AnswerRow, ScoreRow

T = TypeVar("T")

SHOWN_A_DAY = 100
"""Each showing stands in the person's log: nobody fills it up."""
SHOWN = """
select 1 from compliance_fact where grant_id = $1 and kind = $2 and recorded_at > $3 limit $4
"""


class ScoreSetAside(Refusal):
    """A person looked at it and found that it must not be used."""

    status, code, title = 410, "score_set_aside", "This score was set aside after a human review"


def refuse_set_aside(row: ScoreRow | AnswerRow) -> None:
    """What was set aside counts for nothing any more."""
    if row.set_aside_at:
        raise ScoreSetAside("do not use it any more; a new answer may be asked for")


async def permit_again(act: Act, row: ScoreRow | AnswerRow, purpose: Purpose) -> Permit:
    """The permit that lets an earlier answer be used again: the consent that it rested on, and no other.

    Refuses (`ScoreSetAside`) what was set aside.
    """
    act.concern(UserId(row.user_id), GrantId(row.grant_id))
    refuse_set_aside(row)
    used: Categories = frozenset(Category(c) for c in row.used)
    permitted = await permits.permit(
        act, UserId(row.user_id), purpose, used, recipient=PartnerId(row.partner), count=False
    )
    if permitted.grant != row.grant_id:
        raise permits.ConsentWithdrawn("the consent that this answer rested on has ended")
    return permitted


async def release_again(act: Act, permitted: Permit, value: T, *, recorded_as: str) -> Released[T]:
    """Let an earlier answer out by the channel that is lawful now, at most 100 times a day; the caller records it."""
    since = act.now - timedelta(days=1)
    shown = await act.db.execute_query_dict(SHOWN, [permitted.grant, recorded_as, since, SHOWN_A_DAY])
    if len(shown) >= SHOWN_A_DAY:
        raise permits.ConsentFrequencyExceeded(
            "keep what you were given: a day shows a person's answers so often and no more"
        )

    async def kept() -> T:
        return value

    return await release.release_evaluation(act, permitted, kept)
