"""The blend that would have been best on weeks of this very history that nobody learned from."""

from __future__ import annotations

import numpy as np

from forecasting.forecasters.base import Outcome, Problem
from forecasting.forecasters.days import WEEK, Days, cut_into_days
from forecasting.forecasters.design import designs_of
from forecasting.forecasters.gradient_boosting import boosted_points
from forecasting.forecasters.linear import linear_points
from forecasting.forecasters.outcome import Points, held_errors, outcome
from forecasting.forecasters.short_history import forecast_short, leaning_on_recent_days, too_short_to_learn

MIN_DAYS_FOR_TREES = 28
SHARES_OF_TREES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)


class Ensemble:
    """Ridge and LightGBM, weighed by their errors on held-back weeks."""

    name = "auto"

    def forecast(self, problem: Problem, *, seed: int = 0) -> Outcome:
        days = cut_into_days(problem)
        if too_short_to_learn(days):
            return forecast_short(problem, days)
        designs, names = designs_of(days)
        points = linear_points(days, designs)
        algorithm = "linear_v1"
        if days.count >= MIN_DAYS_FOR_TREES:
            boosted = boosted_points(days, designs, seed)
            share = best_share(days, points, boosted)
            points = blend(points, boosted, share)
            algorithm = f"{1 - share:g} linear_v1 + {share:g} lightgbm_v1" if share > 0 else algorithm
        points, warnings = leaning_on_recent_days(days, points)
        return outcome(
            problem,
            days,
            points,
            algorithm=algorithm,
            features=names[1:],
            samples=int(days.seen[WEEK:].sum()),
            warnings=warnings,
        )


def best_share(days: Days, first: Points, second: Points) -> float:
    """The share of `second` with the least mean absolute error where both made held-back predictions."""
    one, two = held_errors(days, first.held), held_errors(days, second.held)
    both = np.isfinite(one) & np.isfinite(two)
    one, two = one[both], two[both]
    losses = [float(np.abs((1 - share) * one + share * two).mean()) for share in SHARES_OF_TREES]
    return SHARES_OF_TREES[int(np.argmin(losses))]


def blend(first: Points, second: Points, share: float) -> Points:
    """(1 - share) of the first and share of the second; held-back where both are."""
    if share == 0.0:
        return first
    return Points(
        ahead=(1 - share) * first.ahead + share * second.ahead,
        held=(1 - share) * first.held + share * second.held,
        before=None if first.before is None else (1 - share) * first.before + share * second.held,
    )
