"""A series cut into days on the site's own clock, gaps filled and wild values tamed.

People live by the clock on the wall, so "the same hour yesterday" is counted there. The days end with
the last reading: day 0 of the forecast is the 24 hours after it, whatever time that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.grid import utc_offsets, weekdays
from forecasting.forecasters.base import Problem
from forecasting.horizon import grid_times, has_holidays, is_holiday

MAX_DAYS = 730
MAX_ROWS = 40_000  # readings the learned forecasters look back on: they cost in proportion to it
WEEK = 7
FORTNIGHT = 14
CLEARLY = 0.8  # the errors of one clock, as a share of the other's, that make it the site's

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Days:
    """n whole days of P slots each, oldest first, and the days ahead to forecast.

    wall: shape (w,), all of the history on the site's clock, filled; w >= n * P.
    wall_seen: shape (w,), False where `wall` was filled.
    values, seen: shape (n, P), the whole days at the end of `wall`.
    ahead: how many days the horizon touches.
    weekday, holiday: shape (n + ahead, P).
    hour: shape (P,), local hour of each slot.
    covariates: shape (k, n + ahead, P), finite; `covariate_names` has k names.
    positions: shape (steps,), where each target time falls, in slots after the last reading.
    floor: no forecast goes below it (0.0 for a series never negative, -inf otherwise).
    unit: a power of two; all values of the series are divided by it, so that their size is near one.
    """

    wall: Floats
    wall_seen: Bools
    values: Floats
    seen: Bools
    ahead: int
    slot_minutes: int
    weekday: Ints
    holiday: Floats
    day_of_year: Floats
    hour: Floats
    covariates: Floats
    covariate_names: tuple[str, ...]
    positions: Floats
    floor: float
    unit: float
    warnings: tuple[str, ...]

    @property
    def count(self) -> int:
        return int(self.values.shape[0])

    @property
    def slots(self) -> int:
        return 1440 // self.slot_minutes


def cut_into_days(problem: Problem) -> Days:
    """Prepare a problem for the forecasters. Any series with a reading will do."""
    series, calendar = problem.series, problem.calendar
    warnings: list[str] = []
    if calendar.country is not None and not has_holidays(calendar):
        warnings.append(f"No public holidays are known for {calendar.country}.")
    slot_minutes = _slot_minutes(problem)
    per_day = 1440 // slot_minutes
    spacing = series.interval_minutes / slot_minutes
    n = series.values.size
    times = grid_times(series, count=n + problem.steps)
    minutes = (times.astype(np.int64) + _site_offsets(problem, times)) / 60.0
    positions = (minutes - minutes[n - 1]) / slot_minutes
    unit = _unit(series.values)
    cleaned, clipped = _clipped(series.values / unit, max(1, round(1440 / series.interval_minutes)))
    if clipped:
        warnings.append(f"{clipped} readings far outside the usual range were cut back to it.")
    first = int(np.ceil(positions[:n].min() - 1e-9))
    wall = _on_the_wall(positions[:n], first, 1 - first, cleaned, spacing)
    seen = np.isfinite(wall)
    floor = 0.0 if np.nanmin(series.values) >= 0 else -np.inf
    wall = np.maximum(fill_gaps(wall, per_day), floor)
    target = positions[n:] - 1.0
    ahead = int((target.max() + 1e-9) // per_day) + 1
    count = min(wall.size // per_day, MAX_DAYS, max(60, MAX_ROWS // per_day))
    used, coming = count * per_day, ahead * per_day
    columns, names, notes = _covariates_on_the_wall(problem, positions, used, coming)
    clock = minutes[n - 1] + slot_minutes * np.arange(1 - used, coming + 1)
    day = np.floor(clock / 1440.0).astype(np.int64)
    dates = day.astype("datetime64[D]")
    shape = (count + ahead, per_day)
    return Days(
        wall=wall,
        wall_seen=seen,
        values=wall[wall.size - used :].reshape(count, per_day),
        seen=seen[wall.size - used :].reshape(count, per_day),
        ahead=ahead,
        slot_minutes=slot_minutes,
        weekday=weekdays(day).reshape(shape),
        holiday=is_holiday(day, calendar).astype(np.float64).reshape(shape),
        day_of_year=(dates - dates.astype("datetime64[Y]")).astype(np.float64).reshape(shape),
        hour=(clock[-per_day:] % 1440) / 60.0,
        covariates=np.array(columns).reshape(len(names), *shape),
        covariate_names=names,
        positions=target,
        floor=floor,
        unit=unit,
        warnings=(*warnings, *notes),
    )


def _site_offsets(problem: Problem, times: NDArray[np.datetime64]) -> Ints:
    """Seconds that the clock the site goes by is ahead of UTC: the wall's, or standard time all year."""
    series = problem.series
    offsets = utc_offsets(times.astype(np.int64), problem.calendar.timezone)
    if keeps_standard_time(series.values, offsets[: series.values.size], series.interval_minutes):
        return np.full_like(offsets, offsets.min())
    return offsets


