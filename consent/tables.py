"""The tables of consent: people, pseudonyms, notices, grants, extensions, receipts, disputes."""

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model

from consent import holdings


class PersonRow(Model):
    """A person the data are about."""

    id = fields.UUIDField(primary_key=True)
    reference_index = fields.BinaryField(null=True)
    reference_sealed = fields.BinaryField(null=True)
    born_on = fields.DateField(null=True)
    fictional = fields.BooleanField(default=False)
    objected_to_prescreen_at = fields.DatetimeField(null=True)
    erased_at = fields.DatetimeField(null=True)
    objected_to_automation_at = fields.DatetimeField(null=True)
    made_at = fields.DatetimeField()

    class Meta:
        table = "consent_person"


class PseudonymRow(Model):
    """What a partner knows a person by."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    partner = fields.UUIDField()
    made_at = fields.DatetimeField()

    class Meta:
        table = "consent_pseudonym"


class GrantRow(Model):
    """A standing consent, as stored."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField(null=True)
    recipient = fields.UUIDField()
    bureau = fields.UUIDField(null=True)
    purpose = fields.TextField()
    asked = ArrayField("text")
    categories = ArrayField("text")
    state = fields.TextField()
    ended_by = fields.TextField(null=True)
    ended_code = fields.TextField(null=True)
    ended_at = fields.DatetimeField(null=True)
    notice_id = fields.TextField()
    notice_version = fields.IntField()
    notice_sha256 = fields.TextField(null=True)
    language = fields.TextField(null=True)
    template = fields.TextField()
    channel = fields.TextField()
    period_days = fields.IntField()
    data_life_days = fields.IntField()
    calls_per_month = fields.IntField(null=True)
    answer = fields.TextField(default="full")
    rejected_reason = fields.TextField(null=True)
    requested_at = fields.DatetimeField()
    given_at = fields.DatetimeField(null=True)
    expires_at = fields.DatetimeField(null=True)
    extensions = fields.IntField(default=0)
    extended_at = fields.DatetimeField(null=True)
    evidence: fields.Field[dict[str, str] | None] = fields.JSONField(null=True)
    fictional = fields.BooleanField(default=False)
    erased_at = fields.DatetimeField(null=True)

    class Meta:
        table = "consent_grant"


class ExtensionRow(Model):
    """One request or wish that a grant goes on, and its answer."""

    id = fields.UUIDField(primary_key=True)
    grant_id = fields.UUIDField()
    user_id = fields.UUIDField()
    recipient = fields.UUIDField()
    asked_at = fields.DatetimeField()
    asked_by = fields.TextField()
    period_days = fields.IntField()
    answered_at = fields.DatetimeField(null=True)
    answer = fields.TextField(null=True)
    from_expires_at = fields.DatetimeField(null=True)
    to_expires_at = fields.DatetimeField(null=True)
    notice_version = fields.IntField(null=True)
    notice_sha256 = fields.TextField(null=True)
    language = fields.TextField(null=True)
    evidence: fields.Field[dict[str, str] | None] = fields.JSONField(null=True)

    class Meta:
        table = "consent_extension"


class ReceiptRow(Model):
    """A signed receipt."""

    grant_id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    recipient = fields.UUIDField()
    signed = fields.TextField()
    issued_at = fields.DatetimeField()

    class Meta:
        table = "consent_receipt"


class DisputeRow(Model):
    """What a person says is wrong, and what staff answered."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    about = fields.TextField()
    category = fields.TextField(null=True)
    score = fields.UUIDField(null=True)
    fact = fields.UUIDField(null=True)
    recipient = fields.UUIDField(null=True)
    text_sealed = fields.BinaryField()
    state = fields.TextField()
    raised_at = fields.DatetimeField()
    due_at = fields.DatetimeField()
    overdue_at = fields.DatetimeField(null=True)
    closed_at = fields.DatetimeField(null=True)
    answered_by = fields.TextField(null=True)
    answer_sealed = fields.BinaryField(null=True)
    corrected_at = fields.DatetimeField(null=True)
    lifted_at = fields.DatetimeField(null=True)
    lifted_by = fields.TextField(null=True)
    lifted_sealed = fields.BinaryField(null=True)

    class Meta:
        table = "consent_dispute"


holdings.keeps(
    "compliance_fact",
    "facts are only added; what they say is sealed under the person's key",
    "person = $1",
    part="log",
    prefix="fct",
)
holdings.keeps(
    "compliance_log",
    "the log's places and hashes; they say nothing that can be read",
    "person = $1",
    part=None,
)
holdings.keeps(
    "compliance_reply", "sealed under the person's key, and forgotten after a day", "person = $1", part=None
)
holdings.empties(
    "consent_person",
    "reference_index = null, reference_sealed = null, born_on = null, objected_to_prescreen_at = null, objected_to_automation_at = null",
    "id = $1",
    part="who_you_are",
    stays="an id that leads to nobody, so that what recipients still owe can be followed",
)
holdings.keeps(
    "consent_deletion", "that a deletion was asked for, when, and the certificate that was given", part=None
)
holdings.keeps(
    "consent_effect",
    "what each recipient was asked and answered; it says nothing about the person",
    part="after_withdrawals",
)
holdings.empties(
    "consent_grant",
    "evidence = null, language = null, rejected_reason = null",
    part="consents",
    prefix="gnt",
    stays="that a consent of somebody once stood and how it ended: recipients answer for what they hold by its id",
)
holdings.deletes(
    "consent_pseudonym",
    part="names_at_recipients",
    prefix="usr",
    but="""not exists (select 1 from consent_effect e where e.user_id = consent_pseudonym.user_id
           and e.recipient = consent_pseudonym.partner and e.settled_at is null)""",
    stays="what a recipient calls somebody whose data it has yet to delete; gone when it has answered",
)
holdings.deletes(
    "consent_use", "grant_id in (select id from consent_grant where user_id = $1)", part="uses_by_month"
)
holdings.deletes("consent_receipt", part="receipts")
holdings.deletes("consent_extension", part="extensions", prefix="ext")
holdings.deletes("consent_dispute", part="disputes", prefix="dsp")
