"""What was detected, from what, and what people said about it."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone

from omarino.tenancy import TenantOwned, TenantQuerySet


class Method(models.TextChoices):
    Z_SCORE = "z_score", "z-score"
    IQR = "iqr", "interquartile range"
    ISOLATION_FOREST = "isolation_forest", "isolation forest"
    LOCAL_OUTLIER_FACTOR = "local_outlier_factor", "local outlier factor"
    PROPHET_DECOMPOSITION = "prophet_decomposition", "Prophet decomposition"


class SeriesSource(models.TextChoices):
    BODY = "body"  # sent with the request
    STORED = "stored"  # the asset's readings of the window


class DetectionQuerySet(TenantQuerySet["Detection"]):
    def without_anomalies(self) -> Self:
        """For lists: the anomalies are most of a row."""
        return self.defer("anomalies")


class Detection(TenantOwned):
    """One look at a window of one series. Written once; values are in the unit of the series."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    asset_id = models.CharField(max_length=128)
    unit = models.CharField(max_length=32, blank=True)
    method = models.CharField(max_length=24, choices=Method)
    sensitivity = models.FloatField()
    made_at = models.DateTimeField(default=timezone.now)
    series_source = models.CharField(max_length=6, choices=SeriesSource)
    inputs_digest = models.CharField(max_length=64)  # sha256 of everything the answer is a function of
    seed = models.PositiveIntegerField(default=0)
    first_at = models.DateTimeField()  # of the window
    last_at = models.DateTimeField()
    total_points = models.PositiveIntegerField()
    training_points = models.PositiveIntegerField(default=0)
    anomalies_detected = models.PositiveIntegerField()
    mean_score = models.FloatField()
    max_score = models.FloatField()
    anomalies = models.JSONField(default=list, encoder=DjangoJSONEncoder)  # the flagged points, as answered
    warnings = ArrayField(models.TextField(), default=list)

    objects = DetectionQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-id"]
        indexes = [
            models.Index(fields=["tenant_id", "-made_at", "-id"], name="anomalies_newest"),  # the list
            models.Index(
                fields=["tenant_id", "asset_id", "-made_at", "-id"], name="anomalies_newest_of_asset"
            ),  # the list of one asset
        ]
        constraints = [
            models.CheckConstraint(condition=Q(method__in=Method.values), name="anomalies_method_known"),
            models.CheckConstraint(
                condition=Q(series_source__in=SeriesSource.values), name="anomalies_source_known"
            ),
            models.CheckConstraint(
                condition=Q(sensitivity__gte=1, sensitivity__lte=5), name="anomalies_sensitivity_in_range"
            ),
            models.CheckConstraint(
                condition=Q(first_at__lte=models.F("last_at")), name="anomalies_window_in_order"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} by {self.method}, {self.first_at:%Y-%m-%d} .. {self.last_at:%Y-%m-%d}"

    @property
    def anomaly_rate(self) -> float:
        return self.anomalies_detected / self.total_points if self.total_points else 0.0

    def anomaly_at(self, timestamp: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = next((a for a in self.anomalies if a["timestamp"] == timestamp), None)
        return found


class FeedbackQuerySet(TenantQuerySet["Feedback"]):
    def on_the_like_of(self, detection: Detection) -> Self:
        """Verdicts on the same asset by the same method, newest first."""
        return self.filter(detection__asset_id=detection.asset_id, detection__method=detection.method)


class Feedback(TenantOwned):
    """A person's verdict on one flagged point; the last one counts."""

    detection = models.ForeignKey(Detection, on_delete=models.CASCADE, related_name="feedback")
    timestamp = models.DateTimeField()  # of the point
    score = models.FloatField()  # it was flagged with
    is_true = models.BooleanField()  # False: a false alarm
    comment = models.CharField(max_length=500, blank=True)
    given_by = models.CharField(max_length=255)  # `sub` of the token
    given_at = models.DateTimeField(default=timezone.now)

    objects = FeedbackQuerySet.as_manager()

    class Meta:
        ordering = ["-given_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["detection", "timestamp"], name="anomalies_one_verdict_a_point"),
        ]

    def __str__(self) -> str:
        return f"{self.timestamp:%Y-%m-%d %H:%M}: {'true' if self.is_true else 'false alarm'}"
