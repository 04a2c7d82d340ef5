"""What is normal at a time: a slow level, the shape of like days, and how much those days differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalies.detectors.base import Floats, Ints
from anomalies.detectors.grid import Grid

SAME_WEEKDAY = 8  # like days a day is compared with: the nearest of its own weekday,
SAME_TYPE = 8  # and the nearest working days, or days of the weekend
LEVEL_DAYS = 9  # of the slow level; a fault of four days does not move its median
LEAST_DAYS = 4  # below, nothing is known of the shape of a day
OWN = 0.6  # of the typical scale is added to each slot's own; one that never varied still has a width
MAD_TO_STD = 1.4826


@dataclass(frozen=True, slots=True)
class Profile:
    """Expected value and spread (a robust standard deviation) of each cell of a grid, shape (n,).

    spread is 0 everywhere when the series does not vary at all. is_seasonal: the shape of the day is in it.
    """

    expected: Floats
    spread: Floats
    is_seasonal: bool


def profile_of(grid: Grid, values: Floats) -> Profile:
    """Robust profile by slot of the day and like days, around a slow level; never the day itself.

    A day is held against other days only, so a fault does not excuse itself, and each location and scale is
    a median, so that fewer than half of the compared days may be faulty.

    Args:
        values: of the grid's cells, shape (n,); NaN where there is no reading, or none to learn from.
    """
    table = _folded(grid, values)
    if int(np.isfinite(table).any(axis=1).sum()) < LEAST_DAYS:
        return _without_season(values)
    rough = _median(table.T)  # by slot, over all days
    rough = np.where(np.isfinite(rough), rough, _median(rough[None, :])[0])
    level = _slow_level(_median(table - rough))
    flat = table - level[:, None]
    likes = like_days(grid, np.asarray(np.isfinite(table).any(axis=1)))
    shape = _over_like_days(flat, likes, around=0)
    shape = np.where(np.isfinite(shape), shape, rough[None, :])
    expected = (shape + level[:, None])[grid.day, grid.slot]
    return around(grid, values, expected, is_seasonal=grid.slots > 1)


def around(grid: Grid, values: Floats, expected: Floats, *, is_seasonal: bool) -> Profile:
    """A profile with these expected values, and the spread of like days around them by slot."""
    rest = _folded(grid, values - expected)
    typical = _typical(rest)
    if typical == 0.0:
        return _without_season(values)
    likes = like_days(grid, np.asarray(np.isfinite(rest).any(axis=1)))
    spread = MAD_TO_STD * _over_like_days(np.abs(rest), likes, around=1)
    spread = np.where(np.isfinite(spread), spread, typical)
    spread = np.sqrt(spread**2 + (OWN * typical) ** 2)
    return Profile(expected, spread[grid.day, grid.slot], is_seasonal)


def like_days(grid: Grid, is_known: NDArray[np.bool_]) -> Ints:
    """Days that each day is compared with, shape (days, SAME_WEEKDAY + SAME_TYPE); -1 where there is none."""
    days = np.arange(grid.days)
    likes = np.full((grid.days, SAME_WEEKDAY + SAME_TYPE), -1, dtype=np.int64)
    is_weekend = grid.weekday >= 5
    for weekday in range(7):
        mine = days[grid.weekday == weekday]
        same = days[(grid.weekday == weekday) & is_known]
        kin = days[(is_weekend == (weekday >= 5)) & (grid.weekday != weekday) & is_known]
        likes[mine, :SAME_WEEKDAY] = _nearest(mine, same, SAME_WEEKDAY)
        likes[mine, SAME_WEEKDAY:] = _nearest(mine, kin, SAME_TYPE)
    return likes


def _nearest(mine: Ints, others: Ints, count: int) -> Ints:
    """The `count` nearest of `others` (increasing) to each of `mine`, itself left out; -1 where too few."""
    found = np.full((mine.size, count), -1, dtype=np.int64)
    if others.size == 0:
        return found
    at = np.searchsorted(others, mine)
    near = at[:, None] + np.arange(-count - 1, count + 2)[None, :]
    candidate = others[np.clip(near, 0, others.size - 1)]
    distance = np.abs(candidate - mine[:, None]).astype(np.float64)
    distance[(near < 0) | (near >= others.size) | (candidate == mine[:, None])] = np.inf
    chosen = np.argsort(distance, axis=1, kind="stable")[:, :count]
    picked = np.take_along_axis(candidate, chosen, axis=1)
    return np.where(np.isfinite(np.take_along_axis(distance, chosen, axis=1)), picked, -1)


def _folded(grid: Grid, values: Floats) -> Floats:
    """Shape (days, slots): the mean of what lies in a slot of a day; NaN where nothing does."""
    where = grid.day * grid.slots + grid.slot
    known = np.isfinite(values)
    size = grid.days * grid.slots
    counts = np.bincount(where[known], minlength=size)
    sums = np.bincount(where[known], weights=values[known], minlength=size)
    table = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return table.reshape(grid.days, grid.slots)


def _over_like_days(table: Floats, likes: Ints, around: int) -> Floats:
    """Median over like days, and over `around` slots on each side, of each day and slot."""
    days, slots = table.shape
    padded = np.vstack((table, np.full(slots, np.nan)))
    if around and slots > 2 * around:
        shifted = [np.roll(padded, shift, axis=1) for shift in range(-around, around + 1)]
        stacked = np.stack(shifted)
    else:
        stacked = padded[None]
    answer = np.empty((days, slots))
    chunk = max(1, 2_000_000 // (slots * likes.shape[1] * stacked.shape[0]))
    for begin in range(0, days, chunk):
        part = likes[begin : begin + chunk]
        gathered = stacked[:, part, :]  # around, days, likes, slots
        gathered = np.moveaxis(gathered, (1, 3), (0, 1)).reshape(part.shape[0], slots, -1)
        answer[begin : begin + chunk] = _median(gathered)
    return answer


def _median(table: Floats) -> Floats:
    """Median over the last axis, NaN left out; NaN where nothing is left."""
    ordered = np.sort(table, axis=-1)  # NaN last
    counts = np.isfinite(ordered).sum(axis=-1)
    low = np.maximum((counts - 1) // 2, 0)[..., None]
    high = np.minimum(np.maximum(counts // 2, 0), table.shape[-1] - 1)[..., None]
    middle = 0.5 * (np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1))[..., 0]
    return np.asarray(np.where(counts > 0, middle, np.nan))


def _slow_level(daily: Floats) -> Floats:
    """Running median of LEVEL_DAYS days; at the ends the last full stretch, lest a fault there be its own level."""
    known = np.flatnonzero(np.isfinite(daily))
    filled = daily[known]
    width = min(LEVEL_DAYS, filled.size)
    windows = np.lib.stride_tricks.sliding_window_view(filled, width)
    medians = np.median(windows, axis=1)
    at = np.clip(np.arange(filled.size) - width // 2, 0, medians.size - 1)
    return np.asarray(np.interp(np.arange(daily.size), known, medians[at]))


def _typical(rest: Floats) -> float:
    """A robust standard deviation of all residuals; of those that are not zero when most are."""
    size = np.abs(rest[np.isfinite(rest)])
    middle = MAD_TO_STD * float(np.median(size)) if size.size else 0.0
    if middle > 0.0:
        return middle
    return float(np.mean(size)) if size.size else 0.0


def _without_season(values: Floats) -> Profile:
    """Too short for the shape of a day: everything against the median of all."""
    known = values[np.isfinite(values)]
    center = float(np.median(known)) if known.size else float("nan")
    spread = _typical(known - center)
    n = values.size
    return Profile(np.full(n, center), np.full(n, spread), is_seasonal=False)
