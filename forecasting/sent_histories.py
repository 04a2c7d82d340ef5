"""Histories that came with requests: kept as the forecaster saw them, given back, dropped when their time is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from django.conf import settings

from forecasting.errors import HistoryNotKept
from forecasting.forecasters.base import Calendar, Problem, Series
from forecasting.horizon import moment_of
from forecasting.models import Forecast, SentHistory
from forecasting.packing import packed, unpacked

AT_ONCE = 1_000


def keep(forecast: Forecast, problem: Problem) -> None:
    """Nothing where this deployment keeps none."""
    if not settings.FORECAST_HISTORY_KEPT_DAYS:
        return
    series, calendar = problem.series, problem.calendar
    SentHistory(
        forecast=forecast,
        tenant_id=forecast.tenant_id,
        kept_since=forecast.made_at,
        start_at=moment_of(series.start),
        count=series.values.size,
        values=packed(series.values),
        timezone=calendar.timezone,
        country=calendar.country or "",
        subdivision=calendar.subdivision or "",
    ).save(force_insert=True)


def kept(forecast: Forecast) -> tuple[Series, Calendar]:
    """What the forecaster saw. Raises HistoryNotKept."""
    row = SentHistory.objects.for_tenant(forecast.tenant_id).filter(pk=forecast.pk).first()
    if row is None:
        raise HistoryNotKept(forecast_id=forecast.pk, reason=_why_not(forecast))
    start = np.datetime64(row.start_at.astimezone(UTC).replace(tzinfo=None), "us")
    series = Series(start, forecast.interval_minutes, unpacked(bytes(row.values), row.count))
    return series, Calendar(row.timezone, row.country or None, row.subdivision or None)


def drop_old(*, now: datetime) -> int:
    """Of all tenants, what was kept long enough; how many. The forecasts stay."""
    dropped = 0
    old = SentHistory.objects.older_than(now - timedelta(days=settings.FORECAST_HISTORY_KEPT_DAYS))
    while some := list(old.values_list("pk", flat=True)[:AT_ONCE]):
        dropped += SentHistory.objects.filter(pk__in=some).delete()[0]
    return dropped


def _why_not(forecast: Forecast) -> str:
    days = settings.FORECAST_HISTORY_KEPT_DAYS
    if not days:
        return "and this service keeps none (FORECAST_HISTORY_KEPT_DAYS is 0)"
    if forecast.made_at < datetime.now(UTC) - timedelta(days=days):
        return f"and was kept for {days} days (FORECAST_HISTORY_KEPT_DAYS), which are over"
    return "and none was kept then"
