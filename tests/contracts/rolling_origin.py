"""The judge of the contract: forecast again and again as of times in the past, and compare with what came.

It knows no forecaster from inside, so what one reports of itself is held against it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting import metrics
from forecasting.errors import SeriesTooShort
from forecasting.forecasters.base import QUANTILES, Accuracy, Covariates, Forecaster, Problem
from forecasting.horizon import MIN_POINTS

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Backtest:
    """Forecasts of k windows and what came, oldest first, in the unit of the series.

    origins: shape (k,), how many values of the series each forecast knew.
    observed: shape (k, steps), NaN where there is no reading. quantiles: shape (k, steps, 3).
    """

    origins: NDArray[np.int64]
    observed: Floats
    quantiles: Floats

    @property
    def accuracy(self) -> Accuracy:
        """Errors of the median and coverage of p10..p90 over all windows."""
        observed, flat = self.observed.ravel(), self.quantiles.reshape(-1, len(QUANTILES))
        return Accuracy(
            mae=metrics.mean_absolute_error(observed, flat[:, 1]),
            rmse=metrics.root_mean_squared_error(observed, flat[:, 1]),
            mape=metrics.mean_absolute_percentage_error(observed, flat[:, 1]),
            coverage=metrics.coverage(observed, flat[:, 0], flat[:, 2]),
            windows=int(self.origins.size),
        )

    @property
    def pinball(self) -> float:
        """Mean pinball loss over p10, p50 and p90, in the unit of the series."""
        flat = self.quantiles.reshape(-1, len(QUANTILES))
        return metrics.mean_pinball_loss(self.observed.ravel(), flat, QUANTILES)

    @property
    def coverage_by_step(self) -> Floats:
        """Share of windows inside p10..p90 at each lead, shape (steps,); NaN where nothing was read."""
        lower, upper = self.quantiles[..., 0], self.quantiles[..., 2]
        inside = ((self.observed >= lower) & (self.observed <= upper)).astype(np.float64)
        known = np.isfinite(self.observed)
        counts = known.sum(axis=0)
        hits = np.where(known, inside, 0.0).sum(axis=0)
        return np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)


def rolling_origin(
    forecaster: Forecaster, problem: Problem, *, windows: int, seed: int = 0, every: int | None = None
) -> Backtest:
    """Forecast the last `windows` windows of the series, each from nothing but what was before it.

    Args:
        problem: its horizon is that of every window; covariates of the past stand in for known futures.
        windows: how many, at least one; fewer when the series is too short.
        every: distance of two origins in steps; by default windows touch and do not overlap.

    Raises:
        SeriesTooShort: not even one window leaves two readings before it.
    """
    values, steps = problem.series.values, problem.steps
    every = steps if every is None else every
    ends = values.size - steps - every * np.arange(windows)[::-1]
    known = np.array([int(np.isfinite(values[: max(end, 0)]).sum()) for end in ends])
    origins = ends[known >= MIN_POINTS]
    if origins.size == 0:
        raise SeriesTooShort(have=int(np.isfinite(values).sum()), need=steps + MIN_POINTS)
    quantiles = [forecaster.forecast(as_of(problem, int(end)), seed=seed).quantiles for end in origins]
    observed = np.stack([values[end : end + steps] for end in origins])
    return Backtest(origins=origins, observed=observed, quantiles=np.stack(quantiles))


def as_of(problem: Problem, end: int) -> Problem:
    """The problem as it stood when only the first `end` values of the series were known."""
    series = replace(problem.series, values=problem.series.values[:end])
    given = problem.covariates
    if given is None:
        return replace(problem, series=series)
    table = np.concatenate((given.past, given.future))
    covariates = Covariates(given.names, table[:end], table[end : end + problem.steps])
    return replace(problem, series=series, covariates=covariates)
