"""What one can do about kept forecasts once readings came: score them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta

import numpy as np
from django.conf import settings
from django.db import transaction

from features.models import Asset
from forecasting import quality
from forecasting.answered import answered
from forecasting.drift_actions import find_drift
from forecasting.forecasters import FORECASTERS
from forecasting.models import DriftFlag, Forecast, ForecastScore, HistorySource
from forecasting.observed import readings_of
from omarino.epoch import to_us

LONGEST_LEAD = timedelta(hours=quality.LEAD_HOURS[-1] + 24)
MEASURES = ("count", "mae", "pinball", "coverage", "bias", "size")
OF_ONE_SCORE = ("tenant_id", "asset_id", "day", "model_name", "model_version", "algorithm", "lead_hours")


def score_recent(*, now: datetime) -> int:
    """Score the days of every asset that readings may still change, and see what drifted. The number of scores written."""
    made_since = _first_day(now) - LONGEST_LEAD
    recent = Forecast.objects.filter(
        made_at__gte=made_since, made_at__lte=now, history_source=HistorySource.STORED
    )
    assets = set(recent.order_by().values_list("tenant_id", "asset_id").distinct())
    written = 0
    for tenant_id, asset_id in sorted(assets):
        written += score_asset(tenant_id=tenant_id, asset_id=asset_id, now=now)
    flagged = set(DriftFlag.objects.raised().order_by().values_list("tenant_id", "asset_id"))
    for tenant_id, asset_id in sorted(assets | flagged):
        find_drift(tenant_id=tenant_id, asset_id=asset_id, now=now)
    return written


def score_asset(*, tenant_id: str, asset_id: str, now: datetime) -> int:
    """Replace the asset's scores of the last days by what its readings say now.

    Only forecasts from stored readings are scored: a history in a request need not be this asset's, nor in its unit.
    """
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=asset_id).first()
    if asset is None:
        return 0
    start = _first_day(now)
    issued = _issued(asset, start - LONGEST_LEAD, now)
    readings = readings_of(asset, start, now)
    found = quality.scores(issued, readings, from_us=to_us(start), before_us=to_us(now))
    rows = [
        ForecastScore(
            tenant_id=tenant_id,
            asset_id=asset_id,
            scored_at=now,
            day=score.day,
            lead_hours=score.lead_hours,
            **asdict(score.answered),
            **{name: getattr(score, name) for name in MEASURES},
        )
        for score in found
    ]
    with transaction.atomic():
        ForecastScore.objects.for_tenant(tenant_id).filter(asset_id=asset_id, day__gte=start.date()).delete()
        ForecastScore.objects.bulk_create(
            rows,
            update_conflicts=True,  # another worker may have scored at the same time
            unique_fields=OF_ONE_SCORE,
            update_fields=["scored_at", *MEASURES],
        )
    return len(rows)


def _issued(asset: Asset, start: datetime, until: datetime) -> list[quality.Issued]:
    """What the forecasts made in [start, until] from the asset's stored readings said."""
    made = Forecast.objects.for_tenant(asset.tenant_id).filter(
        asset_id=asset.asset_id,
        history_source=HistorySource.STORED,
        made_at__gte=start,
        made_at__lte=until,
    )
    return [
        quality.Issued(
            answered=answered(
                forecast.model_name,
                forecast.model_version,
                forecast.algorithm,
                is_built_in=forecast.model_name in FORECASTERS,
            ),
            first_target_us=to_us(forecast.first_target_at),
            interval_minutes=forecast.interval_minutes,
            made_at_us=to_us(forecast.made_at),
            quantiles=np.column_stack((forecast.p10, forecast.p50, forecast.p90)),
        )
        for forecast in made.defer("confidence", "warnings", "given_features").iterator(chunk_size=200)
    ]


def _first_day(now: datetime) -> datetime:
    """The first moment of the oldest UTC day that is still scored again."""
    day = now.astimezone(UTC).date() - timedelta(days=settings.FORECAST_RESCORED_DAYS)
    return datetime.combine(day, time(), tzinfo=UTC)
