"""What was detected, from what, what people said about it, and what is watched."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from omarino import webhooks
from omarino.sealing import SealedField, seal, unseal
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


class Severity(models.TextChoices):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class WatchQuerySet(TenantQuerySet["Watch"]):
    def due(self) -> Self:
        return self.filter(is_active=True, next_look_at__lte=Now())

    def claim(self, pk: Any) -> Watch | None:
        """The watch, whose next look is put off to its next time; None when it is not due, or another's."""
        due = self.due().filter(pk=pk)
        if due.update(next_look_at=Now() + F("every")) != 1:
            return None
        return self.get(pk=pk)


def new_sealed_secret() -> str:
    return seal(webhooks.new_secret())


class Watch(TenantOwned):
    """An asset that is looked at again and again: new readings are judged, and people called when it is worth it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    asset_id = models.CharField(max_length=128)
    method = models.CharField(max_length=24, choices=Method, default=Method.ISOLATION_FOREST)
    sensitivity = models.FloatField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    lookback_hours = models.PositiveIntegerField(default=168)  # the window that is judged
    every = models.DurationField(default=timedelta(hours=1))
    minimum_severity = models.CharField(max_length=8, choices=Severity, default=Severity.MEDIUM)
    silent_after_hours = models.PositiveIntegerField(default=24)  # without a reading; 0: silence is no news
    webhook_url = models.CharField(max_length=500, blank=True)
    sealed_secret = SealedField(db_column="webhook_secret", default=new_sealed_secret, editable=False)
    is_active = models.BooleanField(default=True)
    created_by = models.CharField(max_length=255, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    next_look_at = models.DateTimeField(db_default=Now(), editable=False)
    looked_at = models.DateTimeField(editable=False)  # readings that came by then are judged
    judged_until = models.DateTimeField(editable=False)  # the newest reading that was judged
    last_error = models.TextField(blank=True, editable=False)

    objects = WatchQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = "watches"
        constraints = [
            models.CheckConstraint(
                condition=Q(method__in=Method.values), name="anomalies_watch_method_known"
            ),
            models.CheckConstraint(
                condition=Q(minimum_severity__in=Severity.values), name="anomalies_watch_severity_known"
            ),
            models.CheckConstraint(
                condition=Q(sensitivity__gte=1, sensitivity__lte=5),
                name="anomalies_watch_sensitivity_in_range",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_look_at"], condition=Q(is_active=True), name="anomalies_watch_due"
            ),  # what to look at now
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} by {self.method}"

    @property
    def webhook_secret(self) -> str:
        """Raises SealBroken."""
        return unseal(self.sealed_secret)


class Sending(models.TextChoices):
    NONE = "none", "nobody to tell"
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class AlertQuerySet(TenantQuerySet["Alert"]):
    def to_send(self) -> Self:
        return self.filter(sending=Sending.PENDING, next_attempt_at__lte=Now())

    def claim(self, pk: Any) -> Alert | None:
        """The alert, which nobody else sends for five minutes; None when another does, or it is sent."""
        ours = self.to_send().filter(pk=pk)
        claimed = ours.update(attempts=F("attempts") + 1, next_attempt_at=Now() + SENDING_TAKES)
        return self.select_related("watch").get(pk=pk) if claimed == 1 else None


SENDING_TAKES = timedelta(minutes=5)  # at most; then its worker is taken for dead


class Alert(TenantOwned):
    """One event that a watch found, told once, and once more for each worse severity it passes into."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    watch = models.ForeignKey(Watch, on_delete=models.CASCADE, related_name="alerts")
    detection = models.ForeignKey(Detection, on_delete=models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(max_length=32)  # of the peak: spike, stuck, ...; no_readings
    severity = models.CharField(max_length=8, choices=Severity)  # the worst so far
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()  # so far
    points = models.PositiveIntegerField()
    peak_at = models.DateTimeField()
    peak_value = models.FloatField(null=True)  # in the unit of the asset
    peak_score = models.FloatField(null=True)
    explanation = models.TextField()
    raised_at = models.DateTimeField(auto_now_add=True)
    sending = models.CharField(max_length=9, choices=Sending)  # of the message that tells `severity`
    told_severity = models.CharField(
        max_length=8, choices=Severity, blank=True
    )  # the webhook took; or none yet
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True)
    last_answer = models.CharField(max_length=200, blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-raised_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["watch", "kind", "first_at"], name="anomalies_alert_once"),
            models.CheckConstraint(
                condition=Q(severity__in=Severity.values), name="anomalies_alert_severity_known"
            ),
            models.CheckConstraint(
                condition=Q(sending__in=Sending.values), name="anomalies_alert_sending_known"
            ),
            models.CheckConstraint(
                condition=Q(told_severity__in=["", *Severity.values]), name="anomalies_alert_told_known"
            ),
        ]
        indexes = [
            models.Index(fields=["watch", "-last_at"], name="anomalies_alert_newest"),  # is this one known?
            models.Index(
                fields=["next_attempt_at"], condition=Q(sending="pending"), name="anomalies_alert_to_send"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} at {self.peak_at:%Y-%m-%d %H:%M}"
