"""From raw readings to a regular grid, from a grid to target times; which days are holidays at the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import holidays
import numpy as np
from numpy.typing import NDArray

from features.grid import distinct, mean_per_cell, usual_distance
from forecasting.errors import ReadingsTooFarApart, SeriesTooShort
from forecasting.series import Calendar, Covariates, Series

MIN_POINTS = 2
MAX_NATIVE_MINUTES = 2 * 1440  # what lies between readings further apart was not seen by anybody
MAX_GRID = 131_072  # 15-minute readings of 3.7 years; older ones no longer change a forecast
FINER, COARSER = 0.75, 1.5  # intervals: readings at most so far apart, and readings further apart
_US_PER_MINUTE = 60_000_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def regular_series(
    times: Ints, values: Floats, interval_minutes: int, *, adds_up: bool = False
) -> tuple[Series, tuple[str, ...]]:
    """Put raw readings on a regular grid that ends with the last reading.

    Args:
        times: epoch microseconds, UTC, shape (n,); in any order, with duplicates and gaps.
        values: shape (n,), in the unit of the series. A NaN or infinite value is no reading.
        interval_minutes: distance of two points of the grid, 15..1440.
        adds_up: whether values add up over time, as energy (kWh) does and power (kW) does not.

    Returns:
        The series (NaN where there is no reading) and warnings in plain language. Readings finer than
        the interval are averaged into it, or summed when they add up; the last interval then ends with
        the last reading, so that none is half full. Coarser readings are interpolated, or shared out.
        Readings that keep their own phase (seven minutes past) keep it.

    Raises:
        SeriesTooShort: fewer than two readings at different times, or within the last MAX_GRID intervals.
        ReadingsTooFarApart: more than two days from one reading to the next, by the median.
    """
    known, readings, warnings = _usable(times, values)
    step = interval_minutes * _US_PER_MINUTE
    native = usual_distance(known)
    if native > MAX_NATIVE_MINUTES * _US_PER_MINUTE:
        raise ReadingsTooFarApart(days=f"{native / _US_PER_MINUTE / 1440:.3g}")
    cells, last = _cells(known, step, native)
    length = int(min(MAX_GRID, 1 - cells[0]))
    warnings.extend(_resampling_warning(native, interval_minutes, adds_up=adds_up))
    if length <= -int(cells[0]):
        warnings.append(f"Only the last {length} intervals of the history were used.")
    if native > COARSER * step:
        grid = _interpolated(known, readings, last - step * np.arange(length - 1, -1, -1), native)
    else:
        grid = mean_per_cell(cells + length - 1, readings, length)
    if adds_up and not FINER * step < native <= COARSER * step:
        grid *= step / native  # the mean of a part, times the parts: a missing part is taken as the others
    if (have := int(np.isfinite(grid).sum())) < MIN_POINTS and length == MAX_GRID:
        raise SeriesTooShort(have=have, need=MIN_POINTS)  # one stray time, far ahead of all others
    first = int(np.argmax(np.isfinite(grid)))
    grid = grid[first:]
    warnings.extend(_gap_warning(grid, interval_minutes))
    start = np.datetime64(last - step * (grid.size - 1), "us")
    return Series(start=start, interval_minutes=interval_minutes, values=grid), tuple(warnings)


def target_times(series: Series, steps: int) -> NDArray[np.datetime64]:
    """Times to forecast, UTC, shape (steps,), datetime64[s]; the first follows the last reading.

    >>> hourly = Series(np.datetime64("2026-01-01T00:00", "us"), 60, np.zeros(3))
    >>> target_times(hourly, 2)
    array(['2026-01-01T03:00:00', '2026-01-01T04:00:00'], dtype='datetime64[s]')
    """
    return grid_times(series, first=series.values.size, count=steps)


def grid_times(series: Series, first: int = 0, count: int | None = None) -> NDArray[np.datetime64]:
    """Times of the grid from index `first` on, UTC, datetime64[s]; past its end they go on."""
    count = series.values.size - first if count is None else count
    minutes = series.interval_minutes * np.arange(first, first + count)
    return (series.start + minutes * np.timedelta64(60_000_000, "us")).astype("datetime64[s]")


def moment_of(time: np.datetime64) -> datetime:
    """A UTC time of the grid as Django and JSON want it.

    >>> moment_of(np.datetime64("2026-01-01T03:00", "s"))
    datetime.datetime(2026, 1, 1, 3, 0, tzinfo=datetime.timezone.utc)
    """
    found: datetime = time.astype("datetime64[us]").item()
    return found.replace(tzinfo=UTC)


def is_holiday(days: Ints, calendar: Calendar) -> NDArray[np.bool_]:
    """Whether local days (counted from 1970-01-01) are public holidays; False without a country."""
    if calendar.country is None or days.size == 0:
        return np.zeros(days.shape, dtype=np.bool_)
    first, last = int(days.min()), int(days.max())
    flags = np.zeros(last - first + 1, dtype=np.bool_)
    for year in range(_year(first), _year(last) + 1):
        off = _holidays_of(calendar.country, calendar.subdivision, year)
        off = off[(off >= first) & (off <= last)]
        flags[off - first] = True
    return np.asarray(flags[days - first])


def has_holidays(calendar: Calendar) -> bool:
    """Whether the package `holidays` knows the calendar's country (and subdivision)."""
    return (
        calendar.country is not None and _holidays_of(calendar.country, calendar.subdivision, 2024).size > 0
    )


