"""What was forecast, from what, and how good it was measured to be."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from omarino.tenancy import TenantOwned, TenantQuerySet


class ForecastType(models.TextChoices):
    LOAD = "load"
    GENERATION = "generation"
    PRICE = "price"


class HistorySource(models.TextChoices):
    BODY = "body"  # sent with the request
    STORED = "stored"  # the asset's readings before `as_of`


@dataclass(frozen=True, slots=True)
class Step:
    """One target time of a forecast."""

    timestamp: datetime
    p10: float
    p50: float
    p90: float
    confidence: float | None


class ForecastQuerySet(TenantQuerySet["Forecast"]):
    def without_steps(self) -> Self:
        """For lists: the steps are most of a row."""
        return self.defer("p10", "p50", "p90", "confidence", "given_features")


class Forecast(TenantOwned):
    """One forecast. Written once; quantiles are in the unit of the series."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    asset_id = models.CharField(max_length=128)
    forecast_type = models.CharField(max_length=10, choices=ForecastType)
    unit = models.CharField(max_length=32, blank=True)
    horizon_hours = models.PositiveSmallIntegerField()
    interval_minutes = models.PositiveSmallIntegerField()
    model_name = models.CharField(max_length=128)
    model_version = models.CharField(max_length=50)
    algorithm = models.CharField(max_length=200)  # what was fitted, in words
    made_at = models.DateTimeField(default=timezone.now)
    as_of = models.DateTimeField()  # nothing read at or after this time was used
    history_source = models.CharField(max_length=6, choices=HistorySource)
    inputs_digest = models.CharField(max_length=64)  # sha256 of everything the answer is a function of
    given_features = models.JSONField(default=dict)  # what the request knew of the time ahead
    seed = models.PositiveIntegerField(default=0)
    first_target_at = models.DateTimeField()
    p10 = ArrayField(models.FloatField())
    p50 = ArrayField(models.FloatField())
    p90 = ArrayField(models.FloatField())
    confidence = ArrayField(models.FloatField(null=True))  # measured share inside p10..p90 at that lead time
    mae = models.FloatField(
        null=True
    )  # of held-back windows of this history; NULL: too short to hold any back
    rmse = models.FloatField(null=True)
    mape = models.FloatField(null=True)  # 0.05 is 5 %; NULL as well where the series is about zero
    coverage = models.FloatField(null=True)
    windows = models.PositiveIntegerField(default=0)  # how many were held back
    features_used = ArrayField(models.TextField())
    training_samples = models.PositiveIntegerField()
    warnings = ArrayField(models.TextField(), default=list)

    objects = ForecastQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-id"]
        indexes = [
            models.Index(fields=["tenant_id", "-made_at", "-id"], name="forecasting_newest"),  # the list
            models.Index(
                fields=["tenant_id", "asset_id", "-made_at", "-id"], name="forecasting_newest_of_asset"
            ),  # the list of one asset
            models.Index(fields=["made_at"], name="forecasting_made"),  # what is to be scored, of all tenants
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(forecast_type__in=ForecastType.values), name="forecasting_type_known"
            ),
            models.CheckConstraint(
                condition=Q(history_source__in=HistorySource.values), name="forecasting_source_known"
            ),
            models.CheckConstraint(
                condition=Q(p10__len=models.F("p50__len"), p90__len=models.F("p50__len"), p50__len__gte=1),
                name="forecasting_quantiles_same_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.forecast_type} of {self.asset_id} from {self.first_target_at:%Y-%m-%d %H:%M}"

    def steps(self) -> Iterator[Step]:
        interval = timedelta(minutes=self.interval_minutes)
        rows = zip(self.p10, self.p50, self.p90, self.confidence, strict=True)
        for index, (p10, p50, p90, confidence) in enumerate(rows):
            yield Step(self.first_target_at + index * interval, p10, p50, p90, confidence)


class SentHistoryQuerySet(TenantQuerySet["SentHistory"]):
    def older_than(self, moment: datetime) -> Self:
        return self.filter(kept_since__lt=moment)


class SentHistory(TenantOwned):
    """The series that came with a request, as its forecaster saw it: kept for a while, to explain the forecast."""

    forecast = models.OneToOneField(
        Forecast, on_delete=models.CASCADE, primary_key=True, related_name="sent_history"
    )
    kept_since = models.DateTimeField()
    start_at = models.DateTimeField()  # of the first value; the others follow at the forecast's interval
    count = models.PositiveIntegerField()
    values = models.BinaryField()  # as `forecasting.packing` packs them
    timezone = models.CharField(max_length=64)  # the calendar of the asset, as it was then
    country = models.CharField(max_length=2, blank=True)
    subdivision = models.CharField(max_length=32, blank=True)

    objects = SentHistoryQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["kept_since"], name="forecasting_sent_since")
        ]  # what is to be dropped

    def __str__(self) -> str:
        return f"{self.count} values sent for {self.forecast_id}"


