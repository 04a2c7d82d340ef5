"""Isolation forest: how few random cuts set a reading apart (Liu, Ting and Zhou, 2008)."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import IsolationForest as Forest

from anomalies.detectors.base import Problem, Scores
from anomalies.detectors.frontend import calibrated, combined, evidence_of, scores

TREES = 25
SAMPLES = 256
LEAST_FITTED = 32
FITTED_ON = 4_096  # readings at most
BEYOND = 0.15  # path lengths end where the fitted readings do; what lies further out counts by its size
DAMPING = 0.88  # of the calibrated score: few trees leave it rough, measured by `make bench-anomaly`


class IsolationForest:
    """A forest over the sizes of deviation, step and means; beyond its range the sizes speak on."""

    name = "isolation_forest"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        reaches = [calibrated(evidence, channel) for channel in evidence.channels]
        sizes = np.column_stack([r.sigma(c) for r, c in zip(reaches, evidence.channels, strict=True)])
        chosen = np.flatnonzero(evidence.reference)
        if chosen.size < LEAST_FITTED:
            return scores(evidence, sizes.max(axis=1), reaches[0])
        if chosen.size > FITTED_ON:
            chosen = np.random.default_rng(seed).choice(chosen, FITTED_ON, replace=False)
        table = np.log(sizes + 0.1)
        forest = Forest(
            n_estimators=TREES, max_samples=min(SAMPLES, chosen.size), random_state=seed, n_jobs=1
        ).fit(table[chosen])
        isolation = -forest.score_samples(table)
        edge = np.maximum(np.quantile(sizes[chosen], 0.95, axis=0), 0.5)
        raw = isolation - np.quantile(isolation[chosen], 0.05)
        raw += BEYOND * np.maximum(sizes / edge - 1.0, 0.0).max(axis=1)
        return scores(evidence, DAMPING * combined(evidence, np.maximum(raw, 0.0)), reaches[0])
