"""The tables of access: clients, staff, links, sessions."""

from typing import Any

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model

from consent import holdings


class ClientRow(Model):
    """An OAuth client of a partner; without an approval, a proposal."""

    client_id = fields.CharField(max_length=128, primary_key=True)
    partner = fields.UUIDField()
    method = fields.TextField()
    jwks: fields.Field[dict[str, Any] | None] = fields.JSONField(null=True)
    jwks_uri = fields.TextField(null=True)
    tls_subject = fields.TextField(null=True)
    certificate_bound = fields.BooleanField()
    redirect_uris = ArrayField("text")
    scopes = ArrayField("text")
    purposes = ArrayField("text")
    made_at = fields.DatetimeField()
    proposed_by = fields.TextField()
    approved_by = fields.TextField(null=True)
    approved_at = fields.DatetimeField(null=True)
    suspended_at = fields.DatetimeField(null=True)
    suspended_by: fields.Field[str | None] = fields.TextField(null=True)  # type: ignore[assignment]  # tortoise types no nullable text

    class Meta:
        table = "api_client"


class StaffRow(Model):
    """An operator's or regulator's person."""

    id = fields.UUIDField(primary_key=True)
    name = fields.TextField()
    role = fields.TextField()

    class Meta:
        table = "api_staff"


class AuthorizationRow(Model):
    """What a client asks of a person by OAuth, and what came of it."""

    id = fields.UUIDField(primary_key=True)
    client_id = fields.CharField(max_length=128)
    partner = fields.UUIDField()
    grant_id = fields.UUIDField()
    scopes = ArrayField("text")
    redirect_uri = fields.TextField()
    state = fields.TextField(null=True)
    code_challenge = fields.TextField()
    proof_key = fields.TextField(null=True)
    made_at = fields.DatetimeField()
    request_hash = fields.BinaryField()
    request_expires_at = fields.DatetimeField()
    answered_at = fields.DatetimeField(null=True)
    code_hash = fields.BinaryField(null=True)
    code_expires_at = fields.DatetimeField(null=True)
    redeemed_at = fields.DatetimeField(null=True)
    refresh_hash = fields.BinaryField(null=True)
    revoked_at = fields.DatetimeField(null=True)

    class Meta:
        table = "api_authorization"


holdings.deletes("api_session", part=None, at_once=False)
holdings.deletes("api_link", part=None, at_once=False)
holdings.deletes("api_password", part=None, at_once=False)
holdings.deletes(
    "api_authorization",
    "grant_id in (select id from consent_grant where user_id = $1)",
    part=None,
    at_once=False,
)
