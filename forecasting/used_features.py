"""What the forecasts of an asset look at, by features' own computation, over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db.models import F, Func, TextField

from features import compute, history
from features.catalog import Feature, WeatherAt
from features.models import Asset
from forecasting.drift import Course, watched
from forecasting.models import Forecast, HistorySource
from forecasting.observed import readings_of
from omarino.epoch import to_us


@dataclass(frozen=True, slots=True)
class Used:
    """metrics: other readings of the asset that requests named, and forecasts learned from."""

    features: tuple[Feature, ...]
    metrics: tuple[str, ...]

    def only(self, names: set[str]) -> Used:
        return Used(
            tuple(feature for feature in self.features if feature.name in names),
            tuple(name for name in self.metrics if name in names),
        )


def used_by(asset: Asset, start: datetime, until: datetime) -> Used:
    """By the forecasts from stored readings that were made in [start, until]."""
    made = Forecast.objects.for_tenant(asset.tenant_id).filter(
        asset_id=asset.asset_id,
        history_source=HistorySource.STORED,
        made_at__gte=start,
        made_at__lte=until,
    )
    lists = made.order_by().values_list("features_used", flat=True).distinct()
    names = {name for each in lists for name in each}
    keys = Func(F("given_features"), function="jsonb_object_keys", output_field=TextField())
    given = set(made.order_by().annotate(name=keys).values_list("name", flat=True).distinct())
    features = watched(names)
    metrics = given & names - {feature.name for feature in features}
    return Used(features, tuple(sorted(metrics)))


def courses(asset: Asset, used: Used, start: datetime, before: datetime) -> dict[str, Course]:
    """Each of them in [start, before), by name: hour by hour, or at the asset's own interval where that is longer."""
    found = {}
    if used.features:
        past = _past(asset, used.features, start, before)
        step = max(compute.HOUR_US, past.interval_us)
        moments = np.arange(-(-to_us(start) // step) * step, to_us(before), step)
        rows = compute.rows(used.features, past, moments)
        found = {name: Course(moments, values) for name, values in rows.items()}
    for name in used.metrics:
        times_us, values = history.window(
            tenant_id=asset.tenant_id, asset_id=asset.asset_id, start=start, before=before, metric=name
        )
        found[name] = Course(times_us, values)
    return found


def _past(asset: Asset, features: tuple[Feature, ...], start: datetime, before: datetime) -> compute.Past:
    interval = timedelta(minutes=asset.interval_minutes or compute.USUAL_INTERVAL_MINUTES)
    back = max(feature.looks_back for feature in features) + interval
    readings = readings_of(asset, start - back, before)
    weather = history.WeatherWindow(np.empty(0, dtype=np.int64), {})
    if any(isinstance(feature.source, WeatherAt) for feature in features):
        weather = history.weather(
            tenant_id=asset.tenant_id, asset_id=asset.asset_id, start=start - interval, before=before
        )
    return compute.Past(
        readings.times_us,
        readings.values,
        weather.times_us,
        weather.columns,
        asset.timezone,
        asset.interval_minutes or round(readings.minutes),
    )
