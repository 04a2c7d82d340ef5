"""The same hour of the last same weekday: the forecast every other one has to beat."""

from __future__ import annotations

from forecasting.forecasters.base import Outcome, Problem
from forecasting.forecasters.days import WEEK, cut_into_days
from forecasting.forecasters.outcome import outcome
from forecasting.forecasters.short_history import forecast_short, last_week_points


class SeasonalNaive:
    """Last week again; nothing is fitted."""

    name = "seasonal_naive_v1"

    def forecast(self, problem: Problem, *, seed: int = 0, explained: bool = False) -> Outcome:
        days = cut_into_days(problem)
        if days.count < WEEK * -(-days.ahead // WEEK) + 1:
            return forecast_short(problem, days, explained=explained)
        return outcome(
            problem,
            days,
            last_week_points(days, explained=explained),
            algorithm="the same hour of the last same weekday",
            features=("lag_7d",),
            samples=int(days.seen.sum()),
        )
