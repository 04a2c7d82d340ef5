"""Trend, Fourier seasonalities and holidays, as an additive model with Gaussian priors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecasting.forecasters.base import Outcome, Problem
from forecasting.forecasters.days import WEEK, Days, cut_into_days
from forecasting.forecasters.design import HALF_LIFE_DAYS
from forecasting.forecasters.outcome import Points, outcome
from forecasting.forecasters.parts import USUAL_DAYS, Parts, usual_level
from forecasting.forecasters.short_history import (
    MIN_DAYS_TO_LEARN,
    forecast_short,
    leaning_on_recent_days,
    too_short_to_learn,
)

Floats = NDArray[np.float64]

DAILY_ORDER = 8
YEARLY_ORDER = 3
CHANGEPOINT_EVERY_DAYS = 14
LEVEL_OVER_DAYS = 3  # the trend is anchored to the level of the last days
BACKTESTS = 40
LEAST_DAYS = 28  # a trend, a week and weekends of their own are not told apart in less


def prophet_like_points(days: Days, *, explained: bool = False) -> Points:
    """Fit once at the end, and as of each of the last weeks with what was known then.

    Taylor and Letham (2018), The American Statistician 72:37: g(t) piecewise linear with shrunk changes
    of slope, s(t) Fourier series of the day (apart for weekends), the week and the year, h(t) holidays.
    The priors make it a ridge regression; its normal equations are summed day by day, so that the fit
    as of every week costs a solve and no pass.
    """
    n, ahead, slots = days.count, days.ahead, days.slots
    features, penalty, names = _features(days)
    level = np.abs(days.values).mean() or 1.0
    target = days.values / level
    past = features[:n]
    weight = days.seen * 0.5 ** ((n - 1 - np.arange(n))[:, None] / (2 * HALF_LIFE_DAYS))
    weighted = past * weight[..., None]
    held = np.full((ahead, n, slots), np.nan)
    every = WEEK if n > WEEK * BACKTESTS // 2 else 2
    origins = np.arange(n - 1, max(MIN_DAYS_TO_LEARN - 2, n - 1 - every * BACKTESTS), -every)[::-1]
    gram = np.zeros((penalty.size, penalty.size))
    cross = np.zeros(penalty.size)
    done = 0
    coming = np.empty((ahead, slots))
    for origin in origins:
        block = weighted[done : origin + 1].reshape(-1, penalty.size)
        gram += block.T @ past[done : origin + 1].reshape(-1, penalty.size)
        cross += block.T @ target[done : origin + 1].ravel()
        done = int(origin) + 1
        recency = 0.5 ** ((n - 1 - origin) / (2 * HALF_LIFE_DAYS))
        coefficients = np.linalg.solve(gram + recency * np.diag(penalty), cross)
        last = slice(max(0, done - LEVEL_OVER_DAYS), done)
        seen = days.seen[last]
        residual = (target[last] - past[last] @ coefficients)[seen]
        shift = float(residual.mean()) if residual.size else 0.0
        predicted = (features[done : done + ahead] @ coefficients + shift) * level
        held[: predicted.shape[0], origin] = predicted
        coming = predicted
    held[:, n - 1] = np.nan
    points = np.maximum(coming, days.floor)
    parts = None
    if explained:
        parts = _parts(days, features, coefficients * level, names)
        parts = parts.plus("trend", coming - parts.total).reaching("limits", points)
    return Points(points, np.maximum(held, days.floor), parts=parts)


def _parts(days: Days, features: Floats, coefficients: Floats, names: tuple[str, ...]) -> Parts:
    """What each component but the trend adds, against its mean over the last four weeks."""
    n, ahead = days.count, days.ahead
    usual = features[max(0, n - USUAL_DAYS) : n].mean(axis=(0, 1))
    added = (features[n : n + ahead] - usual) * coefficients
    coming = slice(n, n + ahead)
    values = {
        "hour_of_day": np.broadcast_to(days.hour, added.shape[:2]),
        "day_of_week": days.weekday[coming].astype(np.float64),
        "day_of_year": days.day_of_year[coming],
        "is_holiday": days.holiday[coming],
        **{name: table[coming] for name, table in zip(days.covariate_names, days.covariates, strict=True)},
    }
    parts = Parts(np.full(added.shape[:2], usual_level(days)))
    for name in dict.fromkeys(names):
        if name != "trend":
            of_name = np.array([other == name for other in names])
            parts = parts.plus(name, added[..., of_name].sum(axis=-1), values[name])
    return parts


def _features(days: Days) -> tuple[Floats, Floats, tuple[str, ...]]:
    """Shape (n + ahead, P, F), the penalty of each feature (the inverse of its prior variance), and its name."""
    total, slots = days.weekday.shape
    n = days.count
    time = (np.arange(total * slots) / slots).reshape(total, slots)
    columns: list[Floats] = [np.ones((total, slots)), time / n]
    penalties = [1e-6, 1.0]
    names = ["trend", "trend"]
    for k in range(CHANGEPOINT_EVERY_DAYS, int(n * 0.9), CHANGEPOINT_EVERY_DAYS):
        columns.append(np.maximum(time - k, 0.0) / n)
        penalties.append(5.0)
        names.append("trend")
    weekend = (days.weekday >= 5).astype(np.float64)
    off = np.maximum(weekend, days.holiday)
    clock = np.broadcast_to(days.hour, (total, slots)) * (2 * np.pi / 24.0)
    for order in range(1, min(DAILY_ORDER, max(0, slots // 2 - 1)) + 1):
        for wave in (np.sin(order * clock), np.cos(order * clock)):
            columns += [wave, wave * off]
            penalties += [0.1 * order, 0.3 * order]
            names += ["hour_of_day", "hour_of_day"]
    for weekday in range(WEEK):
        columns.append((days.weekday == weekday).astype(np.float64))
        penalties.append(1.0)
        names.append("day_of_week")
    columns.append(days.holiday * (1.0 - weekend))
    penalties.append(1.0)
    names.append("is_holiday")
    year = days.day_of_year * (2 * np.pi / 365.25)
    for order in range(1, YEARLY_ORDER + 1 if n >= 300 else 1):
        for wave in (np.sin(order * year), np.cos(order * year)):
            columns.append(wave)
            penalties.append(1.0 * order)
            names += ["day_of_year"] * 3
            for daily in (np.sin(clock), np.cos(clock)):
                columns.append(wave * daily)
                penalties.append(1.0 * order)
    for name, values in zip(days.covariate_names, days.covariates, strict=True):
        centre, spread = values[:n].mean(), values[:n].std() or 1.0
        scaled = (values - centre) / spread
        columns += [scaled, np.maximum(scaled, 0.0), scaled * np.sin(clock), scaled * np.cos(clock)]
        penalties += [1.0] * 4
        names += [name] * 4
    return np.stack(columns, axis=-1), np.array(penalties) * slots / 24.0, tuple(names)


class ProphetLike:
    """An additive model of trend, seasons and holidays: coarse, steady, easy to explain."""

    name = "prophet_like_v1"

    def forecast(self, problem: Problem, *, seed: int = 0, explained: bool = False) -> Outcome:
        days = cut_into_days(problem)
        if too_short_to_learn(days, LEAST_DAYS):
            return forecast_short(problem, days, explained=explained)
        points, warnings = leaning_on_recent_days(days, prophet_like_points(days, explained=explained))
        return outcome(
            problem,
            days,
            points,
            algorithm="trend, Fourier seasonalities and holidays",
            features=(
                "trend",
                "hour_of_day",
                "day_of_week",
                "day_of_year",
                "is_holiday",
                *days.covariate_names,
            ),
            samples=int(days.seen.sum()),
            warnings=warnings,
        )
