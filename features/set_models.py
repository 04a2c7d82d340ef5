"""Feature sets that tenants put together, and the rows of features that are kept of them."""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from omarino.tenancy import TenantOwned, TenantQuerySet

validate_set_name = RegexValidator(
    r"\A[a-z][a-z0-9_]{0,63}\Z", "At most 64 small letters, digits or _, beginning with a letter."
)


class TenantSetQuerySet(TenantQuerySet["TenantFeatureSet"]):
    def newest(self) -> Self:
        """Of each set that there still is, the last version."""
        later = TenantFeatureSet.objects.filter(
            tenant_id=OuterRef("tenant_id"), name=OuterRef("name"), version__gt=OuterRef("version")
        )
        return self.filter(~Exists(later), removed_at=None).order_by("name")


class TenantFeatureSet(TenantOwned):
    """One version of a set that a tenant put together. Written once: a model may name it for years."""

    name = models.CharField(max_length=64, validators=[validate_set_name])
    version = models.PositiveIntegerField(editable=False)
    features = ArrayField(models.CharField(max_length=64))  # names of the catalog, in this order
    description = models.CharField(max_length=500, blank=True)
    stored = models.BooleanField(default=False)  # rows of it are written to ai_features every hour
    made_by = models.CharField(max_length=255, editable=False)
    made_at = models.DateTimeField(db_default=Now(), editable=False)
    removed_at = models.DateTimeField(null=True, editable=False)

    objects = TenantSetQuerySet.as_manager()

    class Meta:
        verbose_name = "feature set"
        ordering = ["name", "-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "name", "version"], name="features_set_version_once"
            ),
            models.CheckConstraint(condition=Q(features__len__gte=1), name="features_set_not_empty"),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class StoredFeatureQuerySet(TenantQuerySet["StoredFeatures"]):
    """Of one tenant, like every other."""


class StoredFeatures(TenantOwned):
    """A row of features as of a time, kept for people and programs that work in SQL. A hypertable likewise."""

    pk = models.CompositePrimaryKey(
        "tenant_id", "asset_id", "feature_set", "feature_set_version", "timestamp"
    )
    asset_id = models.CharField(max_length=128)
    feature_set = models.CharField(max_length=64)
    feature_set_version = models.PositiveIntegerField()
    timestamp = models.DateTimeField()  # as of which
    features = models.JSONField()  # by name; null where nothing is known
    computed_at = models.DateTimeField(db_default=Now())

    objects = StoredFeatureQuerySet.as_manager()

    class Meta:
        db_table = "ai_features"
