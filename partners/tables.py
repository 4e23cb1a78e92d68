"""The tables of partners: the directory, lists, applications, referrals, outcomes, monitoring."""

from typing import Any

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model

from consent import holdings


class PartnerRow(Model):
    """A licensed institution."""

    id = fields.UUIDField(primary_key=True)
    code = fields.TextField()
    name_zh = fields.TextField()
    name_en = fields.TextField()
    kind = fields.TextField()
    lender_class = fields.TextField(null=True)
    licence = fields.TextField()
    licence_from = fields.DateField()
    licence_until = fields.DateField()
    owned_hosts = ArrayField("text")
    operator_stake = fields.BooleanField()
    suspended_at = fields.DatetimeField(null=True)
    made_at = fields.DatetimeField()

    class Meta:
        table = "partners_partner"


class ProductRow(Model):
    """A lender's terms, open to matching between two dates."""

    id = fields.UUIDField(primary_key=True)
    partner = fields.UUIDField()
    name_zh = fields.TextField()
    name_en = fields.TextField()
    terms: fields.Field[dict[str, Any]] = fields.JSONField()
    open_from = fields.DateField()
    open_until = fields.DateField()
    made_at = fields.DatetimeField()

    class Meta:
        table = "partners_product"


class PrescreenRow(Model):
    """A bank's list request, frozen."""

    id = fields.UUIDField(primary_key=True)
    partner = fields.UUIDField()
    state = fields.TextField()
    criteria: fields.Field[Any] = fields.JSONField()
    criteria_digest = fields.TextField()
    offer: fields.Field[dict[str, Any]] = fields.JSONField()
    cap = fields.IntField()
    valid_until = fields.DatetimeField()
    made_at = fields.DatetimeField()
    snapshot = fields.TextField(null=True)
    entries = fields.IntField(null=True)
    why_failed = fields.TextField(null=True)
    ready_at = fields.DatetimeField(null=True)

    class Meta:
        table = "partners_prescreen"


class EntryRow(Model):
    """A line on a list."""

    id = fields.UUIDField(primary_key=True)
    prescreen = fields.UUIDField()
    partner = fields.UUIDField()
    user_id = fields.UUIDField()
    grant_id = fields.UUIDField()
    limit_minor = fields.BigIntField()
    currency = fields.TextField()
    daily_rate = fields.TextField()
    valid_until = fields.DatetimeField()
    recalled_at = fields.DatetimeField(null=True)
    recall_reason = fields.TextField(null=True)

    class Meta:
        table = "partners_entry"


class ApplicationRow(Model):
    """A person's wish, and how it was answered."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    grant_id = fields.UUIDField()
    wish: fields.Field[dict[str, Any]] = fields.JSONField()
    receipt: fields.Field[dict[str, Any]] = fields.JSONField()
    receipt_digest = fields.TextField()
    metric = fields.TextField()
    picked = fields.UUIDField(null=True)
    closed_at = fields.DatetimeField(null=True)
    made_at = fields.DatetimeField()

    class Meta:
        table = "partners_application"


class OfferRow(Model):
    """A lender's terms for one wish."""

    id = fields.UUIDField(primary_key=True)
    application = fields.UUIDField()
    user_id = fields.UUIDField()
    product = fields.UUIDField()
    partner = fields.UUIDField()
    rank = fields.IntField()
    terms: fields.Field[dict[str, Any]] = fields.JSONField()

    class Meta:
        table = "partners_offer"


class ReferralRow(Model):
    """The hand-over to the chosen lender."""

    id = fields.UUIDField(primary_key=True)
    application = fields.UUIDField()
    offer = fields.UUIDField()
    user_id = fields.UUIDField()
    partner = fields.UUIDField()
    pseudonym = fields.UUIDField()
    grant_id = fields.UUIDField()
    wish: fields.Field[dict[str, Any]] = fields.JSONField()
    state = fields.TextField()
    reason: fields.Field[str | None] = fields.TextField(null=True)  # type: ignore[assignment]  # tortoise types no nullable text
    delivery = fields.TextField()
    attempts = fields.IntField(default=0)
    next_try_at = fields.DatetimeField()
    lease_until = fields.DatetimeField(null=True)
    made_at = fields.DatetimeField()
    changed_at = fields.DatetimeField()

    class Meta:
        table = "partners_referral"


class ReferralStepRow(Model):
    """One step of a referral, kept as it was taken."""

    seq = fields.BigIntField(primary_key=True, generated=True)
    referral = fields.UUIDField()
    partner = fields.UUIDField()
    user_id = fields.UUIDField()
    state = fields.TextField()
    reason = fields.TextField(null=True)
    at = fields.DatetimeField()

    class Meta:
        table = "partners_referral_step"


class OutcomeRow(Model):
    """What a lender reported of a referral, a score or an entry of its list."""

    id = fields.UUIDField(primary_key=True)
    partner = fields.UUIDField()
    referral = fields.UUIDField(null=True)
    score = fields.UUIDField(null=True)
    entry = fields.UUIDField(null=True)
    user_id = fields.UUIDField()
    grant_id = fields.UUIDField()
    report: fields.Field[dict[str, Any]] = fields.JSONField()
    reported_at = fields.DatetimeField()
    counted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "partners_outcome"


class SeenThroughRow(Model):
    """Loans of one month and band that were seen through while their consents were alive, as they were counted then."""

    id = fields.UUIDField(primary_key=True)
    model = fields.TextField()
    month = fields.TextField()
    band = fields.TextField()
    loans = fields.IntField()
    defaults = fields.IntField()
    expected = fields.FloatField()
    counted_at = fields.DatetimeField()

    class Meta:
        table = "partners_seen_through"


class MonitoringRow(Model):
    """The figures of a day about the model in use."""

    id = fields.UUIDField(primary_key=True)
    made_at = fields.DatetimeField()
    model = fields.TextField()
    report: fields.Field[dict[str, Any]] = fields.JSONField()
    alerts: fields.Field[dict[str, Any]] = fields.JSONField()

    class Meta:
        table = "partners_monitoring"


holdings.keeps(
    "partners_entry",
    "a random number on a bank's frozen list; the bank must still learn that it was taken back",
    part="lists",
    prefix="ent",
)
holdings.deletes("partners_application", part="loan_searches", prefix="app")
holdings.deletes("partners_offer", part="offers", prefix="off")
holdings.deletes("partners_referral", part="referrals", prefix="ref", known_to=("partner",), locked=True)
holdings.deletes("partners_outcome", part="reported_outcomes", prefix="out", known_to=("partner",))
holdings.deletes("partners_referral_step", part="referral_history")
