"""Whether what a reason says of a person is so, read from the raw events alone and never from a feature."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from compliance.vocabulary import Category

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """What was recorded of one person before a moment: events, the profile, the terms asked for."""

    at: datetime
    events: Sequence[Row]
    profile: Row
    asked: Row
    category_of: Mapping[str, Category]  # of each column of the profile

    def recorded(self, category: Category, days: float | None, *names: str) -> list[Row]:
        """Events of a category strictly before the moment, by name, within the days before it."""
        since = self.at - timedelta(days=days) if days else None
        return [
            event
            for event in self.events
            if event["category"] == category
            and event["at"] < self.at
            and (since is None or event["at"] > since)
            and (not names or event["name"] in names)
        ]


YEAR, QUARTER = 365, 90
CREDIT, DEVICE = Category.CREDIT_HISTORY, Category.DEVICE_USAGE
APP, SHOPPING = Category.APP_ACTIVITY, Category.SHOPPING
BORROWED = ("loan_opened", "loan_closed_after_days")


def _orders_with_amounts(raw: Raw) -> bool:
    orders = raw.recorded(SHOPPING, YEAR, "order")
    return bool(raw.recorded(SHOPPING, None)) and (
        not orders or any(order["value"] is not None for order in orders)
    )


def _any_of(category: Category) -> Callable[[Raw], bool]:
    return lambda raw: (
        bool(raw.recorded(category, None))
        or any(raw.profile.get(name) is not None for name, of in raw.category_of.items() if of is category)
    )


def _stated(*names: str) -> Callable[[Raw], bool]:
    return lambda raw: any(raw.profile.get(name) is not None for name in names)


def _wished(name: str) -> Callable[[Raw], bool]:
    return lambda raw: raw.asked.get(name) is not None


STATEMENTS: Mapping[str, Callable[[Raw], bool]] = {
    # "How much": nothing is a true answer where anything of the kind was ever recorded.
    "DU-001": lambda raw: bool(raw.recorded(DEVICE, None)),
    "DU-003": lambda raw: bool(raw.recorded(DEVICE, QUARTER, "session")),
    "DU-004": lambda raw: bool(raw.recorded(DEVICE, QUARTER, "session")),
    "DU-005": lambda raw: bool(raw.recorded(DEVICE, QUARTER, "session")),
    "DU-900": lambda raw: len(raw.recorded(DEVICE, None)) > 1,
    "AA-001": lambda raw: bool(raw.recorded(APP, None)),
    "AA-003": lambda raw: bool(raw.recorded(APP, QUARTER)),
    "AA-004": lambda raw: bool(raw.recorded(APP, QUARTER)),
    "AA-005": lambda raw: bool(raw.recorded(APP, QUARTER)),
    "AA-900": lambda raw: len(raw.recorded(APP, None)) > 1,
    "SH-001": _orders_with_amounts,
    "SH-003": lambda raw: bool(raw.recorded(SHOPPING, YEAR, "order")),
    "SH-004": lambda raw: bool(raw.recorded(SHOPPING, YEAR, "order")),
    "SH-005": lambda raw: bool(raw.recorded(SHOPPING, YEAR, "order")),
    "SH-006": lambda raw: len(raw.recorded(SHOPPING, YEAR, "order")) > 1,
    "SH-007": lambda raw: bool(raw.recorded(SHOPPING, YEAR, "order")),
    "SH-900": _any_of(SHOPPING),
    "LR-001": lambda raw: bool(raw.recorded(Category.LOCATION_RHYTHM, QUARTER)),
    "LR-002": lambda raw: bool(raw.recorded(Category.LOCATION_RHYTHM, QUARTER)),
    "LR-003": lambda raw: bool(raw.recorded(Category.LOCATION_RHYTHM, None)),
    "LR-900": _any_of(Category.LOCATION_RHYTHM),
    "FI-001": lambda raw: bool(raw.recorded(Category.FITNESS, None)),
    "FI-002": lambda raw: bool(raw.recorded(Category.FITNESS, QUARTER)),
    "FI-900": _any_of(Category.FITNESS),
    "SM-001": lambda raw: bool(raw.recorded(Category.SMART_HOME, None)),
    "SM-002": lambda raw: bool(raw.recorded(Category.SMART_HOME, QUARTER)),
    "SM-003": lambda raw: bool(raw.recorded(Category.SMART_HOME, None)),
    "SM-900": _any_of(Category.SMART_HOME),
    "SG-001": lambda raw: bool(raw.recorded(Category.SOCIAL_GRAPH, None)),
    "SG-002": lambda raw: bool(raw.recorded(Category.SOCIAL_GRAPH, None)),
    "SG-003": lambda raw: bool(raw.recorded(Category.SOCIAL_GRAPH, None)),
    "SG-900": _any_of(Category.SOCIAL_GRAPH),
    "CH-001": lambda raw: bool(raw.recorded(CREDIT, None)),
    "CH-003": lambda raw: bool(raw.recorded(CREDIT, None)),
    "CH-006": lambda raw: bool(raw.recorded(CREDIT, YEAR, *BORROWED)),
    "CH-011": lambda raw: bool(raw.recorded(CREDIT, None)),
    "CH-900": _any_of(CREDIT),
    "DE-001": _stated("employment", "employment_status"),
    "DE-002": _stated("education"),
    "DE-003": _stated("income_band"),
    "DE-004": _stated("bank_account_type", "bank_name"),
    "DE-010": _wished("amount"),
    "DE-011": _wished("tenor_days"),
    "DE-900": lambda raw: _any_of(Category.DECLARED)(raw) or any(v is not None for v in raw.asked.values()),
}
"""By code, what its text claims beside the direction. "Whether" and "how many" are true of none, where the kind of data
was recorded at all."""


def is_true(code: str, raw: Raw) -> bool:
    """Whether the claim holds; a code without a checker is a hole in this file (KeyError)."""
    return STATEMENTS[code](raw)
