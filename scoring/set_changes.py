"""A person chooses what to share, and may change it once: whoever tries set after set finds the one that flatters most."""

from datetime import timedelta

from compliance.act import Act
from compliance.refusals import Refusal
from consent import access_log
from consent.permits import Permit

SETS_MAX, SETS_COUNTED_FOR = 2, timedelta(days=90)
"""A first choice of data and one other."""


class SetChangedTooOften(Refusal):
    """Two different choices of data were used within 90 days."""

    status, code, title = 409, "set_changed_too_often", "Two choices of data were used in the last 90 days"


async def refuse_third_set(act: Act, permitted: Permit) -> None:
    """Refuse a third different choice of data in 90 days for one purpose and recipient.

    The permit counts this use. Going back to a choice that was used is free, and so is withdrawing, which asks for no
    score. A changed choice is a new consent: where one was evaluated lately (`budget.spend`), there is nothing to refuse.
    """
    used = await access_log.sets_used(
        act, permitted.user, permitted.purpose, permitted.recipient, act.now - SETS_COUNTED_FOR
    )
    if len(used) > SETS_MAX:
        raise SetChangedTooOften("go back to a choice of data that was used before, or wait")
