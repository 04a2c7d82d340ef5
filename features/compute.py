"""From the past of an asset to features: the one computation, for an answer of one row and an export of millions.

A reading stands for the interval that begins at its time. As of t only readings before t are looked at;
of the weather, which is forecast as well as measured, also what is known of t itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from features.catalog import Calendar, CalendarField, Feature, Lag, Source, Statistic, WeatherAt, Window
from features.grid import utc_offsets, weekdays

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
USUAL_INTERVAL_MINUTES = 60  # of an asset whose readings are too few to tell
WEATHER_KEEPS_US = HOUR_US
GATHERED_AT_ONCE = 1 << 16  # values; what fits a processor's cache, and bounds the memory
_MICROSECOND = timedelta(microseconds=1)
_QUANTILES: dict[Statistic, float] = {"median": 0.5, "p10": 0.1, "p90": 0.9}

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of one asset. It may hold more than was known at t: that is not looked at.

    times_us, values: readings, int64 microseconds since 1970 UTC, strictly increasing, and float64 without
        NaN in the asset's unit, shape (n,) both.
    weather_times_us, weather: strictly increasing, shape (m,); by column, shape (m,) each, NaN where unknown.
    timezone: IANA name, of the calendar.
    interval_minutes: usual distance of two readings: for so long one stands.
    """

    times_us: Ints
    values: Floats
    weather_times_us: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    weather: Mapping[str, Floats] = field(default_factory=dict)
    timezone: str = "UTC"
    interval_minutes: int | None = None

    @property
    def interval_us(self) -> int:
        return (self.interval_minutes or USUAL_INTERVAL_MINUTES) * 60_000_000


def rows(
    features: Sequence[Feature], past: Past, as_of_us: Ints, *, lookback: timedelta | None = None
) -> dict[str, Floats]:
    """The features as of many moments.

    Args:
        as_of_us: microseconds since 1970 UTC, shape (k,), in any order.
        lookback: a feature that looks back further is not computed; None for no limit.

    Returns:
        By name of the feature, float64, shape (k,), NaN where nothing is known: a lag in whose interval
        there is no reading, a window without a reading (a standard deviation: with fewer than two),
        weather that is an hour old, and whatever looks back further than `lookback`. A window with gaps
        is computed from what is in it. Flags are 0 and 1.

    >>> from features.catalog import features_named
    >>> past = Past(np.array([0, HOUR_US, 2 * HOUR_US]), np.array([1.0, 3.0, 8.0]), interval_minutes=60)
    >>> rows(features_named(["lag_1h", "rolling_avg_24h"]), past, np.array([2 * HOUR_US]))
    {'lag_1h': array([3.]), 'rolling_avg_24h': array([2.])}
    """
    order = np.argsort(as_of_us, kind="stable")
    seen = _Seen(past, np.asarray(as_of_us[order], dtype=np.int64))
    computed: dict[Source, Floats] = {}
    found: dict[str, Floats] = {}
    for feature in features:
        column = np.full(as_of_us.size, np.nan)
        if lookback is None or feature.looks_back <= lookback:
            if feature.source not in computed:  # hourly_avg under two names is one sum
                computed[feature.source] = seen.column(feature.source)
            column[order] = computed[feature.source]
        found[feature.name] = column
    return found


def spans(
    features: Iterable[Feature], interval_minutes: int | None, *, lookback: timedelta | None = None
) -> list[tuple[timedelta, timedelta]]:
    """Which parts of the past the features read, as (from, until) before t: [t - from, t - until).

    Disjoint, furthest first: for lags of a day and a week there is no need to fetch the week between.
    """
    interval = timedelta(minutes=interval_minutes or USUAL_INTERVAL_MINUTES)
    wanted = []
    for feature in features:
        if lookback is not None and feature.looks_back > lookback:
            continue
        match feature.source:
            case Lag(by):
                wanted.append((by + interval, by - _MICROSECOND))
            case Window(over, _):
                wanted.append((over, timedelta(0)))
    merged: list[tuple[timedelta, timedelta]] = []
    for start, until in sorted(wanted, reverse=True):
        if merged and start >= merged[-1][1]:
            merged[-1] = (merged[-1][0], min(merged[-1][1], until))
        else:
            merged.append((start, until))
    return merged


