"""Local outlier factor: how much thinner it is around a reading than around its neighbours (Breunig et al., 2000)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from anomalies.detectors.base import Floats, Ints, Problem, Scores
from anomalies.detectors.calibration import calibrated, together
from anomalies.detectors.frontend import EXTENTS, Heed, evidence_of, scores, sigmas
from anomalies.detectors.order import quantiles

LEAST_FITTED = 32
FITTED_ON = 256  # readings at most; the factor takes the square of their number
NEIGHBOURS = (10, 36)  # a quarter of the readings within these; few neighbours hide long faults
CORE, CORE_SHARE = (
    1.5,
    0.75,
)  # sigma-equivalents of all together, or that share of the fitted ones: within, the
# factor is near 1 and is not asked for
ORDER = 0.05  # of the sizes in it, so that the core has an order
MOST = 0.25  # of the squared size; where readings are equal their neighbours lie at no distance at all
PLACE = 0.05  # sigma-equivalents; what is asked at one place is asked once
PLACES_AT_ONCE = 4_096
NOTHING = 1e-10  # of a distance, for rows that lie at one place
MOST_PLACES = 1 << 31  # along either axis; sigma-equivalents end at exp(10)
HEED = Heed(1.055, 1.18)


class LocalOutlierFactor:
    """The factor of each reading among the reference's, by two sizes: of its reading and of its stretch.

    What goes beyond all readings is told beside it: it has no neighbours whose density would say anything.
    """

    name = "local_outlier_factor"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        sizes, reach = sigmas(evidence)
        largest = together(sizes[:EXTENTS])
        fitted = np.flatnonzero(evidence.reference.cells)
        if fitted.size < LEAST_FITTED:
            return scores(evidence, together(sizes), HEED, reach)
        if fitted.size > FITTED_ON:
            by_size = fitted[np.argsort(largest[fitted], kind="stable")]
            fitted = by_size[np.linspace(0, by_size.size - 1, FITTED_ON).round().astype(np.int64)]
        table = np.column_stack((together(sizes[:2]), together(sizes[2:EXTENTS])))
        thin = ORDER * largest
        asked = largest > min(CORE, float(quantiles(largest[fitted], np.array([CORE_SHARE]))[0]))
        if asked.any():
            bounded = MOST * largest[asked] ** 2
            thin[asked] += np.minimum(thinness(table[fitted], table[asked]), bounded)
        factor = calibrated(evidence.reference, thin).sigma(thin)
        return scores(evidence, together([factor, *sizes[EXTENTS:]]), HEED, reach)


def thinness(fitted: Floats, asked: Floats) -> Floats:
    """The factor less 1 of each asked row among the fitted ones; 0 where it is as dense as around its neighbours.

    As scikit-learn's with `novelty`, which spends most of its time on two trees: of a few hundred rows all distances are
    found sooner.

    Args:
        fitted: shape (n, 2), more rows than neighbours. asked: shape (m, 2); told to PLACE.
    """
    neighbours = int(np.clip(fitted.shape[0] // 4, *NEIGHBOURS))
    apart = cdist(fitted, fitted)
    np.fill_diagonal(apart, np.inf)
    near, distance = _nearest(apart, neighbours)
    edge = distance.max(axis=1)
    density = 1.0 / (np.maximum(distance, edge[near]).mean(axis=1) + NOTHING)
    cells = np.rint(asked / PLACE).astype(np.int64)
    code, which = np.unique(cells[:, 0] * MOST_PLACES + cells[:, 1], return_inverse=True)
    places = PLACE * np.column_stack(np.divmod(code, MOST_PLACES))
    thin = np.empty(code.size)
    for begin in range(0, code.size, PLACES_AT_ONCE):
        part = slice(begin, begin + PLACES_AT_ONCE)
        near, distance = _nearest(cdist(places[part], fitted), neighbours)
        reach = np.maximum(distance, edge[near]).mean(axis=1) + NOTHING
        thin[part] = density[near].mean(axis=1) * reach - 1.0
    return np.asarray(np.maximum(thin, 0.0)[which])


def _nearest(apart: Floats, count: int) -> tuple[Ints, Floats]:
    """Indices and distances of the nearest columns of each row, in no order, shape (rows, count) each."""
    near = np.argpartition(apart, count - 1, axis=1)[:, :count]
    return near, np.take_along_axis(apart, near, axis=1)
