"""A detection and the readings it looked at, shaped for the chart."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from anomalies.models import Detection, SeriesSource
from features import history
from features.models import Asset
from features.overview import interval_of, line

MOST_DRAWN = 6_000  # readings; a chart is some hundred pixels wide


def flagged_chart(detection: Detection, asset: Asset | None) -> dict[str, Any]:
    """What fan-chart.js draws: the readings of the window as a line, the flagged ones as dots.

    Readings are there when the detection looked at stored ones: a series that was sent with the request was
    not kept, and the stored readings of that name may be of something else.
    """
    drawn = [anomaly for anomaly in detection.anomalies if anomaly["value"] is not None]
    chart: dict[str, Any] = {
        "zone": asset.timezone if asset else "UTC",
        "unit": detection.unit,
        "window": [int(detection.first_at.timestamp()), int(detection.last_at.timestamp())],
        "flagged": {
            "time": [int(datetime.fromisoformat(anomaly["timestamp"]).timestamp()) for anomaly in drawn],
            "value": [anomaly["value"] for anomaly in drawn],
        },
    }
    if asset is None or detection.series_source != SeriesSource.STORED:
        return chart
    times, values = history.window(
        tenant_id=detection.tenant_id,
        asset_id=detection.asset_id,
        start=detection.first_at,
        before=detection.last_at + timedelta(microseconds=1),
    )
    if times.size:
        interval = interval_of(asset, times)
        kept, stretch = thinned(values, MOST_DRAWN)
        chart["readings"] = line(times[kept], values[kept], interval * stretch)
    return chart


def thinned(values: history.Values, most: int) -> tuple[history.Times, int]:
    """Which readings draw the same picture: the least and the largest of each stretch, `most` in all.

    Returns:
        Their places, increasing; and how many readings may lie between two of them that are neighbours.

    >>> thinned(np.array([5.0, 9, 6, 5, 1, 5, 5, 5]), 4)
    (array([0, 1, 4, 5]), 8)
    >>> thinned(np.array([5.0, 9, 6]), 4)
    (array([0, 1, 2]), 1)
    """
    if values.size <= most:
        return np.arange(values.size), 1
    size = -(-values.size // (most // 2))
    rows = np.pad(values, (0, -values.size % size), mode="edge").reshape(-1, size)
    starts = np.arange(len(rows)) * size
    extremes = np.concatenate((starts + rows.argmin(axis=1), starts + rows.argmax(axis=1)))
    return np.unique(np.minimum(extremes, values.size - 1)), 2 * size


def in_words(detection: Detection) -> str:
    """The chart for those who do not see it."""
    told = (
        f"{detection.anomalies_detected} of {detection.total_points} points from {detection.first_at:%Y-%m-%d %H:%M} "
        f"to {detection.last_at:%Y-%m-%d %H:%M} UTC were flagged."
    )
    return f"{told} All of them stand in the table below." if detection.anomalies else told
