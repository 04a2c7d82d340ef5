"""What a person wants to see of an asset: is it still read, where are its holes, what does it look like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Count, DateTimeField, Exists, ExpressionWrapper, OuterRef, Subquery, Value

from features import history
from features.history import GapSummary, Times, Values
from features.models import Asset, AssetQuerySet, Reading, Weather
from omarino.epoch import to_us

WEEK = timedelta(days=7)
CHART = timedelta(days=14)
LOOKED_AT = timedelta(days=366)
SILENT_AFTER = timedelta(days=2)  # meters are often read a day late
_US_PER_SECOND = 1_000_000


def with_last_reading(assets: AssetQuerySet) -> AssetQuerySet:
    """Adds last_reading_at, readings_of_last_week (the seven days up to it) and has_other_metrics.

    Each is a look into the readings' key for the assets of a page, however many readings there are.
    """
    of_asset = Reading.objects.filter(tenant_id=OuterRef("tenant_id"), asset_id=OuterRef("asset_id"))
    values = of_asset.filter(metric="value")
    a_week_before = ExpressionWrapper(OuterRef("last_reading_at") - Value(WEEK), DateTimeField())
    of_week = values.filter(timestamp__gt=a_week_before).order_by().values("asset_id")
    return assets.annotate(
        last_reading_at=Subquery(values.order_by("-timestamp").values("timestamp")[:1])
    ).annotate(
        readings_of_last_week=Subquery(of_week.annotate(count=Count("*")).values("count")),
        has_other_metrics=Exists(of_asset.exclude(metric="value")),
    )


def fullness(asset: Any) -> str:
    """Of an asset `with_last_reading`: how many readings its last week has, of how many it should have."""
    count: int = asset.readings_of_last_week or 0
    if not count or not asset.interval_minutes:
        return str(count)
    return f"{count} of {max(count, round(WEEK / timedelta(minutes=asset.interval_minutes)))}"


@dataclass(frozen=True, slots=True)
class State:
    """name: current, silent or empty."""

    name: str
    since: datetime | None


def state_of(last_reading_at: datetime | None, now: datetime) -> State:
    """Is it still read? Two days without a reading are silence."""
    if last_reading_at is None:
        return State("empty", None)
    return State("silent" if now - last_reading_at > SILENT_AFTER else "current", last_reading_at)


@dataclass(frozen=True, slots=True)
class Week:
    """start: of seven days of 24 hours; readings: how many of the expected there are."""

    start: datetime
    readings: int
    expected: int

    @property
    def share(self) -> float:
        return min(1.0, self.readings / self.expected)


@dataclass(frozen=True, slots=True)
class Portrait:
    """An asset's last year, as its page shows it. weeks: the newest first."""

    interval: timedelta
    gaps: GapSummary
    weeks: list[Week]
    line: dict[str, list[Any]]


def portrait(asset: Asset, *, last_reading_at: datetime, weeks: int = 8) -> Portrait:
    """The year up to the last reading: its gaps, how full its last weeks are, and a line to draw."""
    before = last_reading_at + timedelta(microseconds=1)
    key: dict[str, Any] = {"tenant_id": asset.tenant_id, "asset_id": asset.asset_id}
    times, values = history.window(**key, start=last_reading_at - LOOKED_AT, before=before)
    interval = interval_of(asset, times)
    end_us = to_us(before) + 1
    recent = times >= end_us - CHART // timedelta(microseconds=1)
    return Portrait(
        interval=interval,
        gaps=history.gaps(
            **key, interval=interval, start=last_reading_at - LOOKED_AT, before=before, limit=5
        ),
        weeks=_weeks(times, end_us, interval, weeks),
        line=line(times[recent], values[recent], interval),
    )


def interval_of(asset: Asset, times_us: Times) -> timedelta:
    """The asset's own interval, else the usual distance of these readings, else an hour."""
    if asset.interval_minutes:
        return timedelta(minutes=asset.interval_minutes)
    if times_us.size < 2:
        return timedelta(hours=1)
    return timedelta(microseconds=int(np.median(np.diff(times_us))))


def line(times_us: Times, values: Values, interval: timedelta) -> dict[str, list[Any]]:
    """Points to draw: seconds since 1970 and values, with a None in each gap, so that a line breaks there.

    >>> hours = np.array([0, 1, 4], dtype=np.int64) * 3_600_000_000
    >>> line(hours, np.array([5.0, 6.0, 7.0]), timedelta(hours=1))
    {'time': [0, 3600, 7200, 14400], 'value': [5.0, 6.0, None, 7.0]}
    """
    step = interval // timedelta(microseconds=1)
    (holes,) = np.nonzero(2 * np.diff(times_us) > 3 * step)
    times = np.insert(times_us, holes + 1, times_us[holes] + step)
    drawn = np.insert(values, holes + 1, np.nan)
    return {
        "time": (times // _US_PER_SECOND).tolist(),
        "value": [None if np.isnan(value) else value for value in drawn.tolist()],
    }


def _weeks(times_us: Times, end_us: int, interval: timedelta, count: int) -> list[Week]:
    """The last weeks counted back from the last reading, none of them before the first."""
    week_us = WEEK // timedelta(microseconds=1)
    edges = end_us - week_us * np.arange(count, -1, -1)
    readings, _ = np.histogram(times_us, bins=edges)
    expected = max(1, round(WEEK / interval))
    found = [
        Week(datetime.fromtimestamp(int(edge) / _US_PER_SECOND, UTC), int(number), expected)
        for edge, number in zip(edges[:-1], readings, strict=True)
        if times_us.size and edge + week_us > times_us[0]
    ]
    return found[::-1]


def belongings(asset: Asset) -> dict[str, int]:
    """What goes with an asset when it is removed, counted in words."""
    tenant_id, asset_id = asset.tenant_id, asset.asset_id
    return {
        "readings": Reading.objects.for_tenant(tenant_id).filter(asset_id=asset_id).count(),
        "times of weather": Weather.objects.for_tenant(tenant_id).filter(asset_id=asset_id).count(),
    }
