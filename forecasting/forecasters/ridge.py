"""Ridge regression for all slots of a day at once, with honest predictions of its own past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.forecasters.design import Design

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 4
POOLED_PENALTY = 0.005  # of the summed weight
SLOT_PRIOR_DAYS = 60.0  # how many days of readings weigh as much as the pooled coefficients


@dataclass(frozen=True, slots=True)
class Fit:
    """ahead: shape (P,), prediction of the last origin; held: shape (m, P), predictions of each row by
    a fit that did not see its week. Both as differences from the base."""

    ahead: Floats
    held: Floats


def folds_of(day: Ints, folds: int = FOLDS) -> Ints:
    """Alternate weeks, so that neighbouring days, which resemble each other, are held back together."""
    return (day // 7) % folds


def fit_ridge(design: Design) -> Fit:
    """Coefficients pooled over the slots, and each slot's own shrunk towards them.

    Ridge with a Gaussian prior around the pooled fit (partial pooling; Gelman and Hill 2007, ch. 12):
    hours with a behaviour of their own get it, hours without borrow from the others. Solved from normal
    equations kept by fold, so that leaving a fold out costs one more solve and no more passes.
    """
    x, m = design.features, design.features.shape[1]
    root = np.sqrt(design.weight.T)
    scale = np.sqrt((x**2 * design.weight.T[..., None]).mean(axis=(0, 1)) / max(design.weight.mean(), 1e-12))
    scale[scale < 1e-12] = np.inf
    x = x / scale
    weighted = np.concatenate((x, design.target.T[..., None]), axis=2) * root[..., None]
    fold = folds_of(design.day)
    grams = np.stack([_gram(weighted[:, fold == k]) for k in range(FOLDS)])
    total = grams.sum(axis=0)
    weights = np.array([design.weight[fold == k].sum() for k in range(FOLDS)])
    held = np.zeros((m, x.shape[0]))
    for k in range(FOLDS):
        rows = np.flatnonzero(fold == k)
        if rows.size:
            coefficients = _solve(total - grams[k], float(weights.sum() - weights[k]))
            held[rows] = np.matmul(x[:, rows], coefficients[..., None])[..., 0].T
    coefficients = _solve(total, float(weights.sum()))
    return Fit(ahead=(x[:, -1] * coefficients).sum(axis=1), held=held)


def _gram(rows: Floats) -> Floats:
    return np.asarray(np.matmul(rows.transpose(0, 2, 1), rows))


def _solve(gram: Floats, weight: float) -> Floats:
    """Coefficients of each slot, shape (P, F), from (P, F + 1, F + 1) products of features and target."""
    a, b = gram[:, :-1, :-1], gram[:, :-1, -1]
    eye = np.eye(b.shape[1])
    pooled_a, pooled_b = a.sum(axis=0), b.sum(axis=0)
    pooled = np.linalg.solve(pooled_a + (POOLED_PENALTY * weight + 1e-9) * eye, pooled_b)
    left = b - a @ pooled
    own = np.linalg.solve(a + (SLOT_PRIOR_DAYS + 1e-9) * eye, left[..., None])[..., 0]
    return np.asarray(pooled + own)
