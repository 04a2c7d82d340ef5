"""The factor found among all distances against scikit-learn's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import LocalOutlierFactor

from anomalies.detectors.local_outlier_factor import LEAST_FITTED, NEIGHBOURS, PLACE, thinness


def test_it_is_scikit_learns() -> None:
    rng = np.random.default_rng(5)
    for rows in (LEAST_FITTED, 100, 256):
        fitted = np.abs(rng.normal(0, 1, (rows, 2)))
        asked = PLACE * np.rint(np.abs(rng.normal(0, 3, (5_000, 2))) / PLACE)
        neighbours = int(np.clip(rows // 4, *NEIGHBOURS))

        theirs = LocalOutlierFactor(n_neighbors=neighbours, novelty=True).fit(fitted).score_samples(asked)

        np.testing.assert_allclose(thinness(fitted, asked), np.maximum(-theirs - 1.0, 0.0), atol=1e-12)


def test_of_rows_as_far_off_all_are_neighbours() -> None:
    rng = np.random.default_rng(6)
    fitted = np.rint(np.abs(rng.normal(0, 2, (48, 2))))
    asked = np.rint(np.abs(rng.normal(0, 4, (50, 2))))
    count = fitted.shape[0] // 4

    def neighbours(apart: NDArray[np.float64]) -> list[int]:
        return [int(o) for o in np.flatnonzero(apart <= np.sort(apart)[count - 1])]

    apart = np.linalg.norm(fitted[:, None] - fitted[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    edge = np.sort(apart, axis=1)[:, count - 1]
    density = np.array([1 / np.mean([max(row[o], edge[o]) for o in neighbours(row)]) for row in apart])
    expected = []
    for place in asked:
        row = np.linalg.norm(fitted - place, axis=1)
        near = neighbours(row)
        reach = np.mean([max(row[o], edge[o]) for o in near])
        expected.append(max(density[near].mean() * reach - 1.0, 0.0))

    np.testing.assert_allclose(thinness(fitted, asked), expected, atol=1e-6)


def test_rows_at_one_place_are_no_reason_to_fail() -> None:
    thin = thinness(np.ones((64, 2)), np.array([[1.0, 1.0], [2.0, 1.0]]))

    assert np.isfinite(thin).all()
    assert thin[0] == 0.0 < thin[1]