class _Seen:
    """One past, looked at from moments in order."""

    def __init__(self, past: Past, as_of_us: Ints) -> None:
        self.past = past
        self.as_of_us = as_of_us
        self.padded = np.append(past.values, 0.0)  # so that the end of the last window is an index too
        self._wall_us: Ints | None = None
        self._bounds: dict[timedelta, tuple[Ints, Ints]] = {}

    def column(self, source: Source) -> Floats:
        match source:
            case Calendar(name):
                return self._calendar(name)
            case Lag(by):
                moments = self.as_of_us - by // _MICROSECOND
                return _last_before(self.past.times_us, self.past.values, moments, self.past.interval_us)
            case Window(over, statistic):
                return self._window(over, statistic)
            case WeatherAt(name):
                return self._weather(name)

    def _calendar(self, name: CalendarField) -> Floats:
        if self._wall_us is None:
            self._wall_us = wall_us(self.as_of_us, self.past.timezone)
        return _CALENDAR[name](self._wall_us).astype(np.float64)

    def _weather(self, name: str) -> Floats:
        column = self.past.weather.get(name)
        if column is None:
            return np.full(self.as_of_us.size, np.nan)
        known = ~np.isnan(column)
        return _last_before(self.past.weather_times_us[known], column[known], self.as_of_us, WEATHER_KEEPS_US)

    def _window(self, over: timedelta, statistic: Statistic) -> Floats:
        if over not in self._bounds:
            moments = (self.as_of_us - over // _MICROSECOND, self.as_of_us)
            first, end = (np.searchsorted(self.past.times_us, each, side="left") for each in moments)
            self._bounds[over] = (first, end)
        first, end = self._bounds[over]
        counts = end - first
        if not counts.any():
            return np.full(counts.size, np.nan)
        if statistic in _QUANTILES:
            return self._quantiles(first, counts, _QUANTILES[statistic])
        if statistic == "std":
            return self._deviations(first, end, counts)
        if statistic == "range":
            found = self._reduced(np.maximum, first, end) - self._reduced(np.minimum, first, end)
        elif statistic == "avg":
            found = self._reduced(np.add, first, end) / np.maximum(counts, 1)
        else:
            found = self._reduced(np.minimum if statistic == "min" else np.maximum, first, end)
        found[counts == 0] = np.nan
        return found

    def _reduced(self, ufunc: np.ufunc, first: Ints, end: Ints) -> Floats:
        """Of each window; an empty one has no meaning. Every second segment lies between two windows."""
        reduced: Floats = ufunc.reduceat(self.padded, np.column_stack([first, end]).ravel())[::2]
        return reduced

    def _deviations(self, first: Ints, end: Ints, counts: Ints) -> Floats:
        """In two passes: a running sum of squares loses everything where a series is high and hardly moves."""
        means = self._reduced(np.add, first, end) / np.maximum(counts, 1)
        found = np.full(counts.size, np.nan)
        for count, part in _of_one_length(counts, least=2):
            off = sliding_window_view(self.padded, count)[first[part]]
            off -= means[part][:, np.newaxis]
            found[part] = np.sqrt(np.einsum("ij,ij->i", off, off) / (count - 1))
        return found

    def _quantiles(self, first: Ints, counts: Ints, share: float) -> Floats:
        """Linear between the two nearest, as numpy and `percentile_cont` have it."""
        found = np.full(counts.size, np.nan)
        for part, positions, starts in _gathered(first, counts, least=1):
            table = np.full((part.size, counts[part].max()), np.inf)
            owner = np.repeat(np.arange(part.size), counts[part])
            table[owner, np.arange(positions.size) - starts[owner]] = self.padded[positions]
            table.sort(axis=1)
            rank = share * (counts[part] - 1)
            below = np.floor(rank).astype(np.int64)
            above = np.minimum(below + 1, counts[part] - 1)
            lower, upper = table[np.arange(part.size), below], table[np.arange(part.size), above]
            found[part] = lower + (upper - lower) * (rank - below)
        return found


def _of_one_length(counts: Ints, *, least: int) -> Iterator[tuple[int, Ints]]:
    """Windows of at least `least` readings, some at a time that hold equally many: how many, and which they are.

    A regular series has few lengths, and windows of one length are the rows of a table: no index for each value.
    """
    order = np.argsort(counts, kind="stable")
    sizes = counts[order]
    edges = [*np.flatnonzero(np.diff(sizes, prepend=-1)).tolist(), sizes.size]
    for begin, end in pairwise(edges):
        count = int(sizes[begin])
        if count < least:
            continue
        at_once = max(1, GATHERED_AT_ONCE // count)
        for start in range(begin, end, at_once):
            yield count, order[start : min(start + at_once, end)]


def _gathered(first: Ints, counts: Ints, *, least: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Windows of at least `least` readings, some at a time: which they are, the positions of all their
    readings one window after the other, and where in that each window starts."""
    (wanted,) = np.nonzero(counts >= least)
    at_once = max(1, GATHERED_AT_ONCE // max(1, int(counts.max())))
    for begin in range(0, wanted.size, at_once):
        part = wanted[begin : begin + at_once]
        starts = np.concatenate([[0], np.cumsum(counts[part])[:-1]])
        positions = np.arange(counts[part].sum()) + np.repeat(first[part] - starts, counts[part])
        yield part, positions, starts


def _last_before(times_us: Ints, values: Floats, moments: Ints, keeps_us: int) -> Floats:
    """The last value at or before each moment, when it is less than `keeps_us` old."""
    if times_us.size == 0:
        return np.full(moments.size, np.nan)
    last = np.searchsorted(times_us, moments, side="right") - 1
    age = moments - times_us[last]  # of index -1 the age is negative
    found: Floats = np.where((last >= 0) & (age < keeps_us), values[last], np.nan)
    return found


def wall_us(times_us: Ints, timezone: str) -> Ints:
    """What the clock on the wall shows at each time, as microseconds since 1970 of that clock.

    >>> spring = np.array(["2026-03-29T00:30", "2026-03-29T01:30"], dtype="datetime64[us]").astype(np.int64)
    >>> (wall_us(spring, "Europe/Berlin") - spring) // HOUR_US
    array([1, 2])
    """
    return times_us + 1_000_000 * utc_offsets(times_us // 1_000_000, timezone)


def _hour(wall: Ints) -> Ints:
    return wall % DAY_US // HOUR_US


def _weekday(wall: Ints) -> Ints:
    return weekdays(wall // DAY_US)


def _month(wall: Ints) -> Ints:
    days, each = _days(wall)
    month: Ints = (days.astype("datetime64[M]").astype(np.int64) % 12)[each]
    return month


def _day_of_month(wall: Ints) -> Ints:
    days, each = _days(wall)
    since_first = (days - days.astype("datetime64[M]")).astype(np.int64)
    day: Ints = (since_first + 1)[each]
    return day


def _days(wall: Ints) -> tuple[NDArray[np.datetime64], Ints]:
    """All days from the first to the last, and which of them each time lies on: a month is looked up once a day."""
    numbers = wall // DAY_US
    if numbers.size == 0:
        return np.empty(0, dtype="datetime64[D]"), numbers
    first = int(numbers.min())
    return np.arange(first, int(numbers.max()) + 1).astype("datetime64[D]"), numbers - first


_CALENDAR: dict[CalendarField, Callable[[Ints], NDArray[np.generic]]] = {
    "hour_of_day": _hour,
    "day_of_week": _weekday,
    "day_of_month": _day_of_month,
    "month": lambda wall: _month(wall) + 1,
    "quarter": lambda wall: _month(wall) // 3 + 1,
    "is_weekend": lambda wall: _weekday(wall) >= 5,
    "is_business_hours": lambda wall: (_weekday(wall) < 5) & (_hour(wall) >= 9) & (_hour(wall) <= 17),
}
