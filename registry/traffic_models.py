"""Two versions of a model in one traffic: which, how it is shared, and what became of it."""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from omarino.tenancy import TenantOwned, TenantQuerySet


class Mode(models.TextChoices):
    SPLIT = "split"  # the challenger answers a share of the callers
    SHADOW = "shadow"  # production answers all; the challenger is asked as well, and nobody waits for it


class Variant(models.TextChoices):
    PRODUCTION = "production"
    CHALLENGER = "challenger"


class TrafficSplitQuerySet(TenantQuerySet["TrafficSplit"]):
    """Of one tenant, like every other."""


class TrafficSplit(TenantOwned):
    """Written once, and ended once: by a person, or because one of its versions changed its stage."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey("registry.RegisteredModel", on_delete=models.PROTECT, related_name="splits")
    challenger = models.ForeignKey(
        "registry.ModelVersion", on_delete=models.SET_NULL, null=True, related_name="+"
    )
    mode = models.CharField(max_length=6, choices=Mode)
    share = (
        models.FloatField()
    )  # of the callers the challenger answers, or of the requests it is asked as well
    production_version = models.CharField(max_length=50)
    challenger_version = models.CharField(max_length=50)
    started_at = models.DateTimeField(db_default=Now(), editable=False)
    started_by = models.CharField(max_length=255)
    ended_at = models.DateTimeField(null=True)
    end_reason = models.TextField(blank=True)

    objects = TrafficSplitQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["model"], condition=Q(ended_at__isnull=True), name="registry_one_split"
            ),
            models.CheckConstraint(condition=Q(share__gt=0, share__lte=1), name="registry_split_share"),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="registry_split_mode_known"),
        ]

    def __str__(self) -> str:
        return f"{self.mode}: {self.production_version} and {self.challenger_version}"


class VariantCount(models.Model):
    """What a variant was asked, added up; no row for a request."""

    split = models.ForeignKey(TrafficSplit, on_delete=models.CASCADE, related_name="counts")
    variant = models.CharField(max_length=10, choices=Variant)
    requests = models.BigIntegerField(default=0)
    rows = models.BigIntegerField(default=0)
    failures = models.BigIntegerField(default=0)
    dropped = models.BigIntegerField(default=0)  # shadow requests that were not asked, for want of time
    latency_ms = models.FloatField(default=0.0)  # their sum
    buckets = ArrayField(models.BigIntegerField(), default=list)  # requests by latency, see registry.compare

    class Meta:
        constraints = [models.UniqueConstraint(fields=["split", "variant"], name="registry_variant_once")]

    def __str__(self) -> str:
        return f"{self.variant}: {self.requests}"


class Outcome(models.Model):
    """A prediction of a variant whose outcome was told, or a shadow's that waits for it."""

    split = models.ForeignKey(TrafficSplit, on_delete=models.CASCADE, related_name="outcomes")
    variant = models.CharField(max_length=10, choices=Variant)
    key = models.UUIDField()  # of the prediction; a shadow's is that of the answer it stood beside
    predicted = models.JSONField()
    actual = models.JSONField(null=True)
    error = models.FloatField(null=True)  # |actual - predicted|, or for a class 1 where it was another
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["split", "key", "variant"], name="registry_outcome_once"),
        ]

    def __str__(self) -> str:
        return f"{self.variant} {self.key}"
