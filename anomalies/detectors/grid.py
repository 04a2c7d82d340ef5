"""Readings onto the grid they come on, and the grid folded into days on the site's own clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomalies.detectors.base import Flags, Floats, Ints, Problem
from features.grid import distinct, mean_per_cell, usual_distance, utc_offsets, weekdays

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
    window = distinct(problem.times, problem.values)
    training = distinct(problem.training_times, problem.training_values)
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
    means = mean_per_cell(cells, values, n)
    grid_times = _fill_times(times, cells, n, step)
    in_window = np.zeros(n, dtype=np.bool_)
    in_window[cells[is_window][0] : cells[is_window][-1] + 1] = True
    was_sent = np.zeros(n, dtype=np.bool_)
    was_sent[cells[is_window]] = True
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
        is_training=~in_window & ~np.isnan(means),
        day=dates - first,
        slot=np.minimum((wall % US_PER_DAY) * slots // US_PER_DAY, slots - 1),
        slots=slots,
        weekday=weekdays(first + np.arange(length)),
    )


def _step(times: Ints) -> int:
    return max(1, int(usual_distance(times))) if times.size > 1 else 60 * US_PER_MINUTE


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
