"""What is known beside a series: stored weather and metrics for the past, the request for the time ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from features import history
from features.models import WEATHER_COLUMNS
from forecasting.errors import FeatureLengthMismatch
from forecasting.forecasters.base import Covariates, Series
from forecasting.horizon import covariates_on_grid, moment_of, target_times

Readings = dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]


def known_beside(
    *,
    tenant_id: str,
    asset_id: str,
    series: Series,
    steps: int,
    as_of: datetime,
    given: Mapping[str, Sequence[float] | float],
    as_known_at: datetime | None = None,
) -> tuple[Covariates | None, list[str]]:
    """The covariates of a forecast, and warnings about those that could not be used.

    A covariate needs a past to learn from (stored weather, or readings of a metric of that name) and
    values ahead: those `given`, else stored weather that was known at `as_of`. What reached us after
    `as_known_at` is left out; None for nothing.
    """
    targets = target_times(series, steps)
    start, end = moment_of(series.start), moment_of(targets[-1]) + timedelta(minutes=series.interval_minutes)
    readings = _weather_known_at(tenant_id, asset_id, start, end, as_of, as_known_at)
    warnings = []
    for name, values in given.items():
        ahead = _one_for_each_step(name, values, steps)
        past = readings.get(name) or _metric(
            tenant_id, asset_id, name, start, moment_of(targets[0]), as_known_at
        )
        if past is None:
            warnings.append(f"The feature {name!r} has no stored past to learn from, so it was not used.")
            continue
        targets_us = targets.astype("datetime64[us]").astype(np.int64)
        before = past[0] < targets_us[0]
        readings[name] = (
            np.concatenate([past[0][before], targets_us]),
            np.concatenate([past[1][before], ahead]),
        )
    return covariates_on_grid(readings, series, steps), warnings


def _weather_known_at(
    tenant_id: str,
    asset_id: str,
    start: datetime,
    end: datetime,
    as_of: datetime,
    as_known_at: datetime | None,
) -> Readings:
    """Weather of times before `as_of`, and for later times only what had arrived by then."""
    past = history.weather(
        tenant_id=tenant_id,
        asset_id=asset_id,
        start=start,
        before=min(end, as_of),
        as_known_at=as_known_at,
    )
    found: Readings = {name: (past.times_us, column) for name, column in past.columns.items()}
    if end > as_of:
        ahead = history.weather(
            tenant_id=tenant_id,
            asset_id=asset_id,
            start=as_of,
            before=end,
            as_known_at=min(as_of, as_known_at or as_of),
        )
        for name in found.keys() & ahead.columns.keys():
            found[name] = (
                np.concatenate([past.times_us, ahead.times_us]),
                np.concatenate([past.columns[name], ahead.columns[name]]),
            )
    return found


def _metric(
    tenant_id: str, asset_id: str, name: str, start: datetime, before: datetime, as_known_at: datetime | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    if name in WEATHER_COLUMNS:
        return None  # it was looked for among the weather already
    times, values = history.window(
        tenant_id=tenant_id,
        asset_id=asset_id,
        metric=name,
        start=start,
        before=before,
        as_known_at=as_known_at,
    )
    return (times, values) if times.size else None


def _one_for_each_step(name: str, values: Sequence[float] | float, steps: int) -> NDArray[np.float64]:
    ahead = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if ahead.size == 1:
        return np.full(steps, ahead[0])
    if ahead.size != steps:
        raise FeatureLengthMismatch(name=name, have=ahead.size, need=steps)
    return ahead
