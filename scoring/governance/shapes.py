"""What the card of a model must say, so that its page can be drawn and what stands against it be told."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Count = Annotated[int, Meta(ge=0)]
Decimal = Annotated[str, Meta(pattern=r"^(unknown|-?[0-9]{1,9}\.[0-9]{1,9})$")]
Known = Annotated[str, Meta(pattern=r"^-?[0-9]{1,9}\.[0-9]{1,9}$")]


class Figure(Struct, frozen=True):
    """A figure with its 95 % interval."""

    value: Decimal
    low: Decimal
    high: Decimal


class Slice(Struct, frozen=True):
    """How well a score does from some of the data."""

    rows: Count
    defaults: Count
    base_rate: Known
    auc: Figure
    ks: Figure
    brier: Figure
    ece: Figure
    calibration_slope: Figure
    calibration_intercept: Figure
    observed_over_expected: Figure


class Rows(Struct, frozen=True):
    """How many rows a model learnt from, and on how many it was tried."""

    fit: Count
    validate: Count


class Largest(Struct, frozen=True):
    """The input that carries the most."""

    name: str
    share: Known


class Kept(Struct, frozen=True):
    """How a quantity was distributed."""

    edges: tuple[str, ...]
    counts: tuple[Count, ...]
    missing: Count


class Points(Struct, frozen=True):
    """How the points of the held-out rows fell."""

    earlier: Kept
    later: Kept
    used: tuple[str, ...]
    psi: Decimal
    state: str


class Tenth(Struct, frozen=True):
    """What was expected of a tenth of the held-out rows, and what happened."""

    rows: Count
    expected: Known
    observed: Known
    low: Known
    high: Known


class Group(Struct, frozen=True):
    """A group of people beside the best-off one; without enough answers no ratio."""

    group: str
    rows: Count
    better: Count
    share: Known
    evidence: str
    ratio: Known | UnsetType = UNSET
    low: Known | UnsetType = UNSET
    high: Known | UnsetType = UNSET


class ScoreCard(Struct, frozen=True):
    """The card of a model of the score."""

    about: Mapping[str, str]
    scale: str
    horizon_days: Count
    rows: Rows
    share_answered: Known
    largest_feature: Largest
    slices: Mapping[str, Slice]
    points: Points | UnsetType = UNSET
    calibration: tuple[Tenth, ...] = ()
    inputs: Mapping[str, Kept] = msgspec.field(default_factory=dict)
    fairness: Mapping[str, tuple[Group, ...]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Where nothing was tried together there is nothing to hold a model against."""
        _refuse_without_all(self.slices)


class Beside(Struct, frozen=True):
    """A figure of a model, and that of the same amount for everybody."""

    model: Known
    constant: Known
    gain_low: Decimal
    gain_high: Decimal


class Held(Struct, frozen=True):
    """What share of people an interval holds."""

    model: Known
    constant: Known
    low: Known
    high: Known


class IncomeSlice(Struct, frozen=True):
    """How well incomes are estimated from some of the data; no figure where nobody was answered."""

    asked: Count
    rows: Count
    log_absolute_error: Beside | UnsetType = UNSET
    pinball_10: Beside | UnsetType = UNSET
    pinball_50: Beside | UnsetType = UNSET
    pinball_90: Beside | UnsetType = UNSET
    within_20_percent: Beside | UnsetType = UNSET
    within_30_percent: Beside | UnsetType = UNSET
    exact_band: Beside | UnsetType = UNSET
    within_one_band: Beside | UnsetType = UNSET
    interval_held: Held | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Whoever was answered is in every figure."""
        if self.rows and UNSET in (getattr(self, name) for name in self.__struct_fields__):
            raise ValueError("a figure is missing")


class IncomeCard(Struct, frozen=True):
    """The card of an income model."""

    about: Mapping[str, str]
    currency: str
    edges: tuple[Count, ...]
    rows: Rows
    slices: Mapping[str, IncomeSlice]

    def __post_init__(self) -> None:
        """As of a score."""
        _refuse_without_all(self.slices)


def _refuse_without_all(slices: Mapping[str, object]) -> None:
    if "all" not in slices:
        raise ValueError("the card does not say how it does with all data")
