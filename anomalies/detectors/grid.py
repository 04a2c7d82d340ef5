"""Readings onto the grid they come on, and the grid folded into days on the site's own clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from anomalies.detectors.base import Flags, Floats, Ints, Problem

US_PER_MINUTE = 60_000_000
US_PER_DAY = 1440 * US_PER_MINUTE
MAX_SLOTS = 288  # a day; readings finer than five minutes share a slot
LONGEST_HOLE_DAYS = 28  # longer ones are cut to this: nothing is compared across them cell by cell


@dataclass(frozen=True, slots=True)
class Grid:
    """Training and window on one regular grid, in the order of time.

    times: epoch microseconds, shape (n,), increasing. values: NaN where nothing was read.
    in_window: from the window's first to its last time. was_sent: the window has an entry there.
    is_training: a reading the caller vouches for. day, slot: where the cell lies on the site's clock,
    days counted from the first; weekday: Monday is 0.
    """

    step_us: int
    times: Ints
    values: Floats
    in_window: Flags
    was_sent: Flags
    is_training: Flags
    day: Ints
    slot: Ints
    slots: int
    weekday: Ints  # of each day, shape (days,)

    @property
    def days(self) -> int:
        return int(self.weekday.size)


def on_grid(problem: Problem) -> Grid:
    """Put a problem on the grid its readings come on; needs one reading at least.

    The step is the median distance of two readings of the window (of all, when the window has fewer than
    ten). Repeated times are averaged. Cells keep the time that was sent, not the grid's, where there is one.
    """
    window = _distinct(problem.times, problem.values)
    training = _distinct(problem.training_times, problem.training_values)
    outside = (training[0] < window[0][0]) | (training[0] > window[0][-1])
    training = (training[0][outside], training[1][outside])
    times = np.concatenate((training[0], window[0]))
    order = np.argsort(times, kind="stable")
    times = times[order]
    values = np.concatenate((training[1], window[1]))[order]
    is_window = np.repeat([False, True], [training[0].size, window[0].size])[order]
    step = _step(window[0] if window[0].size >= 10 else times)
    cells = _cells(times, step)
    n = int(cells[-1]) + 1
    known = np.isfinite(values)
    counts = np.bincount(cells[known], minlength=n)
    sums = np.bincount(cells[known], weights=values[known], minlength=n)
    grid_times = _fill_times(times, cells, n, step)
    in_window = np.zeros(n, dtype=np.bool_)
    in_window[cells[is_window][0] : cells[is_window][-1] + 1] = True
    was_sent = np.zeros(n, dtype=np.bool_)
    was_sent[cells[is_window]] = True
    with np.errstate(invalid="ignore"):
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    wall = grid_times + 1_000_000 * utc_offsets(grid_times // 1_000_000, problem.timezone)
    dates = wall // US_PER_DAY
    first = int(dates[0])
    length = int(dates[-1]) - first + 1
    slots = max(1, min(MAX_SLOTS, round(US_PER_DAY / step)))
    return Grid(
        step_us=step,
        times=grid_times,
        values=means,
        in_window=in_window,
        was_sent=was_sent,
        is_training=~in_window & (counts > 0),
        day=dates - first,
        slot=np.minimum((wall % US_PER_DAY) * slots // US_PER_DAY, slots - 1),
        slots=slots,
        weekday=(first + np.arange(length) + 3) % 7,  # 1970-01-01 was a Thursday
    )


def utc_offsets(seconds: Ints, timezone: str) -> Ints:
    """Seconds to add to each UTC time (epoch seconds, increasing) for the time on the wall.

    Exact to the quarter of an hour around a change of the clocks, which is all a slot needs.
    """
    if timezone == "UTC" or seconds.size == 0:
        return np.zeros(seconds.shape, dtype=np.int64)
    zone = ZoneInfo(timezone)
    week, quarter = 7 * 86_400, 900
    probes = np.unique(seconds // week)
    ends = (
        np.array([_offset(zone, int(probe) * week) for probe in probes]),
        np.array([_offset(zone, (int(probe) + 1) * week) for probe in probes]),
    )
    which = np.searchsorted(probes, seconds // week)
    offsets: Ints = ends[0][which].astype(np.int64)
    for changing in np.flatnonzero(ends[0] != ends[1]):
        inside = np.flatnonzero(which == changing)
        exact = {q: _offset(zone, int(q) * quarter) for q in np.unique(seconds[inside] // quarter)}
        offsets[inside] = [exact[q] for q in seconds[inside] // quarter]
    return offsets


def _offset(zone: ZoneInfo, seconds: int) -> int:
    offset = datetime.fromtimestamp(seconds, UTC).astimezone(zone).utcoffset()
    return round(offset.total_seconds()) if offset is not None else 0


def _distinct(times: Ints, values: Floats) -> tuple[Ints, Floats]:
    """Sorted distinct times and the mean of the finite values at each; NaN where none is."""
    values = np.where(np.isfinite(values), values, np.nan)
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    if times.size < 2 or bool(np.all(np.diff(times) > 0)):
        return times, values
    distinct, inverse = np.unique(times, return_inverse=True)
    known = np.isfinite(values)
    counts = np.bincount(inverse[known], minlength=distinct.size)
    sums = np.bincount(inverse[known], weights=values[known], minlength=distinct.size)
    return distinct, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _step(times: Ints) -> int:
    return max(1, int(np.median(np.diff(times)))) if times.size > 1 else 60 * US_PER_MINUTE


def _cells(times: Ints, step: int) -> Ints:
    """Cell of each time; holes longer than LONGEST_HOLE_DAYS are cut."""
    jumps = np.diff(np.rint((times - times[0]) / step).astype(np.int64), prepend=0)
    return np.cumsum(np.minimum(jumps, max(1, LONGEST_HOLE_DAYS * US_PER_DAY // step)))


def _fill_times(times: Ints, cells: Ints, n: int, step: int) -> Ints:
    """The first time sent in each cell; in a hole, counted on from the last cell before it."""
    first = np.searchsorted(cells, np.arange(n))
    has_time = np.zeros(n, dtype=np.bool_)
    has_time[cells] = True
    before = np.maximum.accumulate(np.where(has_time, np.arange(n), 0))
    return np.where(has_time, times[first], times[first[before]] + (np.arange(n) - before) * step)
