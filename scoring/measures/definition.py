"""How one measure is declared, and why some have no direction."""

import re
from dataclasses import dataclass

from compliance.vocabulary import Category

LONGEST_DAYS = 365
"""No measure looks further back: what is older is deleted (`store.retention`)."""
WITHIN = re.compile(r" in (\d+) days\)")


@dataclass(frozen=True, slots=True)
class Definition:
    """One measure, for each of its windows (days); see `features.Feature` and `feature_terms`."""

    name: str
    category: Category
    unit: str
    windows: tuple[int, ...]
    monotone: int
    reason: str
    expression: str
    why: str = ""


def looks_back_too_far(window_days: int | None, expression: str) -> bool:
    """Whether a measure reads what is older than anything that is kept for features."""
    return max(window_days or 0, *map(int, WITHIN.findall(expression)), 0) > LONGEST_DAYS


HABIT = "more of it is a habit, neither good nor bad"
LENT = "larger and longer loans go to people whom lenders already trust"
PACE = "borrowing again soon shows need as well as trust"
BILL = "a large bill is spending power as well as burden"
EARLY = "a loan may close early by repayment or by renewal"
CHANGE = "more than before may follow a good change in life as well as a bad one"
STATED = "a column of an outside set: its direction is not known beforehand"
OUTSIDE = "events of an outside set: whether more of them is better is not known beforehand"
