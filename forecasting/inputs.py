"""What a forecast is made from: the readings before a moment, and what is known beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from features import history
from features.models import Asset
from forecasting.covariates import known_beside
from forecasting.errors import NoReadings
from forecasting.forecasters.base import Calendar, Problem, Series
from forecasting.horizon import regular_series
from omarino.series import Points

HISTORY = timedelta(days=366)
HISTORY_OF_COARSE_SERIES = timedelta(days=5 * 366)  # a year of daily values teaches little
COARSE_MINUTES = 360
SEED = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides which rows a forecast is made from.

    as_known_at: what reached us later is left out; None for nothing.
    """

    tenant_id: str
    asset_id: str
    horizon_hours: int
    interval_minutes: int
    as_of: datetime
    given: Mapping[str, Sequence[float] | float]
    as_known_at: datetime | None = None


def stored_points(asked: Asked) -> Points:
    """The asset's readings before `as_of`, as far back as they still teach something. Raises NoReadings."""
    whose = {"tenant_id": asked.tenant_id, "asset_id": asked.asset_id}
    latest = history.latest_at(**whose, before=asked.as_of, as_known_at=asked.as_known_at)
    if latest is None:
        raise NoReadings(asset_id=asked.asset_id, before=f"{asked.as_of:%Y-%m-%d %H:%M} UTC")
    reach = HISTORY_OF_COARSE_SERIES if asked.interval_minutes > COARSE_MINUTES else HISTORY
    times, values = history.window(
        **whose, start=latest - reach, before=asked.as_of, as_known_at=asked.as_known_at
    )
    return Points(times, values)


def problem_of(asked: Asked, points: Points, asset: Asset | None) -> tuple[Problem, list[str]]:
    """What a forecaster is asked, and warnings on the way there."""
    series, warnings = regular_series(
        points.times_us, points.values, asked.interval_minutes, adds_up=asset is not None and asset.adds_up
    )
    problem, notes = problem_around(asked, series, calendar_of(asset))
    return problem, [*warnings, *notes]


def problem_around(asked: Asked, series: Series, calendar: Calendar) -> tuple[Problem, list[str]]:
    """A series with what is known beside it."""
    steps = -(-asked.horizon_hours * 60 // asked.interval_minutes)
    covariates, notes = known_beside(
        tenant_id=asked.tenant_id,
        asset_id=asked.asset_id,
        series=series,
        steps=steps,
        as_of=asked.as_of,
        given=asked.given,
        as_known_at=asked.as_known_at,
    )
    return Problem(series=series, steps=steps, calendar=calendar, covariates=covariates), notes


def calendar_of(asset: Asset | None) -> Calendar:
    if asset is None:
        return Calendar()
    return Calendar(asset.timezone, asset.country or None, asset.subdivision or None)


def digest_of(algorithm: str, problem: Problem) -> str:
    """sha256 of everything the answer is a function of."""
    series, covariates = problem.series, problem.covariates
    digest = hashlib.sha256(
        repr(
            (algorithm, str(series.start), series.interval_minutes, problem.steps, problem.calendar, SEED)
        ).encode()
    )
    digest.update(series.values.tobytes())
    if covariates is not None:
        digest.update(repr(covariates.names).encode())
        digest.update(np.ascontiguousarray(covariates.past).tobytes())
        digest.update(np.ascontiguousarray(covariates.future).tobytes())
    return digest.hexdigest()