def keeps_standard_time(values: Floats, offsets: Ints, interval_minutes: int) -> bool:
    """Whether a series went on by the sun or a switch when the clocks on the wall were changed.

    Night storage heating on a time switch and PV do. In the fortnight after each change the mean profile
    of the day is compared with that of the fortnight before it, once by the clock on the wall and once
    without the change; the wall keeps the days unless it is clearly worse.

    Args:
        values: shape (n,), NaN where nothing was read, `interval_minutes` apart.
        offsets: shape (n,), seconds the site's clock is ahead of UTC.

    Returns:
        False also where no change lies in the history, less than a week is known after it, or the
        change is no whole number of intervals.
    """
    per_day, rest = divmod(1440, interval_minutes)
    fortnight = FORTNIGHT * per_day
    moved = (offsets[fortnight:] - offsets[:-fortnight]) // 60
    after = np.flatnonzero(moved) + fortnight
    shift = moved[after - fortnight] // interval_minutes
    if rest or after.size < WEEK * per_day or (moved % interval_minutes).any():
        return False
    after, shift = after[after - fortnight + shift >= 0], shift[after - fortnight + shift >= 0]
    slot = after % per_day + per_day * (shift > 0)
    worse = []
    for back in (fortnight - shift, np.full_like(shift, fortnight)):
        change = values[after] - values[after - back]
        known = np.isfinite(change)
        worse.append(float(np.abs(np.bincount(slot[known], change[known])).sum()))
    on_the_wall, unchanged = worse
    return unchanged < CLEARLY * on_the_wall


def _slot_minutes(problem: Problem) -> int:
    """The interval, or the longest shorter one that divides the day."""
    return max(d for d in range(1, problem.series.interval_minutes + 1) if 1440 % d == 0)


def _unit(values: Floats) -> float:
    size = np.abs(values)
    largest = float(np.nanquantile(size, 0.9)) or float(np.nanmax(size))
    return 2.0 ** np.floor(np.log2(largest)) if largest > 0 else 1.0


