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
