"""What pages say, and how they write amounts, times and names, in both languages."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_percent, get_currency_precision

from compliance import ids
from compliance.vocabulary import OPERATOR, Category, Language, PartnerId, Purpose
from consent.permits import BUSINESS_ZONE

LOCALE = Path(__file__).parent / "locale"
BABEL = {Language.ZH_CN: "zh_Hans_CN", Language.EN: "en"}
MOMENT = {Language.ZH_CN: "y年M月d日 HH:mm:ss", Language.EN: "d MMM y, HH:mm:ss"}
DAY = {Language.ZH_CN: "y年M月d日", Language.EN: "d MMM y"}
BETWEEN = {Language.ZH_CN: "、", Language.EN: "; "}

Names = Mapping[PartnerId, Mapping[Language, str]]
"""What partners are called."""


@cache
def messages(language: Language) -> Mapping[str, str]:
    """All messages of one language under their dotted keys."""
    return dict(_flat(tomllib.loads((LOCALE / f"{language}.toml").read_text(encoding="utf-8"))))


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


@dataclass(frozen=True, slots=True)
class Words:
    """One language's way of saying things; times are those of the business zone."""

    language: Language
    operator: str
    """What the operator is called in this language."""
    contact: str
    """Where people reach the operator."""

    def t(self, key: str, **values: object) -> str:
        """A message with its names filled in; an unknown key is a programmer's error (KeyError)."""
        return messages(self.language)[key].format(**values)

    def said(self, key: str) -> str | None:
        """A message that may not be there."""
        return messages(self.language).get(key)

    def money(self, minor: int, currency: str) -> str:
        """An amount in minor units with its currency."""
        amount = Decimal(minor).scaleb(-get_currency_precision(currency))
        return format_currency(amount, currency, locale=BABEL[self.language])

    def rate(self, annual: str) -> str:
        """A yearly fraction as a percentage with two places."""
        return format_percent(Decimal(annual), "0.00%", locale=BABEL[self.language])

    def when(self, at: datetime) -> str:
        """Date and time to the second."""
        return format_datetime(at, MOMENT[self.language], BUSINESS_ZONE, BABEL[self.language])

    def clock(self, at: datetime) -> str:
        """Time of the day to the second."""
        return format_datetime(at, "HH:mm:ss", BUSINESS_ZONE, BABEL[self.language])

    def day(self, on: date | datetime) -> str:
        """A date; of a time, the day it is in the business zone."""
        if isinstance(on, datetime):
            on = on.astimezone(BUSINESS_ZONE).date()
        return format_date(on, DAY[self.language], BABEL[self.language])

    def category_name(self, category: str) -> str:
        """What people call a category."""
        return self.t(f"category.{Category(category)}.name")

    def categories(self, wanted: list[str]) -> str:
        """Some categories in a row."""
        return BETWEEN[self.language].join(self.category_name(category) for category in wanted)

    def purpose_name(self, purpose: str) -> str:
        """What people call a purpose."""
        return self.t(f"purpose.{Purpose(purpose)}.name")

    def region_name(self, region: str) -> str:
        """What people call a region; its code where it has no name of its own here."""
        return self.said("region." + region.lower().replace("-", "_")) or region

    def fact_name(self, kind: str) -> str:
        """What happened, in words; the bare kind where it is not one that people meet."""
        return self.said(f"fact.{kind}") or kind

    def party(self, partner: PartnerId, names: Names) -> str:
        """A partner's name, or the operator's; one that is in no directory is called by its id."""
        if partner in names:
            return names[partner][self.language]
        return self.operator if partner == OPERATOR else ids.public("ptn", partner)