def fill_gaps(values: Floats, per_day: int) -> Floats:
    """Fill NaN: up to three hours by a line, longer gaps by last week shifted to the known neighbours.

    A gap filled with last week's bare values drags its level along; shifted so that it meets the
    readings on both sides it does not. Where there is no last week, yesterday serves, else a line.
    Values before the first reading repeat it. At least one value must be finite.

    >>> fill_gaps(np.array([1.0, np.nan, 3.0]), per_day=24)
    array([1., 2., 3.])
    """
    missing = np.isnan(values)
    if not missing.any():
        return values.copy()
    known = np.flatnonzero(~missing)
    filled = np.interp(np.arange(values.size), known, values[known])
    edges = np.flatnonzero(np.diff(np.concatenate(([False], missing, [False])).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    long = (ends - starts > max(1, per_day // 8)) | (ends == values.size)
    for start, end in zip(starts[long], ends[long], strict=True):
        back = WEEK * per_day if start >= WEEK * per_day else per_day
        if start < back:
            continue
        pattern = filled[start - back + np.arange(end - start) % back]
        left = filled[start - 1] - filled[start - 1 - back] if start > back else 0.0
        right = filled[end] - filled[start - back + (end - start) % back] if end < values.size else left
        filled[start:end] = pattern + np.linspace(left, right, end - start + 2)[1:-1]
    return np.asarray(filled)


def _clipped(values: Floats, per_day: int) -> tuple[Floats, int]:
    """Values cut back to two ranges beyond the 2nd and 98th percentile, and how many there were.

    Not when a good part of the last day lies outside: that is a new level, not an error. A series
    that is constant but for less than 2 % of its readings becomes constant.
    """
    low, high = np.nanpercentile(values, [2.0, 98.0])
    reach = 2.0 * (high - low)
    wild = (values < low - reach) | (values > high + reach)
    recent = wild[-per_day:]
    if not wild.any() or recent.sum() > max(1, 0.2 * recent.size) or values.size < 2 * per_day:
        return values, 0
    return np.clip(values, low - reach, high + reach), int(wild.sum())


def _on_the_wall(slots: Floats, first: int, size: int, values: Floats, spacing: float) -> Floats:
    """Values by slot on the wall clock, shape (size,), from slot `first` on; NaN where there is none.

    slots: where each value falls. At a `spacing` of one slot the hour that autumn repeats is averaged.
    Where readings are further apart than slots, values between two neighbours lie on a line.
    """
    known = np.isfinite(values)
    slots, values = slots[known], values[known]
    if spacing == 1.0:
        index = np.rint(slots).astype(np.int64) - first
        inside = (index >= 0) & (index < size)
        counts = np.bincount(index[inside], minlength=size)
        sums = np.bincount(index[inside], weights=values[inside], minlength=size)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    if slots.size == 0:
        return np.full(size, np.nan)
    order = np.argsort(slots, kind="stable")
    slots, values = slots[order], values[order]
    every = np.arange(first, first + size, dtype=np.float64)
    right = np.minimum(np.searchsorted(slots, every - 1e-9), slots.size - 1)
    left = np.maximum(np.searchsorted(slots, every + 1e-9, side="right") - 1, 0)
    between = (slots[right] >= every - 1e-9) & (slots[left] <= every + 1e-9)
    near = slots[right] - slots[left] <= 1.5 * spacing
    return np.where(between & near, np.interp(every, slots, values), np.nan)


def _covariates_on_the_wall(
    problem: Problem, positions: Floats, used: int, coming: int
) -> tuple[list[Floats], tuple[str, ...], list[str]]:
    """Covariates with something to say, each of shape (used + coming,) and finite; names; warnings.

    positions: shape (n + steps,), slots where the grid and the target times fall, the last reading at 0.
    """
    columns: list[Floats] = []
    names: list[str] = []
    notes: list[str] = []
    unknown_ahead: list[str] = []
    given = problem.covariates
    slot_minutes = _slot_minutes(problem)
    spacing = problem.series.interval_minutes / slot_minutes
    if given is None or used == 0:
        return columns, (), notes
    for k, name in enumerate(given.names):
        past, future = given.past[:, k], given.future[:, k]
        known = np.isfinite(past)
        if not known.any():
            notes.append(f"{name} was not used: its past is unknown.")
            continue
        if not np.isfinite(future).any():
            unknown_ahead.append(name)
            continue
        if np.ptp(past[known]) <= 1e-9 * float(np.abs(past[known]).max()):
            notes.append(f"{name} was not used: it never changed.")
            continue
        both = np.concatenate((past, future))
        table = _on_the_wall(positions, 1 - used, used + coming, both, spacing)
        if np.isfinite(table[:used]).mean() < 0.5 or np.isfinite(table[used:]).mean() < 0.5:
            notes.append(f"{name} was not used: less than half of its values are known.")
            continue
        if not np.isfinite(future).all():
            notes.append(f"{name} is not known for every step; earlier days stand in for it.")
        columns.append(_continued(table, 1440 // slot_minutes))
        names.append(name)
    if unknown_ahead:
        notes.append(_not_known_ahead(unknown_ahead))
    return columns, tuple(names), notes


def _not_known_ahead(names: list[str]) -> str:
    """One sentence for all of them: a site with weather stored has many.

    >>> _not_known_ahead(["temperature", "humidity"])[:73]
    'The values of temperature and humidity ahead are not known, so they were '
    """
    if len(names) > 3:
        listed = f"{names[0]}, {names[1]} and {len(names) - 2} more"
    else:
        listed = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
    pronoun = "they were" if len(names) > 1 else "it was"
    return (
        f"The values of {listed} ahead are not known, so {pronoun} not used. "
        "Store a weather forecast (POST /ai/features/weather) or send features."
    )


def _continued(table: Floats, per_day: int) -> Floats:
    """Gaps filled; what is missing at the end repeats the last known day."""
    last = int(np.flatnonzero(np.isfinite(table))[-1]) + 1
    filled = fill_gaps(table[:last], per_day)
    missing = np.arange(table.size - last)
    day = filled[-per_day:]
    return np.concatenate((filled, day[missing % day.size]))


def at_targets(days: Days, table: Floats) -> Floats:
    """Values of a table (A, P, q) at the target times, shape (steps, q); lines between slots."""
    flat = table.reshape(-1, table.shape[2])
    low = np.clip(np.floor(days.positions + 1e-9).astype(np.int64), 0, flat.shape[0] - 1)
    high = np.minimum(low + 1, flat.shape[0] - 1)
    part = np.clip(days.positions - low, 0.0, 1.0)[:, None]
    part = np.where(part < 1e-6, 0.0, part)
    between = flat[low] * (1.0 - part) + flat[high] * part
    return np.where(part == 0.0, flat[low], between)
