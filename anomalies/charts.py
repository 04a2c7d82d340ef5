"""A detection and the readings it looked at, shaped for the chart."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from anomalies.models import Detection, SeriesSource
from features import history
from features.models import Asset
from features.overview import interval_of, line


def flagged_chart(detection: Detection, asset: Asset | None) -> dict[str, Any]:
    """What fan-chart.js draws: the readings of the window as a line, the flagged ones as dots.

    Readings are there when the detection looked at stored ones: a series that was sent with the request was
    not kept, and the stored readings of that name may be of something else.
    """
    drawn = [anomaly for anomaly in detection.anomalies if anomaly["value"] is not None]
    chart: dict[str, Any] = {
        "zone": asset.timezone if asset else "UTC",
        "unit": detection.unit,
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
        chart["readings"] = line(times, values, interval_of(asset, times))
    return chart


def in_words(detection: Detection) -> str:
    """The chart for those who do not see it."""
    return (
        f"{detection.anomalies_detected} of {detection.total_points} points from {detection.first_at:%Y-%m-%d %H:%M} "
        f"to {detection.last_at:%Y-%m-%d %H:%M} UTC were flagged. All of them stand in the table below."
    )
