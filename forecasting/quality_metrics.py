"""What Prometheus is told of forecasts in production: shares over all tenants, never a tenant or an asset."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import Count
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forecasting.models import DriftFlag, DriftKind
from omarino.scraping import Reading, own_connection

LOOKS_BACK = timedelta(days=7)
FRESH_S = 60.0  # scores change once an hour
# Units differ from asset to asset, so errors are divided by the size of the readings before they meet.
_OF_ASSETS = """
SELECT algorithm, lead_hours, sum(outcomes), sum(inside) / sum(outcomes),
    sum(outcomes * error / size) / sum(outcomes) FILTER (WHERE size IS NOT NULL),
    sum(outcomes * pinball / size) / sum(outcomes) FILTER (WHERE size IS NOT NULL)
FROM (
    SELECT algorithm, lead_hours, sum(count) AS outcomes, sum(coverage * count) AS inside,
        sum(mae * count) AS error, sum(pinball * count) AS pinball, nullif(sum(size * count), 0) AS size
    FROM forecasting_forecastscore WHERE day >= %s
    GROUP BY tenant_id, asset_id, algorithm, lead_hours
) AS of_asset
GROUP BY algorithm, lead_hours ORDER BY algorithm, lead_hours
"""
_SAME_ASSET = "of the same asset, over seven days; 0.05 is 5 %."


class Quality(NamedTuple):
    """Of one algorithm at one range of leads. The ratios are None where all readings are 0."""

    algorithm: str
    lead_hours: int
    outcomes: int
    coverage: float
    mae_ratio: float | None
    pinball_ratio: float | None


def _read() -> tuple[list[Quality], dict[str, int]]:
    with own_connection(), connection.cursor() as cursor:
        cursor.execute(_OF_ASSETS, [(timezone.now() - LOOKS_BACK).date()])
        found = [Quality(*row) for row in cursor.fetchall()]
        kinds = DriftFlag.objects.raised().order_by().values_list("kind").annotate(Count("pk"))
        return found, dict(kinds)


class QualityCollector(Collector):
    """Outcomes of the last seven days, by what answered and lead; a tenant's models are one, `registered`."""

    def __init__(self) -> None:
        self._reading = Reading(_read, fresh_s=FRESH_S)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        found = self._reading.latest()
        if found is None:
            return
        rows, flags = found
        yield _gauge("outcomes", "Steps scored.", rows)
        yield _gauge("coverage", "Share of outcomes inside p10..p90, meant to be 0.8.", rows)
        yield _gauge(
            "mae_ratio", f"Mean absolute error of p50 by the mean absolute reading {_SAME_ASSET}", rows
        )
        yield _gauge(
            "pinball_ratio",
            f"Pinball loss, the mean of p10, p50 and p90, by the mean absolute reading {_SAME_ASSET}",
            rows,
        )
        drift = GaugeMetricFamily(
            "ai_service_forecast_drift_flags", "Flags that are raised.", labels=["kind"]
        )
        for kind in DriftKind.values:
            drift.add_metric([kind], flags.get(kind, 0))
        yield drift


def _gauge(what: str, said: str, rows: list[Quality]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"ai_service_forecast_{what}", said, labels=["algorithm", "lead_hours"])
    for row in rows:
        value = getattr(row, what)
        if value is not None:
            gauge.add_metric([row.algorithm, str(row.lead_hours)], float(value))
    return gauge
