"""Isolation forest: how few random cuts set a reading apart (Liu, Ting and Zhou, 2008)."""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Floats, Problem, Scores
from anomalies.detectors.calibration import calibrated, together
from anomalies.detectors.forest import grow
from anomalies.detectors.frontend import EXTENTS, Heed, evidence_of, scores, sigmas
from anomalies.detectors.order import at_share, quantiles

TREES = 30
SAMPLES = 64
LEAST_FITTED = 32
FITTED_ON = 4_096  # readings at most
DECIMALS = 6  # of the logarithms; or equal readings would be told apart by how a processor rounds
BEYOND = 0.25  # path lengths end where the fitted readings do; what lies further out counts by its size
HEED = Heed(1.09, 1.08)


class IsolationForest:
    """A forest over the sizes of deviation, step and stretches; beyond its range the sizes speak on.

    What goes beyond all readings is told beside it: a forest of few readings ends where they do, and a spike that is like no
    reading ever was would be one among its largest deviations.
    """

    name = "isolation_forest"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        sizes, reach = sigmas(evidence)
        fitted = np.flatnonzero(evidence.reference.cells)
        if fitted.size < LEAST_FITTED:
            return scores(evidence, together(sizes), HEED, reach)
        if fitted.size > FITTED_ON:
            fitted = np.random.default_rng(seed).choice(fitted, FITTED_ON, replace=False)
        found = isolation(np.column_stack(sizes[:EXTENTS]), fitted, seed)
        apart = calibrated(evidence.reference, found).sigma(found)
        return scores(evidence, together([apart, *sizes[EXTENTS:]]), HEED, reach)


def isolation(sizes: Floats, fitted: np.ndarray[tuple[int], np.dtype[np.intp]], seed: int) -> Floats:
    """How isolated each row is among the fitted ones, shape (n,), 0 for the most ordinary.

    sizes: shape (n, channels), sigma-equivalents. fitted: indices of the rows the forest is grown on.
    """
    table = np.round(np.log(sizes + 0.1), DECIMALS)
    found = grow(table[fitted], TREES, SAMPLES, seed).scores(table)
    edge = np.maximum(at_share(np.sort(sizes[fitted].T), 0.95), 0.5)
    beyond = BEYOND * np.maximum(sizes / edge - 1.0, 0.0).max(axis=1)
    return np.asarray(np.maximum(found - quantiles(found[fitted], np.array([0.05]))[0] + beyond, 0.0))
