"""What a forecast is made from: readings on a grid, a calendar, and what is known beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Series:
    """Readings on a regular grid of UTC times.

    values: shape (n,), in the unit of the series; NaN where there is no reading. The first and the
        last value are readings.
    start: time of `values[0]`, UTC.
    interval_minutes: distance of two grid points.
    """

    start: np.datetime64
    interval_minutes: int
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Whose clock and whose holidays people at the site live by."""

    timezone: str = "UTC"
    country: str | None = None  # ISO 3166-1 alpha-2, as the package `holidays` knows it
    subdivision: str | None = None


@dataclass(frozen=True, slots=True)
class Covariates:
    """What is known beside the series: weather, prices, plans.

    names: k names.
    past: shape (n, k), on the grid of the series; NaN where unknown.
    future: shape (steps, k), on the target times; NaN where unknown.
    """

    names: tuple[str, ...]
    past: NDArray[np.float64]
    future: NDArray[np.float64]
