"""What was read of an asset, as forecasts and earlier readings are held against it."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from features import history
from features.models import Asset
from forecasting import quality


def readings_of(asset: Asset, start: datetime, before: datetime) -> quality.Readings:
    times, values = history.window(
        tenant_id=asset.tenant_id, asset_id=asset.asset_id, start=start, before=before
    )
    known = np.isfinite(values)
    times, values = times[known], values[known]
    apart = float(np.median(np.diff(times))) / 60_000_000 if times.size > 1 else 60.0
    return quality.Readings(times, values, asset.interval_minutes or apart, asset.adds_up)
