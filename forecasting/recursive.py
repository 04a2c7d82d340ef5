"""Many steps ahead by a model of one step: what it predicted stands for the readings that are not there yet.

A registered model says the value at t from features as of t. Beyond the first step some of them (a lag shorter than the
lead time, a window that reaches into it) would need readings that nobody has; its own predictions take their place.
The error of doing so is measured, from origins in the past that are treated in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import compute
from features.catalog import Feature, Lag, Window
from forecasting import metrics
from forecasting.forecasters.base import Accuracy, Problem
from forecasting.horizon import grid_times
from forecasting.intervals import conformal_quantile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ask = Callable[[dict[str, Floats]], Floats]  # columns by feature, shape (k,), to predictions, shape (k,)

FOLDS = 5
ENOUGH_FOR_A_LEAD = 20  # errors of one lead time; with fewer, those of all leads are taken together


def predict_ahead(ask: Ask, features: Sequence[Feature], problem: Problem, origins: Ints) -> Floats:
    """Predictions of the `steps` values after each origin, shape (k, steps), in the unit of the series.

    Args:
        ask: the model. It is asked `steps` times, each time for all origins at once.
        origins: how many values of the series each forecast knows, shape (k,), 0 < origin <= n.
        problem: what is known of the weather at past target times stands in for a forecast of it.
    """
    series, steps = problem.series, problem.steps
    step_us = series.interval_minutes * 60_000_000
    grid_us = grid_times(series, count=series.values.size + steps).astype("datetime64[us]").astype(np.int64)
    reach_us = max((int(each.looks_back.total_seconds() * 1e6) for each in features), default=0) + step_us
    of_values = [each for each in features if isinstance(each.source, Lag | Window)]
    of_time = [each for each in features if each not in of_values]
    around = _past_of_time(problem, grid_us)
    lines = _Lines(series.values, grid_us, origins, steps, reach_us)
    found = np.empty((origins.size, steps))
    for lead in range(steps):
        columns = compute.rows(of_time, around, grid_us[origins + lead])
        columns |= compute.rows(of_values, lines.past(series.interval_minutes), lines.moments(lead))
        found[:, lead] = ask({each.name: columns[each.name] for each in features})
        lines.put(lead, found[:, lead])
    return found


def _past_of_time(problem: Problem, grid_us: Ints) -> compute.Past:
    """What features of the calendar and of the weather look at."""
    nothing = np.empty(0, dtype=np.int64)
    given = problem.covariates
    weather = {}
    if given is not None:
        table = np.concatenate((given.past, given.future))
        weather = {name: table[:, index] for index, name in enumerate(given.names)}
    return compute.Past(nothing, np.empty(0), grid_us, weather, problem.calendar.timezone)


class _Lines:
    """The last readings before each origin and room for what follows, one origin after the other on one line of
    time, so far apart that none sees another: one computation serves them all."""

    def __init__(self, values: Floats, grid_us: Ints, origins: Ints, steps: int, reach_us: int) -> None:
        step_us = int(grid_us[1] - grid_us[0])
        back = -(-reach_us // step_us)
        apart = (2 * back + steps + 2) * step_us
        offsets = np.arange(-back, steps)
        index = origins[:, None] + offsets  # (k, back + steps)
        self._starts = apart * np.arange(1, origins.size + 1, dtype=np.int64)
        times = self._starts[:, None] + offsets * step_us
        table = np.full(index.shape, np.nan)
        known = (offsets < 0) & (index >= 0)
        table[known] = values[index[known]]
        kept = np.isfinite(table) | (offsets >= 0)
        self._slots = (
            np.cumsum(kept.ravel()).reshape(kept.shape)[:, back:] - 1
        )  # of each step in what is kept
        self._times, self._values = times[kept], np.nan_to_num(table[kept])
        self._step_us = step_us

    def past(self, interval_minutes: int) -> compute.Past:
        """Steps not yet put are 0.0 there and never looked at: they are not before the moment."""
        return compute.Past(self._times, self._values, interval_minutes=interval_minutes)

    def moments(self, lead: int) -> Ints:
        return self._starts + lead * self._step_us

    def put(self, lead: int, values: Floats) -> None:
        self._values[self._slots[:, lead]] = values


@dataclass(frozen=True, slots=True)
class Bands:
    """low, high: what to add to a prediction for p10 and p90, shape (steps,), low <= 0 <= high.

    coverage_by_step: measured share of outcomes inside at each lead, shape (steps,), NaN where none was read.
    """

    low: Floats
    high: Floats
    coverage_by_step: Floats
    accuracy: Accuracy


def measured_bands(predicted: Floats, observed: Floats) -> Bands:
    """Bands from the errors of forecasts of the past, both of shape (k, steps), NaN in `observed` is no reading.

    Coverage is measured on fifths of the windows, each by bands from the other four.
    """
    errors = observed - predicted
    inside = np.full(errors.shape, np.nan)
    windows = np.arange(len(errors))
    for fold in np.array_split(windows, min(FOLDS, windows.size)):
        low, high = _band(np.delete(errors, fold, axis=0) if fold.size < windows.size else errors)
        inside[fold] = np.where(
            np.isfinite(errors[fold]), (errors[fold] >= low) & (errors[fold] <= high), np.nan
        )
    low, high = _band(errors)
    known = np.isfinite(inside)
    hits, counts = np.where(known, inside, 0.0).sum(axis=0), known.sum(axis=0)
    flat, outcome = predicted.ravel(), observed.ravel()
    accuracy = Accuracy(
        mae=metrics.mean_absolute_error(outcome, flat),
        rmse=metrics.root_mean_squared_error(outcome, flat),
        mape=metrics.mean_absolute_percentage_error(outcome, flat),
        coverage=float(inside[known].mean()),
        windows=len(errors),
    )
    return Bands(low, high, np.where(counts > 0, hits / np.maximum(counts, 1), np.nan), accuracy)


def _band(errors: Floats) -> tuple[Floats, Floats]:
    """p10 and p90 of the errors at each lead; zero lies between them, since the prediction is the median."""
    every = errors[np.isfinite(errors)]
    band = np.empty((2, errors.shape[1]))
    for lead in range(errors.shape[1]):
        own = errors[np.isfinite(errors[:, lead]), lead]
        own = own if own.size >= ENOUGH_FOR_A_LEAD else every
        band[:, lead] = conformal_quantile(own, 0.1), conformal_quantile(own, 0.9)
    return np.minimum(band[0], 0.0), np.maximum(band[1], 0.0)
