"""What every forecaster takes and gives: arrays in, arrays out, time and seed as arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Calendar as Calendar
from forecasting.series import Covariates as Covariates
from forecasting.series import Series as Series

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything a forecast is a function of, but the seed."""

    series: Series
    steps: int
    calendar: Calendar = field(default_factory=Calendar)
    covariates: Covariates | None = None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Errors on held-back windows of this very history, in the unit of the series.

    mape: share of the reading (0.05 is 5 %), None when no reading differs enough from zero.
    coverage: share of readings inside p10..p90.
    windows: how many windows were held back.
    """

    mae: float
    rmse: float
    mape: float | None
    coverage: float
    windows: int


@dataclass(frozen=True, slots=True)
class Attribution:
    """What adds up to each median, in the unit of the series: base + contributions.sum(axis=1) = quantiles[:, 1].

    names: k names. values: shape (steps, k), of the features; NaN where one has none.
    base: shape (steps,), the usual level. contributions: shape (steps, k).
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    base: NDArray[np.float64]
    contributions: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A probabilistic forecast and what is honestly known about it.

    times: shape (steps,), datetime64[s], UTC; the first follows the last reading.
    quantiles: shape (steps, 3): p10 <= p50 <= p90, finite, in the unit of the series.
    coverage_by_step: shape (steps,): measured share of outcomes inside p10..p90 at that lead time;
        NaN where it could not be measured.
    accuracy: None when the history is too short to hold anything back.
    algorithm: what was fitted, in words a person can read ("0.6 linear_v1 + 0.4 lightgbm_v1").
    """

    times: NDArray[np.datetime64]
    quantiles: NDArray[np.float64]
    coverage_by_step: NDArray[np.float64]
    accuracy: Accuracy | None
    algorithm: str
    features_used: tuple[str, ...]
    training_samples: int
    warnings: tuple[str, ...] = ()
    attribution: Attribution | None = None


class Forecaster(Protocol):
    """One algorithm. Holds no state between calls: the same problem and seed give the same outcome."""

    name: str

    def forecast(self, problem: Problem, *, seed: int = 0) -> Outcome: ...


class ExplainedForecaster(Forecaster, Protocol):
    """One that gives an account of its forecast, which stays the same."""

    def forecast(self, problem: Problem, *, seed: int = 0, explained: bool = False) -> Outcome: ...
