"""The rows of the audit. Their tables are made by sql/audit.sql: unmanaged, so that no flush empties them."""

from __future__ import annotations

import secrets
import uuid

from django.db import models
from django.db.models.functions import Now

from omarino.tenancy import TenantOwned, TenantQuerySet


def salt() -> str:
    return secrets.token_hex(16)


class Outcome(models.TextChoices):
    DONE = "done"
    REFUSED = "refused"


class AuditRecordQuerySet(TenantQuerySet["AuditRecord"]):
    """Of one tenant, like every other."""


class AuditRecord(TenantOwned):
    """Who did, or was refused, what. Append-only; it goes only with the erasure of its tenant.

    The salt keeps what a link says of an erased record from being guessed.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(db_default=Now())
    outcome = models.CharField(max_length=8, choices=Outcome)
    verb = models.CharField(max_length=32)  # past tense: stored, promoted, erased
    kind = models.CharField(max_length=64)  # of thing: readings, model version
    object_id = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)  # `sub` of the token
    username = models.CharField(max_length=255)
    before = models.CharField(max_length=64)  # sha256 of the row; empty: there was none, or nobody looked
    after = models.CharField(max_length=64)
    facts = models.JSONField(default=dict)
    request_id = models.CharField(max_length=128)
    salt = models.CharField(max_length=32, default=salt)

    objects = AuditRecordQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "audit_records"
        ordering = ["-at", "-id"]
        verbose_name = "audit record"

    def __str__(self) -> str:
        return f"{self.username} {self.verb} {self.kind} {self.object_id}"


class AuditLinkQuerySet(TenantQuerySet["AuditLink"]):
    """Of one tenant, like every other."""


class AuditLink(TenantOwned):
    """A record's place in its tenant's chain. It holds digests alone and outlives its record."""

    record = models.OneToOneField(
        AuditRecord, models.DO_NOTHING, primary_key=True, related_name="link", db_constraint=False
    )
    number = models.PositiveBigIntegerField()  # 1, 2, 3 ... within the tenant
    linked_at = models.DateTimeField()
    content = models.CharField(max_length=64)  # digest of the record
    digest = models.CharField(max_length=64)  # of this link and the digest of the one before

    objects = AuditLinkQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "audit_links"
        ordering = ["tenant_id", "number"]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.number}"
