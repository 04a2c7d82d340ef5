"""Local outlier factor: how much thinner it is around a reading than around its neighbours (Breunig et al., 2000)."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import LocalOutlierFactor as Factor

from anomalies.detectors.base import Floats, Problem, Scores
from anomalies.detectors.calibration import together
from anomalies.detectors.frontend import Heed, evidence_of, scores, sigmas

LEAST_FITTED = 32
FITTED_ON = 512  # readings at most
NEIGHBOURS = (10, 100)  # a quarter of the readings within these; few neighbours hide long faults
CORE = 1.5  # sigma-equivalents of all together; within, the factor is near 1 and is not asked for
PLACE = 0.05  # sigma-equivalents; what is asked at one place is asked once
MOST_PLACES = 1 << 31  # along either axis; sigma-equivalents end at exp(10)
HEED = Heed(0.97, 0.82)


class LocalOutlierFactor:
    """The factor of each reading among the reference's, by two sizes: of its reading and of its stretch."""

    name = "local_outlier_factor"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        sizes, reach = sigmas(evidence)
        largest = together(sizes)
        fitted = np.flatnonzero(evidence.reference.cells)
        if fitted.size < LEAST_FITTED:
            return scores(evidence, largest, HEED, reach)
        if fitted.size > FITTED_ON:
            by_size = fitted[np.argsort(largest[fitted], kind="stable")]
            fitted = by_size[np.linspace(0, by_size.size - 1, FITTED_ON).round().astype(np.int64)]
        table = np.column_stack((np.maximum(sizes[0], sizes[1]), np.maximum(sizes[2], sizes[3])))
        thin = 1e-3 * largest  # in the core, where it is no more than an order
        asked = largest > CORE
        if asked.any():
            thin[asked] += thinness(table[fitted], table[asked])
        return scores(evidence, thin, HEED, reach)


def thinness(fitted: Floats, asked: Floats) -> Floats:
    """The factor less 1 of each asked row among the fitted ones; 0 where it is as dense as around its neighbours."""
    neighbours = int(np.clip(fitted.shape[0] // 4, *NEIGHBOURS))
    factor = Factor(n_neighbors=neighbours, novelty=True, n_jobs=1).fit(fitted)
    cells = np.rint(asked / PLACE).astype(np.int64)
    code, which = np.unique(cells[:, 0] * MOST_PLACES + cells[:, 1], return_inverse=True)
    places = PLACE * np.column_stack(np.divmod(code, MOST_PLACES))
    return np.asarray(np.maximum(-factor.score_samples(places) - 1.0, 0.0)[which])
