"""Sizes to sigma-equivalents: a score of three is as rare in one channel as in another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomalies.detectors.calibration import AS_THEY_ARE, Reference, calibrated, calm, together

Floats = NDArray[np.float64]


def reference_of(n: int, *, is_trained: bool = True) -> Reference:
    return Reference(np.ones(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_), is_trained)


@pytest.mark.parametrize("is_trained", [True, False])
def test_normal_sizes_keep_their_sigmas_up_to_the_last_knot(is_trained: bool) -> None:
    channel = np.random.default_rng(0).normal(0, 1, 200_000)

    reach = calibrated(reference_of(channel.size, is_trained=is_trained), channel)

    sizes = np.array([0.7, 1.0, 1.5])
    np.testing.assert_allclose(reach.sigma(sizes), sizes, rtol=0.02)


@given(st.floats(1e-6, 1e6))
def test_the_unit_does_not_matter(unit: float) -> None:
    channel = np.random.default_rng(1).standard_t(3, 2_000)
    reference = reference_of(channel.size)

    np.testing.assert_allclose(
        calibrated(reference, unit * channel).sigma(unit * channel),
        calibrated(reference, channel).sigma(channel),
        rtol=1e-9,
    )


@given(st.integers(0, 50), st.floats(0.1, 10.0))
def test_a_larger_size_never_scores_less_and_comes_back(seed: int, sigma: float) -> None:
    channel = np.random.default_rng(seed).laplace(0, 1, 500)
    reach = calibrated(reference_of(channel.size), channel)

    scored = reach.sigma(np.geomspace(1e-3, 1e3, 200))

    assert (np.diff(scored) >= 0).all()
    assert float(reach.sigma(np.array([reach.size(sigma)]))[0]) == pytest.approx(sigma, rel=1e-6)


@pytest.mark.parametrize("learned", [calibrated, calm])
def test_too_few_sizes_are_taken_for_sigmas(learned: type) -> None:
    channel = np.zeros(1_000)
    channel[:7] = 5.0

    assert learned(reference_of(channel.size), channel) is AS_THEY_ARE


def test_together_is_little_more_than_the_largest() -> None:
    one, other = np.array([3.0, 3.0, 0.0]), np.array([0.0, 3.0, 0.0])

    np.testing.assert_allclose(together([one, other]), [3.0, 3.0 * 2 ** (1 / 3), 0.0])
