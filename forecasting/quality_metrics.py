"""What Prometheus is told of forecasts in production: shares over all tenants, never a tenant or an asset."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, FloatField, Sum
from django.db.models.functions import Cast, NullIf
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forecasting.forecasters import FORECASTERS
from forecasting.models import DriftFlag, DriftKind, ForecastScore
from omarino.scraping import Reading, own_connection

LOOKS_BACK = timedelta(days=7)
FRESH_S = 60.0  # scores change once an hour


def _read() -> tuple[list[dict[str, Any]], dict[str, int]]:
    with own_connection():
        scores = ForecastScore.objects.filter(day__gte=(timezone.now() - LOOKS_BACK).date())
        of_size = F("mae") / NullIf(F("size"), 0.0) * Cast("count", FloatField())
        found = (
            scores.order_by()
            .values("model_name", "lead_hours")
            .annotate(outcomes=Sum("count"), inside=Sum(F("coverage") * F("count")), error=Sum(of_size))
        )
        kinds = DriftFlag.objects.raised().order_by().values_list("kind").annotate(Count("pk"))
        return [dict(row) for row in found], dict(kinds)


class QualityCollector(Collector):
    """Outcomes of the last seven days, by built-in model and lead; a tenant's models are one, `registered`."""

    def __init__(self) -> None:
        self._reading = Reading(_read, fresh_s=FRESH_S)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        found = self._reading.latest()
        if found is None:
            return
        rows, flags = found
        labels = ["model", "lead_hours"]
        outcomes = GaugeMetricFamily("ai_service_forecast_outcomes", "Steps scored.", labels=labels)
        coverage = GaugeMetricFamily(
            "ai_service_forecast_coverage",
            "Share of outcomes inside p10..p90, meant to be 0.8.",
            labels=labels,
        )
        error = GaugeMetricFamily(
            "ai_service_forecast_relative_error",
            "Mean absolute error, as a share of the mean absolute reading of the same asset and day.",
            labels=labels,
        )
        for key, (count, inside, share) in _added_up(rows).items():
            outcomes.add_metric(key, count)
            coverage.add_metric(key, inside / count)
            error.add_metric(key, share / count)
        drift = GaugeMetricFamily(
            "ai_service_forecast_drift_flags", "Flags that are raised.", labels=["kind"]
        )
        for kind in DriftKind.values:
            drift.add_metric([kind], flags.get(kind, 0))
        yield from (outcomes, coverage, error, drift)


def _added_up(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[float, float, float]]:
    sums: dict[tuple[str, str], tuple[float, float, float]] = {}
    for row in rows:
        name = row["model_name"] if row["model_name"] in FORECASTERS else "registered"
        key = (name, str(row["lead_hours"]))
        count, inside, error = sums.get(key, (0.0, 0.0, 0.0))
        sums[key] = (
            count + row["outcomes"],
            inside + row["inside"],
            error + (row["error"] or 0.0),
        )
    return sums
