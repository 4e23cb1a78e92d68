"""Wishes: what a person may say they want, and what an internet loan may never pay for."""

from dataclasses import dataclass
from enum import StrEnum

from compliance.refusals import Fault, Unacceptable


class UseOfFunds(StrEnum):
    """What a loan is for, in the words lenders ask for."""

    DAILY_CONSUMPTION = "daily_consumption"
    DURABLE_GOODS = "durable_goods"
    EDUCATION = "education"
    MEDICAL = "medical"
    TRAVEL = "travel"
    RENOVATION = "renovation"
    HOUSE_PURCHASE = "house_purchase"
    SECURITIES = "securities"
    DERIVATIVES = "derivatives"
    ASSET_MANAGEMENT = "asset_management"
    FIXED_ASSETS = "fixed_assets"
    EQUITY = "equity"


BARRED = frozenset(
    {
        UseOfFunds.HOUSE_PURCHASE,
        UseOfFunds.SECURITIES,
        UseOfFunds.DERIVATIVES,
        UseOfFunds.ASSET_MANAGEMENT,
        UseOfFunds.FIXED_ASSETS,
        UseOfFunds.EQUITY,
    }
)
"""What an internet loan may never pay for (商业银行互联网贷款管理暂行办法)."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What the person says they want; nothing in it is inferred."""

    amount_minor: int
    currency: str
    instalments: int
    region: str
    is_student: bool
    use_of_funds: UseOfFunds
    jurisdiction: str


def refuse_barred(stated: Stated) -> None:
    """Refuse (`Unacceptable`) a use that no lender may lend for."""
    if stated.use_of_funds in BARRED:
        fault = Fault("/use_of_funds", "use_barred", "a consumer loan cannot pay for this")
        raise Unacceptable("lenders may not lend for this use", fault)
