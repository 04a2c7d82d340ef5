"""Local outlier factor: how much thinner it is around a reading than around its neighbours (Breunig et al., 2000)."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import LocalOutlierFactor as Factor

from anomalies.detectors.base import Problem, Scores
from anomalies.detectors.frontend import calibrated, combined, evidence_of, scores

LEAST_FITTED = 32
FITTED_ON = 1_000  # readings at most
NEIGHBOURS = (10, 200)  # a quarter of the readings within these; few neighbours hide long faults
CORE = 1.5  # sigma-equivalents in every channel; within, the factor is near 1 and is not asked for


class LocalOutlierFactor:
    """The factor of each reading among the deviations, steps and means of the reference."""

    name = "local_outlier_factor"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        reaches = [calibrated(evidence, channel) for channel in evidence.channels]
        sizes = np.column_stack(
            [np.sign(c) * r.sigma(c) for r, c in zip(reaches, evidence.channels, strict=True)]
        )
        largest = np.abs(sizes).max(axis=1)
        chosen = np.flatnonzero(evidence.reference)
        asked = np.flatnonzero(largest > CORE)
        if chosen.size < LEAST_FITTED or asked.size == 0:
            return scores(evidence, largest, reaches[0])
        if chosen.size > FITTED_ON:
            chosen = np.random.default_rng(seed).choice(chosen, FITTED_ON, replace=False)
        neighbours = int(np.clip(chosen.size // 4, *NEIGHBOURS))
        factor = Factor(n_neighbors=neighbours, novelty=True, n_jobs=1).fit(sizes[chosen])
        thinness = 1e-3 * largest  # in the core, where it is no more than an order
        thinness[asked] += np.log(np.maximum(-factor.score_samples(sizes[asked]), 1.0))
        return scores(evidence, combined(evidence, thinness), reaches[0])
