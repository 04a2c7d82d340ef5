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
SHARES_OF_TREES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
EQUAL = 0.5


class Ensemble:
    """Ridge and LightGBM, weighed by their errors on held-back weeks."""

    name = "auto"

    def forecast(self, problem: Problem, *, seed: int = 0, explained: bool = False) -> Outcome:
        days = cut_into_days(problem)
        if too_short_to_learn(days):
            return forecast_short(problem, days, explained=explained)
        designs, names = designs_of(days)
        points = linear_points(days, designs, explained=explained)
        algorithm = "linear_v1"
        if days.count >= MIN_DAYS_FOR_TREES:
            boosted = boosted_points(days, designs, seed, explained=explained)
            share = sound_share(days, points, boosted)
            points = blend(points, boosted, share)
            algorithm = f"{1 - share:.2g} linear_v1 + {share:.2g} lightgbm_v1"
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


def sound_share(days: Days, first: Points, second: Points) -> float:
    """The best share of `second` in the past, half-way to equal weights: what was best by chance will not be again.

    Equal weights are hard to beat out of sample, Smith & Wallis (2009), Oxford Bulletin of Economics and
    Statistics 71:331; shrinking towards them, Diebold & Pauly (1990), Int. J. of Forecasting 6:503.
    """
    return (best_share(days, first, second) + EQUAL) / 2


def best_share(days: Days, first: Points, second: Points) -> float:
    """The share of `second` with the least mean absolute error where both made held-back predictions."""
    one, two = held_errors(days, first.held), held_errors(days, second.held)
    both = np.isfinite(one) & np.isfinite(two)
    one, two = one[both], two[both]
    losses = [float(np.abs((1 - share) * one + share * two).mean()) for share in SHARES_OF_TREES]
    return SHARES_OF_TREES[int(np.argmin(losses))]


def blend(first: Points, second: Points, share: float) -> Points:
    """(1 - share) of the first and share of the second; held-back where both are."""
    return Points(
        ahead=(1 - share) * first.ahead + share * second.ahead,
        held=(1 - share) * first.held + share * second.held,
        before=None if first.before is None else (1 - share) * first.before + share * second.held,
        parts=None if first.parts is None or second.parts is None else first.parts.mixed(second.parts, share),
    )
