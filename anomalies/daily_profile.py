"""What a metric usually is at each time of the day, so that what is usual by day is told from the same at night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
HOURS = 24
MIN_DAYS = 4  # of a kind of day, before an hour of it is compared with the same hour of the others
FOLDS = 5  # days left out in turn
LEAST_SPREAD = (
    0.25  # of an hour, as a share of the spread over all hours: a still hour is no proof of stillness
)
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday, Monday being 0
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class DailyProfile:
    """centre and spread (interquartile range): shape (kinds of day, 24, m), in the units of the metrics, no NaN.

    One kind of day, or two: working days and weekends. offset_us: how far into its hour the middle of an hour's rows
    lies. Days, hours and weekends are of UTC.
    """

    centre: Floats
    spread: Floats
    offset_us: float

    def as_dict(self) -> dict[str, object]:
        return {
            "centre": self.centre.tolist(),
            "spread": self.spread.tolist(),
            "offset_us": self.offset_us,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], metrics: int) -> Self:
        """Raises ValueError, KeyError or TypeError when it is none of so many metrics."""
        centre = np.asarray(told["centre"], dtype=np.float64)
        spread = np.asarray(told["spread"], dtype=np.float64)
        if centre.shape not in ((1, HOURS, metrics), (2, HOURS, metrics)) or spread.shape != centre.shape:
            raise ValueError("a number for each hour and metric is needed")
        offset_us = float(told["offset_us"])
        if not (np.isfinite(centre).all() and np.isfinite(spread).all() and 0 <= offset_us < HOUR_US):
            raise ValueError("its numbers must be finite, and its offset less than an hour")
        if (spread <= 0).any():
            raise ValueError("its spreads must be positive")
        return cls(centre, spread, offset_us)

    def residuals(self, times_us: Times, values: Floats) -> Floats:
        """How far each value is from what is usual at its time, in spreads of that time, shape (n, m)."""
        return np.asarray((values - self._at(self.centre, times_us)) / self.spread_at(times_us))

    def spread_at(self, times_us: Times) -> Floats:
        """In the units of the metrics, shape (n, m)."""
        return self._at(self.spread, times_us)

    def _at(self, hourly: Floats, times_us: Times) -> Floats:
        """Between the hours in a straight line."""
        kind = _is_weekend(times_us).astype(int) if len(hourly) == 2 else np.zeros(len(times_us), int)
        at = (times_us % DAY_US - self.offset_us) / HOUR_US
        before = np.floor(at).astype(int)
        last, following = hourly[kind, before % HOURS], hourly[kind, (before + 1) % HOURS]
        return np.asarray(last + (at - before)[:, None] * (following - last))


def learned(times_us: Times, values: Floats) -> DailyProfile:
    """From rows in order of time, at least one. With fewer than MIN_DAYS days every hour is the median of all rows;
    weekends are apart once there are as many days of them, and of the others."""
    return _learned(times_us, values, _kinds_of_day(times_us))


def left_out_residuals(times_us: Times, values: Floats) -> Floats:
    """The residuals of rows by profiles that have not seen their day, so that they are as wide as those to come."""
    kinds = _kinds_of_day(times_us)
    if kinds == 0:
        return _learned(times_us, values, kinds).residuals(times_us, values)
    fold = np.empty(len(times_us), dtype=np.int64)
    weekend = _is_weekend(times_us)
    for kind in (weekend, ~weekend) if kinds == 2 else (np.ones_like(weekend),):
        fold[kind] = np.unique(times_us[kind] // DAY_US, return_inverse=True)[1] % FOLDS
    residuals = np.empty_like(values)
    for out in (fold == one for one in range(FOLDS)):
        if out.any():
            profile = _learned(times_us[~out], values[~out], kinds)
            residuals[out] = profile.residuals(times_us[out], values[out])
    return residuals


def _kinds_of_day(times_us: Times) -> int:
    """That can be told apart: none, all days as one, working days and weekends."""
    weekend = _is_weekend(times_us)
    if min(_days(times_us[weekend]), _days(times_us[~weekend])) >= MIN_DAYS:
        return 2
    return 1 if _days(times_us) >= MIN_DAYS else 0


def _learned(times_us: Times, values: Floats, kinds: int) -> DailyProfile:
    offset = float(np.mean(times_us % HOUR_US))
    if kinds == 0:
        flat = np.tile(np.median(values, axis=0), (1, HOURS, 1))
        return DailyProfile(flat, np.tile(_positive(_spread(values)), (1, HOURS, 1)), offset)
    weekend = _is_weekend(times_us)
    found = [
        _by_hour(times_us[kind], values[kind])
        for kind in ((~weekend, weekend) if kinds == 2 else (np.ones_like(weekend),))
    ]
    centre, spread = (np.stack(of) for of in zip(*found, strict=True))
    in_units = DailyProfile(centre, np.ones_like(spread), offset).residuals(times_us, values)
    overall = _spread(in_units)
    least = LEAST_SPREAD * np.where(overall > 0, overall, spread.max(axis=(0, 1)))
    return DailyProfile(centre, np.maximum(spread, _positive(least)), offset)


def _by_hour(times_us: Times, values: Floats) -> tuple[Floats, Floats]:
    """Median and interquartile range of each hour, shape (24, m) each; an hour without rows lies between its
    neighbours."""
    hour = times_us % DAY_US // HOUR_US
    known = np.unique(hour)
    quarters = np.stack([np.quantile(values[hour == one], (0.25, 0.5, 0.75), axis=0) for one in known])
    whole = np.empty((HOURS, 3, values.shape[1]))
    for quarter in range(3):
        for metric in range(values.shape[1]):
            whole[:, quarter, metric] = np.interp(
                np.arange(HOURS), known, quarters[:, quarter, metric], period=HOURS
            )
    return whole[:, 1], whole[:, 2] - whole[:, 0]


def _spread(values: Floats) -> Floats:
    low, high = np.quantile(values, (0.25, 0.75), axis=0)
    return np.asarray(high - low)


def _positive(spread: Floats) -> Floats:
    return np.where(spread > 0, spread, 1.0)


def _is_weekend(times_us: Times) -> NDArray[np.bool_]:
    return np.asarray((times_us // DAY_US + EPOCH_WEEKDAY) % 7 >= SATURDAY)


def _days(times_us: Times) -> int:
    return int(np.unique(times_us // DAY_US).size)
