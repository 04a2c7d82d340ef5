"""Isolation forest: how few random cuts set a reading apart (Liu, Ting and Zhou, 2008)."""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Floats, Problem, Scores
from anomalies.detectors.calibration import together
from anomalies.detectors.forest import grow
from anomalies.detectors.frontend import EXTENTS, Heed, evidence_of, scores, sigmas
from anomalies.detectors.order import quantiles

TREES = 30
SAMPLES = 128
LEAST_FITTED = 32
FITTED_ON = 4_096  # readings at most
BEYOND = 0.1  # path lengths end where the fitted readings do; what lies further out counts by its size
HEED = Heed(1.06, 1.115)


class IsolationForest:
    """A forest over the sizes of deviation, step and stretches; beyond its range the sizes speak on."""

    name = "isolation_forest"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        sizes, reach = sigmas(evidence)
        fitted = np.flatnonzero(evidence.reference.cells)
        if fitted.size < LEAST_FITTED:
            return scores(evidence, together(sizes), HEED, reach)
        if fitted.size > FITTED_ON:
            fitted = np.random.default_rng(seed).choice(fitted, FITTED_ON, replace=False)
        either = np.maximum(*sizes[EXTENTS:])  # one column: a series turned upside down has the same forest
        table = np.column_stack((*sizes[:EXTENTS], either))
        return scores(evidence, isolation(table, fitted, seed), HEED, reach)


def isolation(sizes: Floats, fitted: np.ndarray[tuple[int], np.dtype[np.intp]], seed: int) -> Floats:
    """How isolated each row is among the fitted ones, shape (n,), 0 for the most ordinary.

    sizes: shape (n, channels), sigma-equivalents. fitted: indices of the rows the forest is grown on.
    """
    table = np.log(sizes + 0.1)
    found = grow(table[fitted], TREES, SAMPLES, seed).scores(table)
    edge = np.maximum(np.quantile(sizes[fitted], 0.95, axis=0), 0.5)
    beyond = BEYOND * np.maximum(sizes / edge - 1.0, 0.0).max(axis=1)
    return np.asarray(np.maximum(found - quantiles(found[fitted], np.array([0.05]))[0] + beyond, 0.0))
