"""The notice of one request, as the person reads it: names, days and kinds of data filled in, nothing left open."""

from dataclasses import dataclass

from api.web import prose
from api.web.prose import Block
from api.web.texts import Names, Words
from compliance.vocabulary import SENSITIVE, Categories, Category, PartnerId, Purpose
from consent import grants, notices
from consent.notices import Filling
from consent.tables import GrantRow
from scoring import previews

DECLARED = [str(Category.DECLARED)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request says: names in the person's language, days."""

    purpose: Purpose
    recipient: str
    bureau: str | None
    categories: list[str]
    period_days: int
    data_life_days: int


def referral_to(recipient: str) -> Asked:
    """What a person agrees to who compares loans (with the operator) or picks a lender (with it)."""
    bounds = grants.TEMPLATES[Purpose.LOAN_REFERRAL]
    days, life = bounds.period_days_max, bounds.data_life_days_max
    return Asked(Purpose.LOAN_REFERRAL, recipient, None, DECLARED, days, life)


def self_view(words: Words, offered: Categories) -> Asked:
    """What a person agrees to who wants to see on their own data what sharing can change."""
    days = previews.PERIOD_DAYS
    return Asked(Purpose.SELF_VIEW, words.operator, None, sorted(offered), days, days)


def of_grant(row: GrantRow, categories: list[str], period_days: int, words: Words, names: Names) -> Asked:
    """What a grant says that a person is asked for: all of it, or (to go on) what they chose before."""
    return Asked(
        purpose=Purpose(row.purpose),
        recipient=words.party(PartnerId(row.recipient), names),
        bureau=words.party(PartnerId(row.bureau), names) if row.bureau else None,
        categories=categories,
        period_days=period_days,
        data_life_days=row.data_life_days,
    )


def text(asked: Asked, words: Words) -> list[Block]:
    """The whole notice in the person's language."""
    sensitive = [category for category in asked.categories if Category(category) in SENSITIVE]
    filling = Filling(
        operator=words.operator,
        contact=words.contact,
        recipient=asked.recipient,
        bureau=asked.bureau,
        categories=words.categories(asked.categories),
        sensitive_categories=words.categories(sensitive),
        period_days=asked.period_days,
        data_life_days=asked.data_life_days,
    )
    return prose.blocks(notices.rendered(notices.current(asked.purpose, words.language), filling))
