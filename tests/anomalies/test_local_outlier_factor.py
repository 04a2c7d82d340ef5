"""The factor found among all distances against scikit-learn's."""

from __future__ import annotations

import numpy as np
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


def test_rows_at_one_place_are_no_reason_to_fail() -> None:
    thin = thinness(np.ones((64, 2)), np.array([[1.0, 1.0], [2.0, 1.0]]))

    assert np.isfinite(thin).all()
    assert thin[0] == 0.0 < thin[1]
