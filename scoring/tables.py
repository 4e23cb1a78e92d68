"""The tables of scoring: models, features, scores, previews, reviews, licences."""

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

    class Meta:
        table = "scoring_score"


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

    class Meta:
        table = "scoring_preview"


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


holdings.deletes("scoring_feature", part="behaviour")
holdings.deletes("scoring_score", part="scores", prefix="scr", known_to=("partner", "relay"))
holdings.deletes("scoring_review", part="reviews", prefix="rvw")
holdings.deletes("scoring_preview", part="previews")
