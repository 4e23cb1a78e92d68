"""The tables of access: clients, staff, links, sessions."""

from typing import Any

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model


class ClientRow(Model):
    """An OAuth client of a partner."""

    client_id = fields.CharField(max_length=128, primary_key=True)
    partner = fields.UUIDField()
    jwks: fields.Field[dict[str, Any]] = fields.JSONField()
    scopes = ArrayField("text")
    suspended_at = fields.DatetimeField(null=True)
    made_at = fields.DatetimeField()

    class Meta:
        table = "api_client"


class StaffRow(Model):
    """An operator's or regulator's person."""

    id = fields.UUIDField(primary_key=True)
    name = fields.TextField()
    role = fields.TextField()

    class Meta:
        table = "api_staff"