class ForecastScoreQuerySet(TenantQuerySet["ForecastScore"]):
    """Of one tenant, like every other."""


class ForecastScore(TenantOwned):
    """How the forecasts of an asset by one algorithm turned out, at one range of leads, on one UTC day of targets.

    Made anew from the readings as they are now while the day is younger than FORECAST_RESCORED_DAYS; then it stays.
    """

    asset_id = models.CharField(max_length=128, editable=False)
    model_name = models.CharField(max_length=128, editable=False)  # what was asked for
    model_version = models.CharField(
        max_length=50, blank=True, db_default="", editable=False
    )  # empty: of a registered model, scored before versions were kept
    algorithm = models.CharField(
        max_length=128, db_default="", editable=False
    )  # what answered, as `forecasting.answered` names it
    lead_hours = models.PositiveSmallIntegerField(editable=False)  # up to here, from the one before
    day = models.DateField(editable=False)
    count = models.PositiveIntegerField(editable=False)  # outcomes, of however many forecasts
    mae = models.FloatField(editable=False)
    pinball = models.FloatField(editable=False)  # mean of p10, p50, p90
    coverage = models.FloatField(editable=False)  # share inside p10..p90, meant to be 0.8
    bias = models.FloatField(editable=False)  # forecast minus observed
    size = models.FloatField(editable=False)  # mean of |observed|
    scored_at = models.DateTimeField(editable=False)

    objects = ForecastScoreQuerySet.as_manager()

    class Meta:
        ordering = ["-day", "asset_id", "model_name", "model_version", "algorithm", "lead_hours"]
        indexes = [models.Index(fields=["day"], name="forecasting_scores_of_days")]  # the metrics
        constraints = [
            models.UniqueConstraint(
                fields=[
                    *("tenant_id", "asset_id", "day"),
                    *("model_name", "model_version", "algorithm", "lead_hours"),
                ],
                name="forecasting_score_once",
            ),
            models.CheckConstraint(condition=Q(coverage__range=(0, 1)), name="forecasting_coverage_share"),
            models.CheckConstraint(condition=Q(count__gte=1), name="forecasting_score_of_something"),
        ]

    def __str__(self) -> str:
        return f"{self.algorithm} of {self.asset_id} on {self.day}, up to {self.lead_hours} h ahead"


class DriftKind(models.TextChoices):
    COVERAGE = "coverage"  # the band holds more, or less, than it says
    READINGS = "readings"  # they are spread otherwise than the weeks before
    FEATURE = "feature"  # so is something else that forecasts are made from


class DriftFlagQuerySet(TenantQuerySet["DriftFlag"]):
    def raised(self) -> Self:
        return self.filter(cleared_at=None)


class DriftFlag(TenantOwned):
    """Something moved, and the model asks to be trained again.

    Cleared when it is found in its bounds again, or when what it speaks of is gone: the version replaced, the
    forecasts past, the asset removed.
    """

    asset_id = models.CharField(max_length=128, editable=False)
    kind = models.CharField(max_length=10, choices=DriftKind, editable=False)
    model_name = models.CharField(max_length=128, blank=True, editable=False)  # empty: whichever
    model_version = models.CharField(max_length=50, blank=True, db_default="", editable=False)
    algorithm = models.CharField(max_length=128, blank=True, db_default="", editable=False)
    feature = models.CharField(max_length=128, blank=True, db_default="", editable=False)
    value = models.FloatField(editable=False)  # the coverage, or the population stability index
    limit = models.FloatField(editable=False)  # how far it may be off, or how large it may be
    reference_from = models.DateTimeField(null=True, editable=False)  # compared with: until the window begins
    window_from = models.DateTimeField(null=True, editable=False)  # NULL: not kept then
    window_until = models.DateTimeField(null=True, editable=False)
    raised_at = models.DateTimeField(editable=False)
    seen_at = models.DateTimeField(editable=False)
    cleared_at = models.DateTimeField(null=True, editable=False)

    objects = DriftFlagQuerySet.as_manager()

    class Meta:
        ordering = ["-raised_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    *("tenant_id", "asset_id", "kind"),
                    *("model_name", "model_version", "algorithm", "feature"),
                ],
                name="forecasting_flag_once",
            ),
            models.CheckConstraint(condition=Q(kind__in=DriftKind.values), name="forecasting_drift_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.asset_id}"
