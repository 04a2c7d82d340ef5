"""A forecast and the readings around it, shaped for the fan chart."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from features import history
from features.history import Times, Values
from features.models import Asset
from features.overview import interval_of, line
from forecasting import sent_histories
from forecasting.errors import HistoryNotKept
from forecasting.models import Forecast, HistorySource

PAST = timedelta(days=7)


def fan_chart(forecast: Forecast, asset: Asset | None) -> dict[str, Any]:
    """What fan-chart.js draws: the median and its band, the week before, and what came of it.

    Of a history that was sent with the request its own end is drawn, while it is kept: the stored readings of
    that name may be of something else.
    """
    steps = list(forecast.steps())
    chart: dict[str, Any] = {
        "zone": asset.timezone if asset else "UTC",
        "unit": forecast.unit,
        "start": int(steps[0].timestamp.timestamp()),
        "forecast": {
            "time": [int(step.timestamp.timestamp()) for step in steps],
            "p10": forecast.p10,
            "p50": forecast.p50,
            "p90": forecast.p90,
        },
    }
    if forecast.history_source == HistorySource.BODY:
        return chart | _sent(forecast)
    if asset is None:
        return chart
    start = forecast.first_target_at
    times, values = history.window(
        tenant_id=forecast.tenant_id,
        asset_id=forecast.asset_id,
        start=start - PAST,
        before=steps[-1].timestamp + timedelta(minutes=forecast.interval_minutes),
    )
    times, values = _in_steps(times, values, forecast, asset)
    interval = max(timedelta(minutes=forecast.interval_minutes), interval_of(asset, times))
    came_later = times >= int(start.timestamp()) * 1_000_000
    if (~came_later).any():
        chart["readings"] = line(times[~came_later], values[~came_later], interval)
    if came_later.any():
        chart["outcome"] = line(times[came_later], values[came_later], interval)
    return chart


def _sent(forecast: Forecast) -> dict[str, Any]:
    try:
        series, _ = sent_histories.kept(forecast)
    except HistoryNotKept:
        return {}
    interval = timedelta(minutes=forecast.interval_minutes)
    last = series.values[-(PAST // interval) :]
    step = interval // timedelta(microseconds=1)
    end = forecast.first_target_at.timestamp() * 1_000_000
    times = int(end) + step * np.arange(-last.size, 0)
    known = np.isfinite(last)
    return {"readings": line(times[known], last[known], interval)}


def _in_steps(times: Times, values: Values, forecast: Forecast, asset: Asset) -> tuple[Times, Values]:
    """Readings in the steps of the forecast, else two half-hours of 2 kWh would lie below an hour of 4."""
    if times.size < 2:
        return times, values
    native = interval_of(asset, times) // timedelta(microseconds=1)
    step = forecast.interval_minutes * 60_000_000
    parts = step / native if asset.adds_up else 1.0
    if step < 1.5 * native:
        return times, values * parts
    start = int(forecast.first_target_at.timestamp()) * 1_000_000
    cells, member, counts = np.unique((times - start) // step, return_inverse=True, return_counts=True)
    return start + cells * step, np.bincount(member, weights=values) / counts * parts


def in_words(chart: dict[str, Any], forecast: Forecast) -> str:
    """The chart for those who do not see it."""
    unit = f" {forecast.unit}" if forecast.unit else ""
    return (
        f"The median runs from {np.min(forecast.p50):.4g} to {np.max(forecast.p50):.4g}{unit}; "
        f"the band from 10 % to 90 % lies between {np.min(forecast.p10):.4g} and {np.max(forecast.p90):.4g}{unit}. "
        f"{'The readings before it are drawn as well. ' if 'readings' in chart else ''}"
        "All numbers stand in the table below."
    )
