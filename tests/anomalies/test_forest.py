"""The forest grown all trees at once, held to scikit-learn's."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import IsolationForest

from anomalies.detectors.forest import grow


def test_it_ranks_as_scikit_learn_does() -> None:
    rows = np.random.default_rng(0).standard_t(3, (1_000, 3))

    ours = grow(rows, 400, 256, seed=0).scores(rows)

    theirs = -IsolationForest(n_estimators=400, max_samples=256, random_state=0).fit(rows).score_samples(rows)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    np.testing.assert_allclose(ours, theirs, atol=0.04)


def test_rows_that_are_all_the_same_are_all_as_usual() -> None:
    rows = np.ones((100, 2))

    scores = grow(rows, 10, 64, seed=0).scores(rows)

    np.testing.assert_allclose(scores, 0.5)


def test_what_is_alone_is_set_apart_at_once() -> None:
    rows = np.append(np.zeros((99, 1)), [[1.0]], axis=0)

    scores = grow(rows, 10, 100, seed=0).scores(rows)

    assert scores[-1] > 0.9  # one cut of about ten
    assert scores[:-1].max() < 0.55
