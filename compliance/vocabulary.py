"""The words every package shares: identities, purposes, kinds of data, and who acts."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
"""The person the data are about; random, never leaves the installation."""
PartnerId = NewType("PartnerId", UUID)
GrantId = NewType("GrantId", UUID)
FactId = NewType("FactId", UUID)
StaffId = NewType("StaffId", UUID)

OPERATOR = PartnerId(UUID(int=0))
"""The operator as a tenant of the log and as a recipient of grants."""


class Language(StrEnum):
    """The languages every person-facing text exists in (BCP 47)."""

    ZH_CN = "zh-CN"
    EN = "en"


class Purpose(StrEnum):
    """Why data are used; each value is a line in the notice the person reads."""

    CREDIT_ASSESSMENT = "credit_assessment"
    PRESCREEN = "prescreen"
    LOAN_REFERRAL = "loan_referral"
    INCOME_ESTIMATE = "income_estimate"
    PORTRAIT = "portrait"
    MODEL_DEVELOPMENT = "model_development"
    SELF_VIEW = "self_view"


class Category(StrEnum):
    """What kind of behaviour data is used."""

    DEVICE_USAGE = "device_usage"
    APP_ACTIVITY = "app_activity"
    SHOPPING = "shopping"
    LOCATION_RHYTHM = "location_rhythm"
    FITNESS = "fitness"
    SMART_HOME = "smart_home"
    SOCIAL_GRAPH = "social_graph"
    CREDIT_HISTORY = "credit_history"
    DECLARED = "declared"


Categories = frozenset[Category]

SENSITIVE: Categories = frozenset(
    {Category.LOCATION_RHYTHM, Category.FITNESS, Category.SOCIAL_GRAPH, Category.CREDIT_HISTORY}
)
"""Asked for separately, with the reason (PIPL Art 28-30)."""
OFFERED: Categories = frozenset(
    {
        Category.DEVICE_USAGE,
        Category.APP_ACTIVITY,
        Category.SHOPPING,
        Category.CREDIT_HISTORY,
        Category.DECLARED,
    }
)
"""What an installation offers until it turns more on; the other four wait for counsel's word."""


class AnswerForm(StrEnum):
    """How much of an evaluation its recipient is told, most first; the person agrees to one, and to all that tell less."""

    FULL = "full"
    BAND = "band"
    THRESHOLD = "threshold"
    """Only whether the points reach the cut-off of one product."""

    def allows(self, asked: "AnswerForm") -> bool:
        """Whether who agreed to this form agreed to the one that is asked for."""
        order = list(AnswerForm)
        return order.index(asked) >= order.index(self)


class PartnerKind(StrEnum):
    """The kinds of licensed institution."""

    BANK = "bank"
    CONSUMER_FINANCE = "consumer_finance"
    MICROLENDER = "microlender"
    CREDIT_BUREAU = "credit_bureau"
    OPERATOR = "operator"  # no partner: the operator itself, so that its own software can be its client


class Channel(StrEnum):
    """The lawful way by which an evaluation leaves (征信业务管理办法 Art 3-5)."""

    OPERATOR_LICENSED = "operator_licensed"
    LICENSED_BUREAU_RELAY = "licensed_bureau_relay"
    BANK_INTERNAL = "bank_internal"
    NONE = "none"


class StaffRole(StrEnum):
    """What an operator's or regulator's person may do."""

    COMPLIANCE_OFFICER = "compliance_officer"
    AUDITOR = "auditor"
    RISK_OFFICER = "risk_officer"
    PARTNER_MANAGER = "partner_manager"


@dataclass(frozen=True, slots=True)
class PartnerClient:
    """An OAuth client of a partner, as proven by its token and proof of possession.

    `purposes` are those it is registered for; `grant` is the one consent that its token is for, where it is for one.
    """

    partner: PartnerId
    client_id: str
    scopes: frozenset[str]
    purposes: frozenset[Purpose] = frozenset(Purpose)
    grant: GrantId | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """The person the data are about, in a session of their own."""

    user: UserId
    session: UUID
    signed_in_at: datetime
    method: str
    auth_time: datetime | None = None
    """When they proved who they are, by the word of the provider that they signed in at."""
    acr: str | None = None
    """How strongly, in the provider's words (OpenID Connect Core 1.0 section 2)."""

    @property
    def proven_at(self) -> datetime:
        """When they last proved who they are; a link proves it by being opened."""
        return self.auth_time or self.signed_in_at


@dataclass(frozen=True, slots=True)
class Staff:
    """An operator's or regulator's person."""

    staff: StaffId
    role: StaffRole


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of ours that acts without anybody waiting for it."""

    name: str


Principal = PartnerClient | Person | Staff | Worker
