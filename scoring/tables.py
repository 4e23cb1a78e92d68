"""The tables of scoring: models, features, scores, shadows, previews, reviews, licences."""

from typing import Any

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model

from consent import holdings


class ModelRow(Model):
    """A registered model and how far it was approved."""

    id = fields.UUIDField(primary_key=True)
    digest = fields.TextField()
    product = fields.TextField()
    state = fields.TextField()
    card: fields.Field[dict[str, Any]] = fields.JSONField()
    registered_at = fields.DatetimeField()
    registered_by = fields.TextField()
    validated_by = fields.TextField(null=True)
    approved_by = fields.TextField(null=True)
    approval = fields.BinaryField(null=True)
    shadowed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "scoring_model"


class ScoreRow(Model):
    """A score as it was issued, with all that is needed to compute it again."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    partner = fields.UUIDField()
    relay = fields.UUIDField(null=True)
    grant_id = fields.UUIDField()
    model = fields.UUIDField()
    answer = fields.TextField()
    points = fields.IntField()
    band = fields.TextField()
    probability = fields.TextField()
    scale = fields.TextField()
    confidence = fields.TextField()
    used = ArrayField("text")
    not_used = ArrayField("text")
    reasons: fields.Field[list[dict[str, Any]]] = fields.JSONField()
    channel = fields.TextField()
    vector = fields.BinaryField()
    events = ArrayField("int")
    active_days = ArrayField("int")
    snapshot = fields.TextField()
    data_cutoff = fields.DatetimeField(null=True)
    permit_digest = fields.TextField()
    code_version = fields.TextField()
    fact = fields.UUIDField()
    fact_promise = fields.TextField()
    issued_at = fields.DatetimeField()
    valid_until = fields.DatetimeField()
    set_aside_at = fields.DatetimeField(null=True)
    product = fields.UUIDField(null=True)
    cutoff = fields.IntField(null=True)

    class Meta:
        table = "scoring_score"


class CutoffRow(Model):
    """The points from which on a product's threshold answers say `above`: one records it, another approves it."""

    id = fields.UUIDField(primary_key=True)
    partner = fields.UUIDField()
    product = fields.UUIDField()
    points = fields.IntField()
    recorded_by = fields.TextField()
    recorded_at = fields.DatetimeField()
    approved_by = fields.TextField(null=True)
    approved_at = fields.DatetimeField(null=True)

    class Meta:
        table = "scoring_cutoff"


class AnswerRow(Model):
    """An income, a limit or a portrait as it was told, with what it rests on."""

    id = fields.UUIDField(primary_key=True)
    kind = fields.TextField()
    user_id = fields.UUIDField()
    partner = fields.UUIDField()
    relay = fields.UUIDField(null=True)
    grant_id = fields.UUIDField()
    model = fields.UUIDField()
    told: fields.Field[dict[str, Any]] = fields.JSONField()
    used = ArrayField("text")
    not_used = ArrayField("text")
    channel = fields.TextField()
    vector = fields.BinaryField()
    events = ArrayField("int")
    active_days = ArrayField("int")
    snapshot = fields.TextField()
    permit_digest = fields.TextField()
    code_version = fields.TextField()
    fact = fields.UUIDField()
    fact_promise = fields.TextField()
    issued_at = fields.DatetimeField()
    valid_until = fields.DatetimeField()
    set_aside_at = fields.DatetimeField(null=True)

    class Meta:
        table = "scoring_answer"


class DisclosureRow(Model):
    """How many bits of a person's score one institution was told, and on which basis; kept for 90 days."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    institution = fields.UUIDField()
    basis = fields.UUIDField()
    disclosure = fields.TextField()
    bits = fields.IntField()
    told_at = fields.DatetimeField()

    class Meta:
        table = "scoring_disclosure"


class ReviewRow(Model):
    """A person's request that somebody looks at a score, and the answer."""

    id = fields.UUIDField(primary_key=True)
    score = fields.UUIDField()
    user_id = fields.UUIDField()
    recipient = fields.UUIDField()
    text_sealed = fields.BinaryField(null=True)
    state = fields.TextField()
    asked_at = fields.DatetimeField()
    due_at = fields.DatetimeField()
    overdue_at = fields.DatetimeField(null=True)
    closed_at = fields.DatetimeField(null=True)
    answered_by = fields.TextField(null=True)
    answer_sealed = fields.BinaryField(null=True)

    class Meta:
        table = "scoring_review"


class PreviewRow(Model):
    """What sharing can change for one person, worked out at their own wish."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    grant_id = fields.UUIDField()
    model = fields.UUIDField()
    lines: fields.Field[list[dict[str, Any]]] = fields.JSONField()
    snapshot = fields.TextField()
    permit_digest = fields.TextField()
    made_at = fields.DatetimeField()
    keep_until = fields.DatetimeField()
    hints: fields.Field[list[dict[str, Any]]] = fields.JSONField()

    class Meta:
        table = "scoring_preview"


class ShadowRow(Model):
    """What the challenger says of the data of a score that was issued."""

    score = fields.UUIDField(primary_key=True)
    model = fields.UUIDField()
    user_id = fields.UUIDField()
    points = fields.IntField(null=True)
    log_odds = fields.TextField(null=True)
    made_at = fields.DatetimeField()

    class Meta:
        table = "scoring_shadow"


class LicenceRow(Model):
    """A recorded licence or relay: one records it, another approves it."""

    id = fields.UUIDField(primary_key=True)
    kind = fields.TextField()
    bureau = fields.UUIDField(null=True)
    lender = fields.UUIDField(null=True)
    text_zh = fields.TextField()
    text_en = fields.TextField()
    fictional = fields.BooleanField()
    recorded_by = fields.TextField()
    recorded_at = fields.DatetimeField()
    approved_by = fields.TextField(null=True)
    approved_at = fields.DatetimeField(null=True)
    removed_by = fields.TextField(null=True)
    removed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "scoring_licence"


class SnapshotRow(Model):
    """Everybody's features, computed from the store up to a moment, and how far that has come."""

    id = fields.UUIDField(primary_key=True)
    model = fields.TextField()
    cutoff = fields.DatetimeField()
    buckets_done = fields.IntField()
    people = fields.IntField()
    started_at = fields.DatetimeField()
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "scoring_snapshot"


class RetentionRow(Model):
    """A run in which old events leave the store, and how far it has come."""

    id = fields.UUIDField(primary_key=True)
    before = fields.DatetimeField()
    buckets_done = fields.IntField()
    events = fields.BigIntField()
    started_at = fields.DatetimeField()
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "scoring_retention"


holdings.deletes("scoring_behaviour", part=None)
holdings.deletes("scoring_statement", part="statements")
holdings.deletes("scoring_relation", "(user_id = $1 or other = $1)", part="relations")
holdings.deletes("scoring_prepared", part=None)
holdings.deletes("scoring_departure", part=None)
holdings.deletes("scoring_contact_left", part=None)
holdings.deletes("scoring_feature", part="behaviour")
holdings.deletes("scoring_score", part="scores", prefix="scr", known_to=("partner", "relay"))
holdings.deletes("scoring_review", part="reviews", prefix="rvw")
holdings.deletes("scoring_preview", part="previews")
holdings.deletes("scoring_answer", part="answers", prefix="ans", known_to=("partner", "relay"))
holdings.deletes("scoring_disclosure", part="disclosures")
holdings.deletes("scoring_shadow", part="shadow_scores")
