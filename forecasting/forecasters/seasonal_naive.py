"""The same hour of the last same weekday: the forecast every other one has to beat."""

from __future__ import annotations

import numpy as np

from forecasting.forecasters.base import Outcome, Problem
from forecasting.forecasters.days import WEEK, Days, cut_into_days
from forecasting.forecasters.outcome import Points, outcome
from forecasting.forecasters.short_history import forecast_short


def seasonal_naive_points(days: Days) -> Points:
    """Last week's values; needs eight days."""
    n, ahead = days.count, days.ahead
    held = np.full((ahead, n, days.slots), np.nan)
    coming = np.empty((ahead, days.slots))
    for lead in range(1, ahead + 1):
        lag = WEEK * -(-lead // WEEK)
        coming[lead - 1] = days.values[n - 1 + lead - lag]
        origins = np.arange(max(0, lag - lead), n - 1)
        held[lead - 1, origins] = days.values[origins + lead - lag]
    return Points(coming, held)


class SeasonalNaive:
    """Last week again; nothing is fitted."""

    name = "seasonal_naive_v1"

    def forecast(self, problem: Problem, *, seed: int = 0) -> Outcome:
        days = cut_into_days(problem)
        if days.count < WEEK * -(-days.ahead // WEEK) + 1:
            return forecast_short(problem, days)
        return outcome(
            problem,
            days,
            seasonal_naive_points(days),
            algorithm="the same hour of the last same weekday",
            features=("lag_7d",),
            samples=int(days.seen.sum()),
        )
