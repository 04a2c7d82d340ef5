"""Readings on a regular grid, and the clock on the wall: what features, forecasts and detections share."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DAY, _WEEK = 86_400, 7 * 86_400
_FIRST = int(datetime(1, 1, 3, tzinfo=UTC).timestamp())
_LAST = int(datetime(9999, 12, 29, tzinfo=UTC).timestamp())


def distinct(times: Ints, values: Floats) -> tuple[Ints, Floats]:
    """Sorted distinct times and the mean of the finite values at each; NaN where none is.

    Times that are so already are returned themselves.

    Args:
        times: shape (n,), in any order, perhaps repeated.
        values: shape (n,).

    >>> distinct(np.array([3, 1, 3]), np.array([4.0, np.nan, 6.0]))
    (array([1, 3]), array([nan,  5.]))
    """
    values = np.where(np.isfinite(values), values, np.nan)
    if bool((times[1:] > times[:-1]).all()):
        return times, values
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    found, cells = np.unique(times, return_inverse=True)
    return found, mean_per_cell(cells, values, found.size)


def usual_distance(times: Ints) -> float:
    """The median distance of two neighbours of at least two increasing times, in their unit."""
    return float(np.median(np.diff(times)))


def mean_per_cell(cells: Ints, values: Floats, count: int) -> Floats:
    """The mean of the finite values in each of `count` cells, shape (count,); NaN where none is.

    Args:
        cells: of each value, shape (n,), less than `count`; negative ones are left out.
        values: shape (n,).
    """
    known = np.isfinite(values) & (cells >= 0)
    counts = np.bincount(cells[known], minlength=count)
    sums = np.bincount(cells[known], weights=values[known], minlength=count)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def weekdays(days: Ints) -> Ints:
    """Weekday of each day counted from 1970-01-01, a Thursday; Monday is 0."""
    return np.asarray((days + 3) % 7)


def utc_offsets(seconds: Ints, timezone: str) -> Ints:
    """Seconds to add to each UTC time for the time on the wall; exact over changes of the clock.

    Args:
        seconds: epoch seconds, shape (n,), in any order.
        timezone: IANA name.

    The ends of every week are looked up, and where they differ the one change between them. Python's
    zoneinfo also knows the rules of years that the compiled table ends before; Arrow's lookup stops at 2037.

    >>> spring_forward = np.array(["2026-03-29T00:59:59", "2026-03-29T01:00"], dtype="datetime64[s]")
    >>> utc_offsets(spring_forward.astype(np.int64), "Europe/Berlin")
    array([3600, 7200])
    """
    if timezone == "UTC" or seconds.size == 0:
        return np.zeros(seconds.shape, dtype=np.int64)
    zone = ZoneInfo(timezone)
    ends = np.arange(seconds.min() // _WEEK, seconds.max() // _WEEK + 2) * _WEEK
    offsets = [_offset(zone, end) for end in ends.tolist()]
    since, told = [int(ends[0])], [offsets[0]]
    for k in range(1, ends.size):
        if offsets[k] != offsets[k - 1]:
            since.append(_change_between(zone, int(ends[k - 1]), int(ends[k])))
            told.append(offsets[k])
    return np.array(told, dtype=np.int64)[np.searchsorted(since, seconds, side="right") - 1]


def _offset(zone: ZoneInfo, seconds: int) -> int:
    at = datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), UTC)
    offset = at.astimezone(zone).utcoffset()
    return round(offset.total_seconds()) if offset is not None else 0


def _change_between(zone: ZoneInfo, before: int, after: int) -> int:
    """First second with the offset of `after`, given one change between the two."""
    wanted = _offset(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == wanted:
            after = middle
        else:
            before = middle
    return after
