"""A person's own scores, as they were given to others, with the reasons in full."""

from dataclasses import dataclass

from compliance.act import Act
from compliance.vocabulary import Category, Language
from consent.permits import OwnPermit
from scoring import explanation
from scoring.explanation import Reason
from scoring.tables import ScoreRow

LIST_MAX = 50


@dataclass(frozen=True, slots=True)
class OwnScore:
    """A score and its reasons in words; `texts` are pairs of direction and text."""

    row: ScoreRow
    texts: tuple[tuple[str, str], ...]


async def mine(act: Act, own: OwnPermit, language: Language) -> list[OwnScore]:
    """The person's scores, newest first. Records `own_scores_read`."""
    rows = await ScoreRow.filter(user_id=own.user).using_db(act.db).order_by("-id").limit(LIST_MAX)
    act.record("own_scores_read", {"count": len(rows)}, person=own.user)
    return [OwnScore(row, _texts(row, language)) for row in rows]


def _texts(row: ScoreRow, language: Language) -> tuple[tuple[str, str], ...]:
    reasons = [
        Reason(told["code"], told["version"], Category(told["category"]), told["direction"])
        for told in row.reasons
    ]
    return tuple((reason.direction, explanation.text(reason, language)) for reason in reasons)
