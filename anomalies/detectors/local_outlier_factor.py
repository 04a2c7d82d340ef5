"""Local outlier factor: how much thinner it is around a reading than around its neighbours (Breunig et al., 2000)."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import LocalOutlierFactor as Factor

from anomalies.detectors.base import Problem, Scores
from anomalies.detectors.frontend import calibrated, combined, evidence_of, scores

FITTED_ON = 1_000


class LocalOutlierFactor:
    """The factor of each reading among the deviations and steps of the reference."""

    name = "local_outlier_factor"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        channels = evidence.channels
        reaches = [calibrated(evidence, channel) for channel in channels]
        sizes = np.column_stack([np.sign(c) * r.sigma(c) for r, c in zip(reaches, channels, strict=True)])
        chosen = np.flatnonzero(evidence.reference)
        largest = np.abs(sizes).max(axis=1)
        if chosen.size < 32:
            return scores(evidence, largest, reaches[0])
        if chosen.size > FITTED_ON:
            chosen = np.random.default_rng(seed).choice(chosen, FITTED_ON, replace=False)
        k = int(np.clip(chosen.size // 4, 10, 200))
        factor = Factor(n_neighbors=k, novelty=True, n_jobs=1).fit(sizes[chosen])
        asked = np.flatnonzero(largest > 1.0)
        raw = np.zeros(largest.size)
        raw[asked] = np.log(np.maximum(-factor.score_samples(sizes[asked]), 1.0))
        raw = raw + 1e-3 * largest
        return scores(evidence, combined(evidence, raw), reaches[0])
