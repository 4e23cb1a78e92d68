"""How one measure is declared, and why some have no direction."""

from dataclasses import dataclass

from compliance.vocabulary import Category


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


HABIT = "more of it is a habit, neither good nor bad"
LENT = "larger and longer loans go to people whom lenders already trust"
PACE = "borrowing again soon shows need as well as trust"
BILL = "a large bill is spending power as well as burden"
EARLY = "a loan may close early by repayment or by renewal"
CHANGE = "more than before may follow a good change in life as well as a bad one"
STATED = "a column of an outside set: its direction is not known beforehand"
OUTSIDE = "events of an outside set: whether more of them is better is not known beforehand"
