"""The tables of the ground. Facts and the log are written by `facts` and `sequencer` only, in SQL."""

from tortoise import fields
from tortoise.models import Model


class FactRow(Model):
    """One sealed fact, as the console lists it."""

    id = fields.UUIDField(primary_key=True)
    seq = fields.BigIntField(unique=True)
    recorded_at = fields.DatetimeField()
    kind = fields.TextField()
    partner = fields.UUIDField()
    person = fields.UUIDField(null=True)
    grant_id = fields.UUIDField(null=True)
    principal = fields.TextField()
    purpose = fields.TextField(null=True)
    commitment = fields.BinaryField()
    sealed = fields.BinaryField()

    class Meta:
        table = "compliance_fact"


class LogRow(Model):
    """Where a fact stands in the log."""

    leaf_index = fields.BigIntField(primary_key=True)
    fact = fields.UUIDField(unique=True)
    leaf = fields.BinaryField()
    tenant = fields.UUIDField()
    tenant_seq = fields.BigIntField()
    person = fields.UUIDField(null=True)
    person_seq = fields.BigIntField(null=True)

    class Meta:
        table = "compliance_log"


class CheckpointRow(Model):
    """A signed head of the log."""

    size = fields.BigIntField(primary_key=True)
    root = fields.BinaryField()
    note = fields.TextField()
    signed_at = fields.DatetimeField()

    class Meta:
        table = "compliance_checkpoint"
