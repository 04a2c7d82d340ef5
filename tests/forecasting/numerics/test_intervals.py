from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecasting.intervals import conformal_quantile, error_scale, ordered


def test_the_rank_of_a_conformal_quantile_is_one_more_than_a_plain_ones() -> None:
    errors = np.arange(1, 101, dtype=np.float64)

    assert conformal_quantile(errors, 0.9) == 91.0  # ceil(101 * 0.9), where a plain one takes the 90th
    assert conformal_quantile(errors, 0.1) == 10.0  # 101 - 91
    assert conformal_quantile(errors, 0.5) == 50.5


def test_too_few_errors_give_the_outermost() -> None:
    assert conformal_quantile(np.array([-1.0, 4.0, 2.0]), 0.9) == 4.0
    assert conformal_quantile(np.array([-1.0, 4.0, 2.0]), 0.1) == -1.0


def test_conformal_margins_cover_new_errors_as_promised() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(400):
        known, new = rng.standard_t(3, 30), rng.standard_t(3, 50)
        low, high = conformal_quantile(known, 0.1), conformal_quantile(known, 0.9)
        hits.append(np.mean((new >= low) & (new <= high)))

    # ranks 3 and 28 of 30 leave 3/31 out on either side
    assert np.mean(hits) == pytest.approx(25 / 31, abs=0.01)


def test_the_scale_of_even_errors_is_their_size() -> None:
    errors = np.where(np.arange(40)[:, None] % 2 == 0, 2.0, -2.0) * np.ones((40, 24))

    np.testing.assert_allclose(error_scale(errors), 2.0)


def test_the_scale_knows_the_hours_that_are_hard() -> None:
    size = np.ones(24)
    size[8:12] = 10.0
    errors = np.random.default_rng(0).normal(0, 1, (200, 24)) * size

    scale = error_scale(errors)[-1]

    assert scale[9:11].min() > 4 * scale[18:22].max()


def test_the_scale_grows_when_errors_grew_lately_and_looks_at_no_later_day() -> None:
    errors = np.random.default_rng(0).normal(0, 1, (100, 24))
    worse = errors.copy()
    worse[90:] *= 4

    before, after = error_scale(errors), error_scale(worse)

    assert after[-1].mean() > 1.5 * before[-1].mean()
    assert np.isfinite(after).all()
    # the overall level enters every row alike; day to day, only what was known then may differ
    ratio = after[60:90] / before[60:90]
    assert ratio.max() < 1.5


def test_missing_errors_are_no_errors_and_none_at_all_give_one() -> None:
    errors = np.full((10, 4), np.nan)
    assert (error_scale(errors) == 1.0).all()

    errors[3] = 5.0
    assert error_scale(errors)[-1] == pytest.approx(5.0)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 8)), elements=st.floats(-1e9, 1e9))
)
def test_the_scale_is_always_positive_and_finite(errors: np.ndarray) -> None:
    scale = error_scale(errors)

    assert scale.shape == errors.shape
    assert np.isfinite(scale).all()
    assert (scale > 0).all()


def test_quantiles_are_put_in_order_and_held_at_the_floor() -> None:
    crossed = np.array([[3.0, 1.0, 2.0], [-4.0, -1.0, 2.0]])

    np.testing.assert_array_equal(ordered(crossed, 0.0), [[1.0, 2.0, 3.0], [0.0, 0.0, 2.0]])
    np.testing.assert_array_equal(ordered(crossed, -np.inf), [[1.0, 2.0, 3.0], [-4.0, -1.0, 2.0]])
