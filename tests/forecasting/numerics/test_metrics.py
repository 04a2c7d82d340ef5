from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import mean_absolute_error as sklearn_mae
from sklearn.metrics import mean_pinball_loss as sklearn_pinball

from forecasting import metrics

finite = st.floats(-1e6, 1e6)
pairs = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, n, elements=finite), hnp.arrays(np.float64, n, elements=finite)
    )
)


def test_mae_and_rmse_by_hand() -> None:
    observed, forecast = np.array([10.0, 20.0, 30.0]), np.array([12.0, 20.0, 26.0])

    assert metrics.mean_absolute_error(observed, forecast) == 2.0  # (2 + 0 + 4) / 3
    assert metrics.root_mean_squared_error(observed, forecast) == math.sqrt(20 / 3)  # (4 + 0 + 16) / 3


def test_what_was_not_read_does_not_count() -> None:
    observed, forecast = np.array([10.0, np.nan]), np.array([13.0, 99.0])

    assert metrics.mean_absolute_error(observed, forecast) == 3.0
    assert metrics.root_mean_squared_error(observed, forecast) == 3.0
    assert metrics.coverage(observed, forecast - 5, forecast + 5) == 1.0
    assert math.isnan(metrics.mean_absolute_error(np.array([np.nan]), np.array([1.0])))


def test_percentages_leave_out_readings_near_zero() -> None:
    observed, forecast = np.array([100.0, 200.0, 0.5, 0.0]), np.array([110.0, 180.0, 50.0, 50.0])

    assert metrics.mean_absolute_percentage_error(observed, forecast) == pytest.approx(0.1)  # 10 % and 10 %
    assert metrics.mean_absolute_percentage_error(np.zeros(3), np.ones(3)) is None


def test_pinball_charges_the_side_that_was_said_to_be_unlikely() -> None:
    observed = np.array([10.0])

    assert metrics.pinball_loss(observed, np.array([12.0]), 0.1) == pytest.approx(1.8)  # 0.9 * 2
    assert metrics.pinball_loss(observed, np.array([8.0]), 0.1) == pytest.approx(0.2)  # 0.1 * 2
    three = np.array([[8.0, 10.0, 13.0]])  # (0.2 + 0 + 0.1 * 3) / 3
    assert metrics.mean_pinball_loss(observed, three, (0.1, 0.5, 0.9)) == pytest.approx(0.5 / 3)


@given(pairs, st.sampled_from([0.1, 0.5, 0.9]))
def test_the_losses_are_those_of_scikit_learn(pair: tuple[np.ndarray, np.ndarray], level: float) -> None:
    observed, forecast = pair

    assert metrics.mean_absolute_error(observed, forecast) == pytest.approx(sklearn_mae(observed, forecast))
    assert metrics.pinball_loss(observed, forecast, level) == pytest.approx(
        sklearn_pinball(observed, forecast, alpha=level), abs=1e-9
    )


def test_coverage_counts_the_ends_in() -> None:
    observed = np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    assert metrics.coverage(observed, np.full(5, 2.0), np.full(5, 4.0)) == 0.6
    assert math.isnan(metrics.coverage(np.array([np.nan]), np.zeros(1), np.ones(1)))
