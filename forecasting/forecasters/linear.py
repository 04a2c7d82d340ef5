"""Regularised linear forecasts, one for each day of lead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecasting.forecasters.base import Outcome, Problem
from forecasting.forecasters.days import WEEK, Days, cut_into_days
from forecasting.forecasters.design import Design, designs_of
from forecasting.forecasters.outcome import Points, outcome
from forecasting.forecasters.parts import Parts, same_weekdays_parts, unit_of
from forecasting.forecasters.ridge import Fit, best_slot_prior, fit_robust
from forecasting.forecasters.short_history import forecast_short, leaning_on_recent_days, too_short_to_learn


def linear_points(days: Days, designs: list[Design], *, explained: bool = False) -> Points:
    """Fit every day of lead; the last origin of each design is the end of the history."""
    n = days.count
    held = np.full((days.ahead, n, days.slots), np.nan)
    before = held.copy() if DAYS_TO_ROLL <= n < DAYS_TO_CROSS_FIT else None
    coming = np.empty((days.ahead, days.slots))
    slot_prior = best_slot_prior(designs[0])
    fits = []
    for lead, design in enumerate(designs, start=1):
        fit = fit_robust(design, slot_prior, rolling=before is not None, explained=explained)
        fits.append(fit)
        coming[lead - 1] = design.base[-1] + fit.ahead
        past = design.day < n
        held[lead - 1, design.day[past] - lead] = (design.base + fit.held)[past]
        if before is not None:
            before[lead - 1, design.day[past] - lead] = (design.base + fit.before)[past]
    rolled = None if before is None else np.maximum(before, days.floor)
    ahead = np.maximum(coming, days.floor)
    parts = _parts(days, designs, fits).reaching("limits", ahead) if explained else None
    return Points(ahead, np.maximum(held, days.floor), rolled, parts)


def _parts(days: Days, designs: list[Design], fits: list[Fit]) -> Parts:
    """The mean of same weekdays by hour and weekday, and what each feature adds to it.

    What the fit adds on average belongs to the base, as far as it is the same at all hours, else to the hour.
    """
    parts = same_weekdays_parts(days, np.stack([design.base[-1] for design in designs]))
    average = np.stack([fit.average for fit in fits if fit.average is not None])
    level = np.broadcast_to(average.mean(axis=1, keepdims=True), average.shape)
    parts = replace(parts, base=parts.base + level).plus("hour_of_day", average - level)
    for name in dict.fromkeys(name for design in designs for name in design.names[1:]):
        amount = np.zeros(average.shape)
        value = np.full(average.shape, np.nan)
        for lead, (design, fit) in enumerate(zip(designs, fits, strict=True)):
            if name in design.names and fit.parts is not None:
                k = design.names.index(name)
                amount[lead] = fit.parts[:, k]
                value[lead] = design.features[:, -1, k] * unit_of(name, days)
        parts = parts.plus(name, amount, value)
    return parts


# In a history shorter than half a year, weeks on both sides tell of a week what the past alone does not:
# errors of leaving weeks out are then too small, those of a rolling origin are not. Under five weeks there
# are too few origins to roll over.
DAYS_TO_ROLL = 35
DAYS_TO_CROSS_FIT = 183


class Linear:
    """Ridge on calendar, lags and weather, as differences from the mean of four same weekdays."""

    name = "linear_v1"

    def forecast(self, problem: Problem, *, seed: int = 0, explained: bool = False) -> Outcome:
        days = cut_into_days(problem)
        if too_short_to_learn(days):
            return forecast_short(problem, days, explained=explained)
        designs, names = designs_of(days)
        points, warnings = leaning_on_recent_days(days, linear_points(days, designs, explained=explained))
        return outcome(
            problem,
            days,
            points,
            algorithm="ridge regression for each day of lead",
            features=names[1:],
            samples=int(days.seen[WEEK:].sum()),
            warnings=warnings,
        )
