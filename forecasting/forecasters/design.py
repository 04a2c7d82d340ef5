"""What a forecaster may look at: one table of features for each day of lead, as of the end of a day.

The target is the difference from the mean of the last four same weekdays, and so are the features
that have the unit of the series: a model of differences follows a change of level by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.forecasters.days import WEEK, Days

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAME_WEEKDAYS = 4
FIRST_ORIGIN = WEEK  # the first day with a same weekday before it
HALF_LIFE_DAYS = 150.0


@dataclass(frozen=True, slots=True)
class Design:
    """Rows of one day of lead: m origins, the last of them the end of the history, P slots, F features.

    features: shape (P, m, F). base: shape (m, P), mean of the last four same weekdays of the target.
    target: shape (m, P), observed minus base; weight: shape (m, P), 0.0 where there is nothing to learn
    from (not seen, or still to come). day: shape (m,), index of the target day. names: of the F features.
    """

    features: Floats
    base: Floats
    target: Floats
    weight: Floats
    day: Ints
    names: tuple[str, ...]


class Designer:
    """Makes the designs of all days of lead of one history, sharing what they have in common."""

    def __init__(self, days: Days) -> None:
        self.days = days
        n = days.count
        values = days.values
        self.base = _mean_of_same_weekdays(values, days.ahead, WEEK)
        self.deviation = np.zeros_like(values)
        self.deviation[WEEK:] = values[WEEK:] - self.base[WEEK:n]
        self.recent = _trailing(self.deviation, WEEK, first=WEEK)
        self.week = _trailing(values, WEEK)
        self.month = _trailing(values, 28)
        self.top = _trailing_max(values, 14)
        self.bottom = -_trailing_max(-values, 14)
        self.names: tuple[str, ...] = ()

    def of_lead(self, lead: int) -> Design:
        """The design of the day `lead` days after the origin (1 is the next)."""
        days, n, slots = self.days, self.days.count, self.days.slots
        lag = WEEK * -(-lead // WEEK)
        base = self.base if lag == WEEK else _mean_of_same_weekdays(days.values, days.ahead, lag)
        origins = np.arange(min(FIRST_ORIGIN * -(-lag // WEEK), n - 1), n)
        day = origins + lead
        target_base = base[day]
        columns: list[tuple[str, Floats]] = [("constant", np.ones((1, 1)))]
        columns += self._levels(origins, day, target_base, lag)
        columns += self._holidays(day, lag)
        columns += self._weather(origins, day, lag)
        columns += self._last_hours(origins, lead)  # at the end: only the first day has them
        self.names = tuple(name for name, _ in columns)
        features = np.empty((slots, origins.size, len(columns)))
        for k, (_, column) in enumerate(columns):
            features[:, :, k] = np.broadcast_to(column, (origins.size, slots)).T
        target = np.zeros((origins.size, slots))
        weight = np.zeros((origins.size, slots))
        past = day < n
        target[past] = days.values[day[past]] - target_base[past]
        age = (n - 1 - day[past])[:, None]
        weight[past] = days.seen[day[past]] * 0.5 ** (age / HALF_LIFE_DAYS)
        return Design(features, target_base, target, weight, day, self.names)

    def _levels(self, origins: Ints, day: Ints, base: Floats, lag: int) -> list[tuple[str, Floats]]:
        values = self.days.values
        yesterday = self.deviation[origins]
        before = self.deviation[origins - 1]
        recent = self.recent[origins]
        share = np.clip(
            (values[origins].sum(axis=1) + 1e-9) / (self.top[origins].sum(axis=1) + 1e-9), 0.0, 2.0
        )
        return [
            ("lag_1d_vs_usual", yesterday),
            ("lag_2d_vs_usual", before),
            ("week_vs_usual", recent),
            ("lag_1d_mean_vs_usual", yesterday.mean(axis=1, keepdims=True)),
            ("week_mean_vs_usual", recent.mean(axis=1, keepdims=True)),
            ("lag_7d", values[day - lag] - base),
            ("lag_1d", values[origins] - base),
            ("rolling_avg_7d", self.week[origins] - base),
            ("rolling_avg_28d", self.month[origins] - base),
            ("rolling_max_14d", self.top[origins] - base),
            ("rolling_min_14d", self.bottom[origins] - base),
            ("share_of_max_lag_1d", share[:, None] * self.top[origins] - base),
        ]

    def _last_hours(self, origins: Ints, lead: int) -> list[tuple[str, Floats]]:
        slots = self.days.slots
        if slots < 4:
            return []
        tail = self.deviation[origins]
        hour = max(1, slots // 24)
        last = tail[:, -hour:].mean(axis=1, keepdims=True)
        few = tail[:, -3 * hour :].mean(axis=1, keepdims=True)
        part = tail[:, -8 * hour :].mean(axis=1, keepdims=True)
        columns = [("last_hour_vs_usual", last), ("last_3h_vs_usual", few), ("last_8h_vs_usual", part)]
        if lead == 1:
            after = np.arange(slots)[None, :] * (24.0 / slots)
            columns += [
                ("last_hour_fading_2h", last * np.exp(-after / 2.0)),
                ("last_hour_fading_6h", last * np.exp(-after / 6.0)),
                ("last_3h_fading_6h", few * np.exp(-after / 6.0)),
            ]
            clearer = self._clearness_now(origins, 3 * hour) * self.top[origins]
            columns += [
                ("share_of_max_last_3h_fading_3h", clearer * np.exp(-after / 3.0)),
                ("share_of_max_last_3h_fading_10h", clearer * np.exp(-after / 10.0)),
            ]
        return columns

    def _clearness_now(self, origins: Ints, slots: int) -> Floats:
        """Share of the recent maximum reached in the last slots, less that of the whole last day.

        The sky of PV: how clear the last hours were. Zero where the maximum says it was night; shape (m, 1).
        """
        last, top = self.days.values[origins], self.top[np.maximum(origins - 1, 0)]
        whole = np.clip((last.sum(axis=1) + 1e-9) / (top.sum(axis=1) + 1e-9), 0.0, 2.0)
        possible = top[:, -slots:].sum(axis=1)
        light = possible > 0.1 * top.sum(axis=1) * slots / top.shape[1]
        now = np.clip(
            last[:, -slots:].sum(axis=1) / np.where(light & (possible > 0), possible, 1.0), 0.0, 2.0
        )
        return np.asarray(np.where(light, now - whole, 0.0))[:, None]

    def _holidays(self, day: Ints, lag: int) -> list[tuple[str, Floats]]:
        days = self.days
        if not days.holiday.any():
            return []
        usual = _mean_of_same_weekdays(days.holiday, 0, lag)[day]
        sunday = self._sunday_profile()[day - lag]
        workday = days.weekday[day] < 5
        contrast = (sunday - self.month[day - lag]) * workday
        after = days.holiday[day - 1] * workday
        return [
            ("is_holiday", (days.holiday[day] - usual) * workday),
            ("holiday_as_sunday", (days.holiday[day] - usual) * contrast),
            ("day_after_holiday", after - usual * workday),
        ]

    def _sunday_profile(self) -> Floats:
        """The values of the last Sunday at each slot as of each day, shape (n, P)."""
        days = self.days
        n = days.count
        is_sunday = days.weekday[:n] == 6
        at = np.where(is_sunday, np.arange(n)[:, None], 0)
        at = np.maximum.accumulate(at, axis=0)
        return np.take_along_axis(days.values, at, axis=0)

    def _weather(self, origins: Ints, day: Ints, lag: int) -> list[tuple[str, Floats]]:
        columns: list[tuple[str, Floats]] = []
        n = self.days.count
        for name, values in zip(self.days.covariate_names, self.days.covariates, strict=True):
            knots = np.quantile(values[:n], [0.25, 0.5, 0.75])
            smooth = _running_day(values)
            parts = [(name, values), (f"{name}_rolling_avg_24h", smooth)]
            parts += [
                (f"{name}_above_q{q}", np.maximum(values - k, 0.0))
                for q, k in zip((25, 50, 75), knots, strict=True)
            ]
            for label, part in parts:
                usual = _mean_of_same_weekdays(part, 0, lag)
                columns.append((label, part[day] - usual[day]))
            usual = _mean_of_same_weekdays(values, 0, WEEK)
            was = values - usual
            columns.append((f"{name}_lag_1d_vs_usual", was[origins]))
            columns.append((f"{name}_lag_1d", values[origins] - values[day]))
        return columns


def designs_of(days: Days) -> tuple[list[Design], tuple[str, ...]]:
    """The designs of all days of lead, and the names of their features (the first day has the most)."""
    designer = Designer(days)
    designs = [designer.of_lead(lead) for lead in range(days.ahead, 0, -1)][::-1]
    return designs, designer.names


def _mean_of_same_weekdays(values: Floats, ahead: int, lag: int) -> Floats:
    """Mean of the last four same weekdays at least `lag` days before each day, shape (n + ahead, P).

    Days with fewer before them use those there are; days with none have the first day's values.
    """
    n, slots = values.shape
    sums = np.zeros((n + ahead, slots))
    counts = np.zeros((n + ahead, 1))
    for k in range(SAME_WEEKDAYS):
        back = lag + WEEK * k
        if back >= n + ahead:
            break
        reach = min(n, n + ahead - back)
        sums[back : back + reach] += values[:reach]
        counts[back : back + reach] += 1.0
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), values[:1])


def _trailing(values: Floats, width: int, first: int = 0) -> Floats:
    """Mean of the last `width` days up to and with each day, of days from `first` on."""
    n = values.shape[0]
    total = np.zeros((n + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=total[1:])
    end = np.arange(1, n + 1)
    start = np.minimum(np.maximum(end - width, first), end - 1)
    return np.asarray((total[end] - total[start]) / (end - start)[:, None])


def _trailing_max(values: Floats, width: int) -> Floats:
    """Highest of the last `width` days up to and with each day, by doubling the window."""
    best = values.copy()
    reach = 1
    while reach < width:
        step = min(reach, width - reach)
        best[step:] = np.maximum(best[step:], best[:-step].copy())
        reach += step
    return np.asarray(best)


def _running_day(values: Floats) -> Floats:
    """Mean of the 24 hours up to and with each slot, same shape."""
    flat = values.ravel()
    slots = values.shape[1]
    total = np.concatenate(([0.0], np.cumsum(flat)))
    end = np.arange(1, flat.size + 1)
    start = np.maximum(end - slots, 0)
    return np.asarray((total[end] - total[start]) / (end - start)).reshape(values.shape)
