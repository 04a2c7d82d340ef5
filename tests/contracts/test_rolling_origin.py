from __future__ import annotations

import numpy as np
import pytest

from forecasting.errors import SeriesTooShort
from forecasting.forecasters.base import Covariates, Outcome, Problem, Series
from forecasting.forecasters.seasonal_naive import SeasonalNaive
from forecasting.horizon import target_times
from tests.contracts.rolling_origin import as_of, rolling_origin


class LastValue:
    """Says the last value, give or take one."""

    name = "last_value"

    def forecast(self, problem: Problem, *, seed: int = 0) -> Outcome:
        last = problem.series.values[-1]
        return Outcome(
            times=target_times(problem.series, problem.steps),
            quantiles=np.tile([last - 1, last, last + 1], (problem.steps, 1)),
            coverage_by_step=np.full(problem.steps, np.nan),
            accuracy=None,
            algorithm="the last value",
            features_used=(),
            training_samples=problem.series.values.size,
        )


def ramp(n: int, steps: int) -> Problem:
    return Problem(Series(np.datetime64("2025-06-02T00:00", "us"), 60, np.arange(n, dtype=np.float64)), steps)


def test_windows_touch_and_end_with_the_series() -> None:
    backtest = rolling_origin(LastValue(), ramp(10, steps=2), windows=3)

    assert backtest.origins.tolist() == [4, 6, 8]
    assert backtest.observed.tolist() == [[4.0, 5.0], [6.0, 7.0], [8.0, 9.0]]
    assert backtest.quantiles[:, :, 1].tolist() == [[3.0, 3.0], [5.0, 5.0], [7.0, 7.0]]


def test_its_scores_by_hand() -> None:
    backtest = rolling_origin(LastValue(), ramp(10, steps=2), windows=3)

    assert backtest.accuracy.mae == 1.5  # every window errs by 1, then by 2
    assert backtest.accuracy.rmse == pytest.approx(np.sqrt(2.5))
    assert backtest.accuracy.coverage == 0.5
    assert backtest.accuracy.windows == 3
    assert backtest.coverage_by_step.tolist() == [1.0, 0.0]
    # errors to p10 2 and 3, to p50 1 and 2, to p90 0 and 1: (0.25 + 0.75 + 0.45) / 3
    assert backtest.pinball == pytest.approx((0.1 * 2.5 + 0.5 * 1.5 + 0.9 * 0.5) / 3)


def test_readings_that_are_missing_do_not_count() -> None:
    asked = ramp(10, steps=2)
    asked.series.values[9] = np.nan

    backtest = rolling_origin(LastValue(), asked, windows=1)

    assert backtest.accuracy.mae == 1.0
    assert np.isnan(backtest.coverage_by_step[1])


def test_fewer_windows_than_wanted_are_better_than_none_and_none_is_refused() -> None:
    assert rolling_origin(LastValue(), ramp(7, steps=2), windows=9).origins.size == 2

    with pytest.raises(SeriesTooShort, match="at least 4 usable points; the series has 3"):
        rolling_origin(LastValue(), ramp(3, steps=2), windows=1)


def test_as_of_cuts_the_series_and_moves_the_known_future() -> None:
    weather = Covariates(
        ("temperature",), np.arange(10, dtype=np.float64)[:, None], np.array([[10.0], [11.0]])
    )
    asked = Problem(ramp(10, 2).series, 2, covariates=weather)

    then = as_of(asked, 6)

    assert then.series.values.tolist() == [0, 1, 2, 3, 4, 5]
    assert then.covariates is not None
    assert then.covariates.past[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert then.covariates.future[:, 0].tolist() == [6, 7]


def test_a_series_that_repeats_itself_is_forecast_without_error() -> None:
    week = np.random.default_rng(0).uniform(1, 2, 168)
    asked = Problem(Series(np.datetime64("2025-06-02T00:00", "us"), 60, np.tile(week, 8)), 24)

    assert rolling_origin(SeasonalNaive(), asked, windows=5).accuracy.mae == 0.0
