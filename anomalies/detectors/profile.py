"""What is normal at a time: a slow level, the shape of like days, and how far those days lie above and below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from anomalies.detectors.base import Flags, Floats, Ints
from anomalies.detectors.grid import Grid
from anomalies.detectors.order import at_share, how_many, median, middle, quantiles
from features.grid import mean_per_cell

SAME_WEEKDAY = 8  # like days a day is compared with: the nearest of its own weekday,
SAME_TYPE = 8  # and the nearest working days, or days of the weekend
LEVEL_DAYS = 9  # of the slow level; a fault of four days does not move its median
LEAST_TRAINING = 200  # readings that vouch for what is usual
SLACK, LOOSE = 2.0, 4.0  # never met in clean windows of the shipped series by three spreads
LEAST_DAYS = 4  # below, nothing is known of the shape of a day
TAIL, TAIL_SIGMA = 0.9, 1.2816  # the quantile each side's spread is taken at, and that of a normal deviate
MIDDLE = 0.7  # of the spread by the median; a side is never narrower
OWN = 0.15  # of the typical spread is added to each slot's own; one that never varied still has a width
GRAIN = 0.5  # of the meter's resolution: one step off is what rounding does
TYPICAL, TYPICAL_SIGMA = 0.9, 1.6449  # quantile of all sizes, and that of a normal deviate's size
MAD_TO_STD = 1.4826
MOST_KEPT_DAYS = 4_000  # half a megabyte; nobody's long series is to fill the memory of all
READINGS_AT_ONCE = 250_000  # of like days, so that they stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Profile:
    """Expected value of each cell of a grid and its spread to either side, in robust standard deviations, shape (n,).

    Both spreads are 0 everywhere when nothing is left over: the series does not vary, or its days are all alike.
    is_seasonal: the shape of the day is in it.
    """

    expected: Floats
    above: Floats
    below: Floats
    is_seasonal: bool

    @property
    def spread(self) -> Floats:
        return 0.5 * (self.above + self.below)

    def side_of(self, values: Floats) -> Floats:
        """The spread to the side on which each value lies, shape (n,)."""
        return np.where(values > self.expected, self.above, self.below)

    def deviations(self, values: Floats) -> Floats:
        """How many spreads of their side values are off, shape (n,); NaN stays NaN, 0 where nothing varies."""
        off, side = values - self.expected, self.side_of(values)
        return np.where(np.isnan(off), np.nan, np.divide(off, side, out=np.zeros(off.size), where=side > 0))


def profile_of(grid: Grid, values: Floats) -> Profile:
    """Robust profile by slot of the day and like days, around a slow level; never the day itself.

    A day is held against other days only, so a fault does not excuse itself, and each location and scale is
    a median, so that fewer than half of the compared days may be faulty.

    Args:
        values: of the grid's cells, shape (n,); NaN where there is no reading, or none to learn from.
    """
    table = folded(grid, values)
    if how_many(np.asarray(np.isfinite(table).any(axis=1))) < LEAST_DAYS:
        return _without_season(values)
    rough = median(table.T)  # by slot, over all days
    rough = np.where(np.isfinite(rough), rough, median(rough[None, :])[0])
    level = slow_level(_against_days_of_its_type(grid, median(table - rough)))
    flat = table - level[:, None]
    likes = like_days(grid, np.asarray(np.isfinite(table).any(axis=1)))
    shape = _over_like_days(flat, likes)
    shape = np.where(np.isfinite(shape), shape, rough[None, :])
    expected = (shape + level[:, None]).take(grid.place)
    return around(grid, values, expected, is_seasonal=grid.slots > 1)


def around(grid: Grid, values: Floats, expected: Floats, *, is_seasonal: bool) -> Profile:
    """A profile with these expected values, and how far like days lie above and below them around that slot.

    Each side has the spread of a normal deviate with the same 90 % quantile: where a home now and then
    cooks, more is allowed upwards than at night, though most evenings are as calm.
    """
    rest = folded(grid, values - expected)
    typical = _typical(rest)
    if typical == 0.0:
        nothing = np.zeros(values.size)
        return Profile(expected, nothing, nothing, is_seasonal=is_seasonal)
    likes = like_days(grid, np.asarray(np.isfinite(rest).any(axis=1)))
    low, high, usual = _tails_over_like_days(rest, likes)
    least = MIDDLE * MAD_TO_STD * np.where(np.isfinite(usual), usual, typical / MAD_TO_STD)
    own = float(np.hypot(OWN * typical, GRAIN * grid.resolution))
    above, below = (
        np.hypot(np.fmax(side / TAIL_SIGMA, least), own).take(grid.place) for side in (high, -low)
    )
    return Profile(expected, above, below, is_seasonal)


def shared_on_like_days(grid: Grid, rest: Floats) -> Floats:
    """What is left over at that slot on like days, by their median, shape (n,); 0 where nothing was read on any.

    Args:
        rest: what an expectation leaves over, shape (n,); NaN where there is no reading, or none to learn from.
    """
    table = folded(grid, rest)
    shared = _over_like_days(table, like_days(grid, np.asarray(np.isfinite(table).any(axis=1))))
    return np.nan_to_num(shared).take(grid.place)


def share_on_like_days(grid: Grid, is_it: Flags, known: Flags) -> Floats:
    """How often it is so on like days around that time, shape (n,), in (0, 1): (hits + 1) / (readings + 2)."""
    sums = []
    for flags in (is_it, known):
        table = np.bincount(grid.place[flags], minlength=grid.days * grid.slots).reshape(
            grid.days, grid.slots
        )
        if grid.slots > 2:
            table = table + np.roll(table, 1, axis=1) + np.roll(table, -1, axis=1)
        sums.append(np.vstack((table, np.zeros(grid.slots, dtype=table.dtype))))
    likes = like_days(grid, np.asarray(sums[1][:-1].any(axis=1)))
    hits, seen = (table[likes].sum(axis=1) for table in sums)
    return np.asarray(((hits + 1.0) / (seen + 2.0)).take(grid.place))


def beyond_training(grid: Grid) -> Floats:
    """How much further the slow level goes than training allows, signed, of each cell, shape (n,); 0 without training.

    From the nearest day of training the level may go as far as it went within training in as many days (further in
    more days than training has, at the same pace), SLACK times, and LOOSE times as far as single days of training lie
    from it. Else a fault as long as the window would be its own level, and training would not say what is usual. What
    comes to be too far only later in the window shows when it begins, and may be the season.
    """
    vouched = np.unique(grid.day[grid.is_training])
    if how_many(grid.is_training) < LEAST_TRAINING or vouched.size < LEAST_DAYS:
        return np.zeros(grid.values.size)
    table = folded(grid, grid.values)
    usual = median(table[vouched].T)
    daily = _against_days_of_its_type(grid, median(table - usual))
    told = np.full(grid.days, np.nan)
    told[vouched] = daily[vouched]
    trained = slow_level(told)
    width = SLACK * _moves(trained[vouched[0] : vouched[-1] + 1], grid.days)
    width += LOOSE * float(np.nanmedian(np.abs(told - trained)))
    days = np.arange(grid.days)
    after = np.minimum(np.searchsorted(vouched, days), vouched.size - 1)
    before = np.maximum(np.searchsorted(vouched, days, side="right") - 1, 0)
    is_nearer = np.abs(vouched[before] - days) <= np.abs(vouched[after] - days)
    nearest = np.where(is_nearer, vouched[before], vouched[after])
    off = slow_level(daily) - trained[nearest]
    allowed = width[np.abs(days - nearest)]
    excess = np.where(days == nearest, 0.0, off - np.clip(off, -allowed, allowed))
    return np.asarray(np.where(_goes_on(excess, days == nearest), excess, 0.0)[grid.day])


def _goes_on(excess: Floats, vouched: Flags) -> Flags:
    """Whether each day is too far off on the same side as all days between it and those of training, shape (days,)."""
    goes_on = np.zeros(excess.size, dtype=np.bool_)
    for days in (range(1, excess.size), range(excess.size - 2, -1, -1)):
        step = -1 if days.step > 0 else 1
        for day in days:
            before = day + step
            if excess[day] != 0.0 and (
                vouched[before] or (goes_on[before] and excess[before] * excess[day] > 0)
            ):
                goes_on[day] = True
    return goes_on


def _moves(level: Floats, days: int) -> Floats:
    """How far a level moves in 0, 1, ... days at the most, shape (days,)."""
    spans = np.arange(min(level.size, days))
    moves = np.array([float(np.max(np.abs(level[span:] - level[: level.size - span]))) for span in spans])
    moves = np.maximum.accumulate(moves)
    last = spans[-1]
    beyond = np.arange(spans.size, days)
    return np.concatenate((moves, moves[-1] * beyond / max(last, 1)))


def like_days(grid: Grid, is_known: Flags) -> Ints:
    """Days that each day is compared with, shape (days, SAME_WEEKDAY + SAME_TYPE at most); -1 where there is none."""
    find = _kept_like_days if grid.days <= MOST_KEPT_DAYS else _like_days
    return find(grid.weekday.astype(np.int8).tobytes(), is_known.tobytes())


def _like_days(weekdays: bytes, known: bytes) -> Ints:
    weekday_of, is_known = np.frombuffer(weekdays, np.int8), np.frombuffer(known, np.bool_)
    days = np.arange(weekday_of.size)
    likes = np.full((days.size, SAME_WEEKDAY + SAME_TYPE), -1, dtype=np.int64)
    is_weekend = weekday_of >= 5
    for weekday in range(7):
        mine = days[weekday_of == weekday]
        same = days[(weekday_of == weekday) & is_known]
        kin = days[(is_weekend == (weekday >= 5)) & (weekday_of != weekday) & is_known]
        likes[mine, :SAME_WEEKDAY] = _nearest(mine, same, SAME_WEEKDAY)
        likes[mine, SAME_WEEKDAY:] = _nearest(mine, kin, SAME_TYPE)
    is_met = np.asarray((likes >= 0).any(axis=0))
    is_met[0] = True  # a column of none, rather than no column
    likes = np.ascontiguousarray(likes[:, is_met])
    likes.setflags(write=False)
    return likes


_kept_like_days = lru_cache(maxsize=8)(_like_days)  # one detection asks four times, mostly the same


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


def folded(grid: Grid, values: Floats) -> Floats:
    """Shape (days, slots): the mean of what lies in a slot of a day; NaN where nothing does."""
    return mean_per_cell(grid.place, values, grid.days * grid.slots).reshape(grid.days, grid.slots)


def _over_like_days(table: Floats, likes: Ints) -> Floats:
    """Median over like days of each day and slot; NaN where there is none."""
    answer = np.empty(table.shape)
    for days, ordered, counts in _on_like_days(table[:, :, None], likes):
        answer[days] = at_share(ordered, 0.5, counts)
    return answer


def _tails_over_like_days(rest: Floats, likes: Ints) -> tuple[Floats, Floats, Floats]:
    """Lower and upper quantile, and the median size, over like days and the slots beside; NaN where none is."""
    slots = rest.shape[1]
    round_the_clock = np.hstack((rest[:, -1:], rest, rest[:, :1]))
    beside = [round_the_clock[:, shift : shift + slots] for shift in range(3)] if slots > 2 else [rest]
    low, high, usual = (np.empty(rest.shape) for _ in range(3))
    for days, ordered, counts in _on_like_days(np.stack(beside, axis=-1), likes):
        low[days] = at_share(ordered, 1.0 - TAIL, counts)
        high[days] = at_share(ordered, TAIL, counts)
        np.abs(ordered, out=ordered).sort(axis=-1)
        usual[days] = at_share(ordered, 0.5, counts)
    return low, high, usual


def _on_like_days(stacked: Floats, likes: Ints) -> Iterator[tuple[slice, Floats, Ints]]:
    """What was read on the like days of a few days at a time, in order, and how many.

    Args:
        stacked: shape (days, slots, around). likes: shape (days, likes); -1 stands for a day of NaN.

    Yields:
        The days, shape (days, slots, likes x around) with NaN last, and how many are not NaN, shape (days, slots).
    """
    days, slots, around = stacked.shape
    padded = np.full((days + 1, slots, around), np.nan)
    padded[:-1] = stacked
    seen = np.count_nonzero(~np.isnan(padded), axis=-1)
    chunk = max(1, READINGS_AT_ONCE // (slots * likes.shape[1] * around))
    for begin in range(0, days, chunk):
        part = likes[begin : begin + chunk]
        by_like = padded.take(part, axis=0, mode="wrap")  # wrapped, -1 is the last day
        ordered = by_like.transpose(0, 2, 1, 3).reshape(part.shape[0], slots, -1)
        ordered.sort(axis=-1)
        counts = seen.take(part, axis=0, mode="wrap").sum(axis=1)
        yield slice(begin, begin + part.shape[0]), ordered, counts


def _against_days_of_its_type(grid: Grid, daily: Floats) -> Floats:
    """Each day's level less the usual one of working days, or of weekends, lest a week's be told by its weekends."""
    is_weekend = grid.weekday >= 5
    against = daily.copy()
    for days in (is_weekend, ~is_weekend):
        known = daily[days & np.isfinite(daily)]
        if known.size:
            against[days] -= middle(known)
    return against


def slow_level(daily: Floats, days: int = LEVEL_DAYS) -> Floats:
    """Running median of so many known days, shape (days,); at the ends the last full stretch, lest a fault there be
    its own level.

    Args:
        daily: of each day, NaN where nothing is known of it; known of one at least.
    """
    known = np.flatnonzero(np.isfinite(daily))
    filled = daily[known]
    width = min(days, filled.size)
    medians = median(filled[np.arange(filled.size - width + 1)[:, None] + np.arange(width)])
    at = np.minimum(np.maximum(np.arange(filled.size) - width // 2, 0), medians.size - 1)
    return np.asarray(np.interp(np.arange(daily.size), known, medians[at]))


def _typical(rest: Floats) -> float:
    """A standard deviation of all residuals, by a high quantile, since most hours of many meters are still."""
    size = np.abs(rest[np.isfinite(rest)])
    upper = float(quantiles(size, np.array([TYPICAL]))[0]) / TYPICAL_SIGMA if size.size else 0.0
    if upper > 0.0:
        return upper
    return float(np.mean(size)) if size.size else 0.0


def _without_season(values: Floats) -> Profile:
    """Too short for the shape of a day: everything against the median of all."""
    known = values[np.isfinite(values)]
    center = middle(known) if known.size else float("nan")
    spread = _typical(known - center)
    n = values.size
    return Profile(np.full(n, center), np.full(n, spread), np.full(n, spread), is_seasonal=False)