def covariates_on_grid(
    readings: Mapping[str, tuple[Ints, Floats]], series: Series, steps: int
) -> Covariates | None:
    """Bring readings of other quantities onto the grid of the series and its target times.

    Args:
        readings: by name, times in epoch microseconds (any order) and values; those after the last
            reading of the series are the known future.
        series, steps: the grid and how far it is continued.

    Returns:
        Values interpolated between readings no further apart than three hours or three intervals, NaN
        elsewhere; None without readings.
    """
    if not readings:
        return None
    grid = grid_times(series, count=series.values.size + steps).astype("datetime64[us]").astype(np.int64)
    reach = float(max(180, 3 * series.interval_minutes) * _US_PER_MINUTE)
    columns = []
    for times, values in readings.values():
        finite = np.isfinite(values)
        known, merged = distinct(times[finite], values[finite])
        empty = np.full(grid.size, np.nan)
        columns.append(_interpolated(known, merged, grid, reach) if known.size else empty)
    table = np.column_stack(columns)
    n = series.values.size
    return Covariates(names=tuple(readings), past=table[:n], future=table[n:])


def _usable(times: Ints, values: Floats) -> tuple[Ints, Floats, list[str]]:
    """Finite readings at distinct, increasing times, and what was left out or merged on the way."""
    warnings = []
    finite = np.isfinite(values)
    if dropped := int(values.size - finite.sum()):
        warnings.append(f"Readings without a finite value: {dropped}; they were left out.")
    known, readings = distinct(times[finite], values[finite])
    if known.size < MIN_POINTS:
        raise SeriesTooShort(have=int(known.size), need=MIN_POINTS)
    if repeated := int(finite.sum() - known.size):
        warnings.append(f"Readings that repeat a time: {repeated}; their values were averaged.")
    return known, readings, warnings


def _cells(known: Ints, step: int, native: float) -> tuple[Ints, int]:
    """The interval of each reading, the last one 0 and those before it negative, and the time at which that one begins.

    Readings finer than the intervals fill the last one up to its end, so that it is not half full.
    """
    if native > FINER * step:
        last = int(known[-1])
        cells = np.rint((known - last) / step).astype(np.int64)
    else:
        end = int(known[-1]) + round(native)
        last = end - step
        cells = -((end - known - 1) // step) - 1
    return cells - cells[-1], last


def _resampling_warning(native: float, interval_minutes: int, *, adds_up: bool) -> Sequence[str]:
    come = f"Readings come every {native / _US_PER_MINUTE:g} minutes"
    if native <= FINER * interval_minutes * _US_PER_MINUTE:
        merged = "summed" if adds_up else "averaged"
        return [f"{come} and were {merged} over {interval_minutes} minutes."]
    if native > COARSER * interval_minutes * _US_PER_MINUTE:
        parted = "shared out" if adds_up else "interpolated"
        return [
            f"{come}; values every {interval_minutes} minutes between them are {parted}. Errors and bands were "
            "measured on those, not on readings."
        ]
    return []


def _interpolated(known: Ints, values: Floats, grid: Ints, reach: float) -> Floats:
    """Linear between neighbours at most 1.5 `reach` (microseconds) apart; NaN elsewhere."""
    right = np.clip(np.searchsorted(known, grid), 0, known.size - 1)
    left = np.clip(np.searchsorted(known, grid, side="right") - 1, 0, known.size - 1)
    between = (known[left] <= grid) & (known[right] >= grid) & (known[right] - known[left] <= 1.5 * reach)
    return np.where(between, np.interp(grid, known, values), np.nan)


def _gap_warning(grid: Floats, interval_minutes: int) -> Sequence[str]:
    missing = np.isnan(grid)
    if not missing.any():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate(([False], missing, [False])).astype(np.int8)))
    longest = int((edges[1::2] - edges[::2]).max()) * interval_minutes / 60
    return [
        f"{int(missing.sum())} of {grid.size} intervals have no reading "
        f"(the longest gap is {longest:g} h); they were filled from the same hours of other days."
    ]


def _year(day: int) -> int:
    return int(np.datetime64(day, "D").astype("datetime64[Y]").astype(np.int64)) + 1970


@lru_cache(maxsize=512)
def _holidays_of(country: str, subdivision: str | None, year: int) -> Ints:
    try:
        dates = holidays.country_holidays(country, subdiv=subdivision, years=year)
    except NotImplementedError:
        return np.array([], dtype=np.int64)
    return np.array(sorted(np.datetime64(date, "D").astype(np.int64) for date in dates), dtype=np.int64)
