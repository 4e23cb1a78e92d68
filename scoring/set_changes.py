"""A person chooses what to share, and may change it once: whoever tries set after set finds the one that flatters most."""

from datetime import timedelta

from compliance.act import Act
from compliance.refusals import Refusal
from compliance.vocabulary import PartnerId, Purpose, UserId
from consent import access_log

SETS_MAX, SETS_COUNTED_FOR = 2, timedelta(days=90)
"""A first choice of data and one other."""


class SetChangedTooOften(Refusal):
    """Two different choices of data were used within 90 days."""

    status, code, title = 409, "set_changed_too_often", "Two choices of data were used in the last 90 days"


async def refuse_third_set(act: Act, user: UserId, purpose: Purpose, recipient: PartnerId) -> None:
    """Refuse a third different choice of data in 90 days for one purpose and recipient.

    To be called after the permit, which counts this use. Going back to a choice that was used is free, and so is
    withdrawing, which asks for no score.
    """
    used = await access_log.sets_used(act, user, purpose, recipient, act.now - SETS_COUNTED_FOR)
    if len(used) > SETS_MAX:
        raise SetChangedTooOften("go back to a choice of data that was used before, or wait")
