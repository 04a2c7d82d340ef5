"""Local outlier factor: how much thinner it is around a reading than around its neighbours (Breunig et al., 2000)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from anomalies.detectors.base import Floats, Problem, Scores
from anomalies.detectors.calibration import calibrated, together
from anomalies.detectors.frontend import EXTENTS, Heed, evidence_of, scores, sigmas
from anomalies.detectors.order import quantiles

LEAST_FITTED = 32
FITTED_ON = 160  # readings at most; the factor takes the square of their number
NEIGHBOURS = (10, 36)  # a quarter of the readings within these; few neighbours hide long faults
CORE, CORE_SHARE = (
    1.5,
    0.75,
)  # sigma-equivalents of all together, or that share of the fitted ones: within, the
# factor is near 1 and is not asked for
ORDER = 0.05  # of the sizes in it, so that the core has an order
MOST = 0.25  # of the squared size; where readings are equal their neighbours lie at no distance at all
PLACE = 0.05  # sigma-equivalents; what is asked at one place is asked once
PLACES_AT_ONCE = 1_024  # whose distances stay in the processor's cache
FAR = 1e100  # of a reading from itself; infinity times nought would be NaN
NOTHING = 1e-10  # of a distance, for rows that lie at one place
MOST_PLACES = 1 << 31  # along either axis; sigma-equivalents end at exp(10)
HEED = Heed(1.065, 1.15)


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
    found sooner. But all rows as far off as the last neighbour are neighbours, as in the paper; scikit-learn's are those
    that come first.

    Args:
        fitted: shape (n, 2), more rows than neighbours. asked: shape (m, 2), 0 or more; told to PLACE.
    """
    neighbours = min(max(fitted.shape[0] // 4, NEIGHBOURS[0]), NEIGHBOURS[1])
    apart = cdist(fitted, fitted)
    np.fill_diagonal(apart, FAR)
    edge = np.sort(apart, axis=1)[:, neighbours - 1]
    near = _is_near(apart, edge)
    density = 1.0 / _reach(apart, near, edge)
    cells = np.rint(asked / PLACE).astype(np.int64)
    code, which = np.unique(cells[:, 0] * MOST_PLACES + cells[:, 1], return_inverse=True)
    places = PLACE * np.column_stack(np.divmod(code, MOST_PLACES))
    thin = np.empty(code.size)
    for begin in range(0, code.size, PLACES_AT_ONCE):
        part = slice(begin, begin + PLACES_AT_ONCE)
        apart = cdist(places[part], fitted)
        near = _is_near(apart, np.sort(apart, axis=1)[:, neighbours - 1])
        thin[part] = near @ density / near.sum(axis=1) * _reach(apart, near, edge) - 1.0
    return np.asarray(np.maximum(thin, 0.0)[which])


def _is_near(apart: Floats, edge: Floats) -> Floats:
    """1 for each column no further from its row than the row's edge, else 0, to be multiplied; shape (rows, columns)."""
    return (apart <= edge[:, None]).astype(np.float64)


def _reach(apart: Floats, near: Floats, edge: Floats) -> Floats:
    """Mean distance of each row to its neighbours, none nearer than that neighbour's edge."""
    total = np.einsum("ij,ij->i", near, np.maximum(apart, edge))
    return np.asarray(total / near.sum(axis=1) + NOTHING)
