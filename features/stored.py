"""Rows of features in the table ai_features, for people and programs that work in SQL.

A row holds a set's features as of a full hour, from what was stored when it was computed. The sets that their
tenants marked are written every hour, with the two days before, so that what came late is in them; anything else
by `manage.py store_features`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
from django.conf import settings
from django.db import connection
from django.db.models import Max

from features import compute, history, sets
from features.catalog import HOUR, FeatureSet, WeatherAt
from features.models import Asset, StoredFeatures, TenantFeatureSet
from omarino.epoch import MICROSECOND, from_us, to_us

COMES_LATE = timedelta(hours=48)
ROWS_AT_ONCE = 2_000
_STORE = """
INSERT INTO ai_features AS stored
    (tenant_id, asset_id, feature_set, feature_set_version, timestamp, features)
SELECT %(tenant_id)s, %(asset_id)s, %(name)s, %(version)s, fresh.timestamp, fresh.features
FROM unnest(%(timestamps)s::timestamptz[], %(features)s::jsonb[]) AS fresh (timestamp, features)
ON CONFLICT (tenant_id, asset_id, feature_set, feature_set_version, timestamp)
DO UPDATE SET features = EXCLUDED.features, computed_at = now()
WHERE stored.features IS DISTINCT FROM EXCLUDED.features
"""
OnAsset = Callable[[str, int], None]


def store_wanted(*, now: datetime) -> int:
    """The rows written: of each set marked to be stored, for each asset of its tenant."""
    written = 0
    for wanted in TenantFeatureSet.objects.newest().filter(stored=True):
        declared = sets.as_set(wanted)
        for asset in Asset.objects.for_tenant(wanted.tenant_id).iterator():
            written += _store(asset, declared, _since(asset, declared, now), now)
    return written


def store(
    *,
    tenant_id: str,
    feature_set: FeatureSet,
    start: datetime,
    before: datetime,
    asset_ids: Sequence[str] | None = None,
    on_asset: OnAsset | None = None,
) -> int:
    """Write a set's rows as of the full hours of [start, before); how many were new or had changed."""
    assets = Asset.objects.for_tenant(tenant_id).order_by("asset_id")
    if asset_ids is not None:
        assets = assets.filter(asset_id__in=asset_ids)
    written = 0
    for asset in assets.iterator():
        rows = _store(asset, feature_set, start, before)
        written += rows
        if on_asset:
            on_asset(asset.asset_id, rows)
    return written


def _since(asset: Asset, declared: FeatureSet, now: datetime) -> datetime:
    """Two days before the last row; where there is none, as far back as rows are kept."""
    rows = StoredFeatures.objects.for_tenant(asset.tenant_id).filter(
        asset_id=asset.asset_id, feature_set=declared.name, feature_set_version=declared.version
    )
    last = rows.aggregate(last=Max("timestamp"))["last"]
    if last is None:
        last = now + COMES_LATE - timedelta(days=settings.RETENTION_FEATURES_DAYS)
    since: datetime = last - COMES_LATE
    return since


def _store(asset: Asset, declared: FeatureSet, start: datetime, before: datetime) -> int:
    """From the first reading to the hour after the last one: beyond them nothing would be new."""
    key: dict[str, Any] = {"tenant_id": asset.tenant_id, "asset_id": asset.asset_id}
    first, last = history.bounds(**key, before=before)
    if first is None or last is None:
        return 0
    begins = -(-to_us(max(start, first)) // compute.HOUR_US)
    ends = min(-(-to_us(before) // compute.HOUR_US), to_us(last) // compute.HOUR_US + 2)
    moments = np.arange(begins, max(begins, ends))
    written = 0
    for begin in range(0, moments.size, ROWS_AT_ONCE):
        part = moments[begin : begin + ROWS_AT_ONCE] * compute.HOUR_US
        columns = compute.rows(declared.features, _past(asset, declared, part), part)
        with connection.cursor() as cursor:
            cursor.execute(
                _STORE,
                {
                    **key,
                    "name": declared.name,
                    "version": declared.version,
                    "timestamps": [from_us(int(time)) for time in part],
                    "features": _as_json(declared, columns),
                },
            )
            written += cursor.rowcount
    return written


def _past(asset: Asset, declared: FeatureSet, moments: compute.Ints) -> compute.Past:
    first, last = (from_us(int(time)) for time in (moments[0], moments[-1]))
    key: dict[str, Any] = {"tenant_id": asset.tenant_id, "asset_id": asset.asset_id}
    far = max(feature.looks_back for feature in declared.features)
    interval = timedelta(minutes=asset.interval_minutes or compute.USUAL_INTERVAL_MINUTES)
    times, values = history.window(**key, start=first - far - interval, before=last)
    seen = history.WeatherWindow(np.empty(0, dtype=np.int64), {})
    if any(isinstance(feature.source, WeatherAt) for feature in declared.features):
        seen = history.weather(**key, start=first - HOUR, before=last + MICROSECOND)
    return compute.Past(times, values, seen.times_us, seen.columns, asset.timezone, asset.interval_minutes)


def _as_json(declared: FeatureSet, columns: dict[str, compute.Floats]) -> list[str]:
    """orjson writes NaN as null, which is what nothing known is."""
    named = [(feature, columns[feature.name].tolist()) for feature in declared.features]
    return [
        orjson.dumps(
            {
                feature.name: int(column[row])
                if feature.is_whole and column[row] == column[row]
                else column[row]
                for feature, column in named
            }
        ).decode()
        for row in range(len(named[0][1]))
    ]
