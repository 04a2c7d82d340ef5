"""Readings onto the grid they come on, and the grid folded into days on the site's own clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomalies.detectors.base import Flags, Floats, Ints, Problem
from anomalies.detectors.order import how_many
from features.grid import distinct, mean_per_cell, usual_distance, utc_offsets, weekdays

US_PER_MINUTE = 60_000_000
US_PER_DAY = 1440 * US_PER_MINUTE
MAX_SLOTS = 288  # a day; readings finer than five minutes share a slot
LONGEST_HOLE_DAYS = 28  # longer ones are cut to this: nothing is compared across them cell by cell
WEEK = 7  # days; what is cut out of the calendar leaves weekdays as they are
SPARSE = 8  # cells, or slots of all days, to one reading at the most: memory is bounded by what was sent,
FEWEST_SLOTS = 24  # but a day has this many
LEAST_LEVELS = 8  # fewer are states, not readings of a scale
NEARLY = 1e-3  # of a multiple, for what binary fractions leave over
FINER = 1.5  # times as often as the window's readings: training readings come on a step of their own


@dataclass(frozen=True, slots=True)
class Grid:
    """Training and window on one regular grid, in the order of time.

    times: epoch microseconds, shape (n,), increasing. values: NaN where nothing was read.
    in_window: from the window's first to its last time. was_sent: the window has an entry there.
    is_training: a reading the caller vouches for. day, slot: where the cell lies on the site's clock,
    days counted from the first, whole weeks of long holes left out; place: in a table of days and slots, row by
    row; weekday: Monday is 0.
    resolution: of the meter, in the unit of the series; 0 where none shows.
    shared: how many readings of the window share a cell with one before. thinned_us: the step of training readings
    that came more often than the window's and were thinned to its step; 0 where none was.
    """

    step_us: int
    times: Ints
    values: Floats
    in_window: Flags
    was_sent: Flags
    is_training: Flags
    day: Ints
    slot: Ints
    place: Ints
    slots: int
    weekday: Ints  # of each day, shape (days,)
    resolution: float
    shared: int
    thinned_us: int

    @property
    def days(self) -> int:
        return int(self.weekday.size)


def on_grid(problem: Problem) -> Grid:
    """Put a problem on the grid its readings come on; needs one reading at least.

    The step is the median distance of two readings of the window (of all, when the window has fewer than
    ten). Readings nearer than half a step share a cell and are averaged. Training readings that come more often than
    the window's are heeded at the window's instants. Cells keep the time that was sent, not the grid's, where there
    is one.
    """
    window = distinct(problem.times, problem.values)
    training = distinct(problem.training_times, problem.training_values)
    outside = (training[0] < window[0][0]) | (training[0] > window[0][-1])
    training = (training[0][outside], training[1][outside])
    step = _step(window[0] if window[0].size >= 10 else np.union1d(training[0], window[0]))
    training, thinned = _at_instants(training, int(window[0][0]), step)
    times = np.concatenate((training[0], window[0]))
    order = np.argsort(times, kind="stable")
    times = times[order]
    values = np.concatenate((training[1], window[1]))[order]
    is_window = np.repeat([False, True], [training[0].size, window[0].size])[order]
    cells = _cells(times, step)
    n = int(cells[-1]) + 1
    means = mean_per_cell(cells, values, n)
    grid_times = _fill_times(times, cells, n, step)
    in_window = np.zeros(n, dtype=np.bool_)
    in_window[cells[is_window][0] : cells[is_window][-1] + 1] = True
    was_sent = np.zeros(n, dtype=np.bool_)
    was_sent[cells[is_window]] = True
    wall = grid_times + 1_000_000 * utc_offsets(grid_times // 1_000_000, problem.timezone)
    dates = _without_long_holes(wall // US_PER_DAY)
    first = int(dates[0])
    length = int(dates[-1]) - first + 1
    slots = _slots(step, length, times.size)
    day = dates - first
    slot = np.minimum((wall % US_PER_DAY) * slots // US_PER_DAY, slots - 1)
    return Grid(
        step_us=step,
        times=grid_times,
        values=means,
        in_window=in_window,
        was_sent=was_sent,
        is_training=~in_window & ~np.isnan(means),
        day=day,
        slot=slot,
        place=day * slots + slot,
        slots=slots,
        weekday=weekdays(first + np.arange(length)),
        resolution=resolution_of(values),
        shared=window[0].size - how_many(was_sent),
        thinned_us=thinned,
    )


def resolution_of(values: Floats) -> float:
    """What all readings are multiples of, shape (n,) with NaN left out; 0 where nothing shows, or too few values.

    >>> resolution_of(np.array([20.0, 22.0, 24.0, 26.0, 28.0, 30.0, 32.0, 34.0, 40.0, np.nan]))
    2.0
    """
    levels = np.unique(values[np.isfinite(values)])
    if levels.size < LEAST_LEVELS:
        return 0.0
    least = float(np.min(np.diff(levels)))
    steps = (levels - levels[0]) / least
    return least if bool(np.all(np.abs(steps - np.rint(steps)) < NEARLY)) else 0.0


def _step(times: Ints) -> int:
    return max(1, int(usual_distance(times))) if times.size > 1 else 60 * US_PER_MINUTE


def _at_instants(training: tuple[Ints, Floats], begin: int, step: int) -> tuple[tuple[Ints, Floats], int]:
    """Training readings nearest to the instants of the window's, and their own step where some were left out."""
    times, values = training
    own = _step(times)
    if times.size < 2 or own * FINER > step:
        return training, 0
    beside = (times - begin + step // 2) % step - step // 2
    near = (-own // 2 <= beside) & (beside < own - own // 2)
    return (times[near], values[near]), own


def _cells(times: Ints, step: int) -> Ints:
    """Cell of each time, a cell a step; long holes are cut, the more of them there are the shorter."""
    apart = np.diff(times)
    jumps = np.rint(apart / step).astype(np.int64)
    near = jumps == 0  # months of 28 days are no half month
    jumps[near] = np.diff(np.rint((times - times[0]) / step).astype(np.int64))[near]
    longest = max(1, LONGEST_HOLE_DAYS * US_PER_DAY // step)
    room = SPARSE * times.size + longest
    while longest > 1 and int(np.minimum(jumps, longest).sum()) > room:
        longest //= 2
    return np.concatenate(([0], np.cumsum(np.minimum(jumps, longest))))


def _without_long_holes(dates: Ints) -> Ints:
    """Dates with whole weeks taken out of holes, so that none is longer than LONGEST_HOLE_DAYS and a week."""
    weeks = np.maximum(np.diff(dates, prepend=dates[0]) - LONGEST_HOLE_DAYS, 0) // WEEK
    return np.asarray(dates - WEEK * np.cumsum(weeks))


def _slots(step: int, days: int, readings: int) -> int:
    """Slots of a day: one for each reading it has room for, fewer where most of them would stay empty."""
    room = max(FEWEST_SLOTS, SPARSE * readings // days)
    return max(1, min(MAX_SLOTS, round(US_PER_DAY / step), room))


def _fill_times(times: Ints, cells: Ints, n: int, step: int) -> Ints:
    """The first time sent in each cell; in a hole, counted on from the last cell before it."""
    first = np.searchsorted(cells, np.arange(n))
    has_time = np.zeros(n, dtype=np.bool_)
    has_time[cells] = True
    before = np.maximum.accumulate(np.where(has_time, np.arange(n), 0))
    return np.where(has_time, times[first], times[first[before]] + (np.arange(n) - before) * step)
