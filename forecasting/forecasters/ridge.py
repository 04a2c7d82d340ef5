"""Ridge regression for all slots of a day at once, with honest predictions of its own past."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forecasting.forecasters.design import Design

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 4
ROLLS = 6
WEEKS_BEFORE_ROLLING = 2
POOLED_PRIOR_DAYS = 0.3  # how many days of readings weigh as much as the base alone, in a long history
POOLED_PRIOR_DAYS_SQUARED = 60.0  # over the days of history: what is added to it in a short one
SLOT_PRIOR_DAYS = (40.0, 150.0, 600.0)  # how many days of a slot weigh as much as the pooled coefficients


@dataclass(frozen=True, slots=True)
class Fit:
    """ahead: shape (P,), prediction of the last origin; held: shape (m, P), predictions of each row by
    a fit that did not see its week. before: shape (m, P), the same by a fit that saw only earlier weeks,
    NaN where there were too few. All as differences from the base.
    parts: shape (P, F), what each feature's distance from its mean adds to `ahead`; average: shape (P,), the
    rest, the prediction of the mean features. Only of an explained fit."""

    ahead: Floats
    held: Floats
    before: Floats
    parts: Floats | None = None
    average: Floats | None = None


def folds_of(day: Ints, folds: int = FOLDS) -> Ints:
    """Alternate weeks, so that neighbouring days, which resemble each other, are held back together."""
    return (day // 7) % folds


def best_slot_prior(design: Design) -> float:
    """How far slots should go their own ways: the prior with the least absolute error on weeks held back."""
    errors = []
    for prior in SLOT_PRIOR_DAYS:
        held = fit_ridge(design, prior).held
        errors.append(float((np.abs(design.target - held) * design.weight).sum()))
    return SLOT_PRIOR_DAYS[int(np.argmin(errors))]


def fit_robust(design: Design, slot_prior: float, *, rolling: bool = False, explained: bool = False) -> Fit:
    """Ridge twice: the second time errors beyond the usual size weigh less.

    The loss is then squared near zero and absolute far from it (Huber, by iteratively reweighted least
    squares), with the held-back errors of the first fit in the weights. Meters have heavy tails.
    """
    first = fit_ridge(design, slot_prior, explained=explained)
    size = np.abs(design.target - first.held)
    usual = float((size * design.weight).sum() / max(design.weight.sum(), 1e-300))
    if usual == 0.0:
        return replace(first, before=first.held)
    reweighted = design.weight * (usual / np.maximum(size, usual))
    return fit_ridge(replace(design, weight=reweighted), slot_prior, rolling=rolling, explained=explained)


def fit_ridge(design: Design, slot_prior: float, *, rolling: bool = False, explained: bool = False) -> Fit:
    """Coefficients pooled over the slots, and each slot's own shrunk towards them.

    Ridge with a Gaussian prior around the pooled fit (partial pooling; Gelman and Hill 2007, ch. 12):
    hours with a behaviour of their own get it, hours without borrow from the others. Solved from normal
    equations kept by fold, so that leaving a fold out costs one more solve and no more passes.
    """
    x, m = design.features, design.features.shape[1]
    root = np.sqrt(design.weight.T)
    weighted = np.concatenate((x, design.target.T[..., None]), axis=2)
    weighted *= root[..., None]
    spread = np.einsum("pmf,pmf->f", weighted[..., :-1], weighted[..., :-1]) / root.size
    scale = np.sqrt(spread / max(design.weight.mean(), 1e-12))
    scale[scale < 1e-12] = np.inf
    weighted[..., :-1] /= scale
    priors = (POOLED_PRIOR_DAYS + POOLED_PRIOR_DAYS_SQUARED / (m + 1), slot_prior)
    fold = folds_of(design.day)
    grams = np.stack([_gram(weighted[:, fold == k]) for k in range(FOLDS)])
    total = grams.sum(axis=0)
    held = np.zeros((m, x.shape[0]))
    for k in range(FOLDS):
        rows = np.flatnonzero(fold == k)
        if rows.size:
            coefficients = _solve(total - grams[k], priors) / scale
            held[rows] = np.matmul(x[:, rows], coefficients[..., None])[..., 0].T
    coefficients = _solve(total, priors) / scale
    before = _rolled(x, weighted, scale, design, priors) if rolling else np.full_like(held, np.nan)
    added = x[:, -1] * coefficients
    if not explained:
        return Fit(ahead=added.sum(axis=1), held=held, before=before)
    at_mean = coefficients * _means(x, design.weight.T)
    return Fit(added.sum(axis=1), held, before, parts=added - at_mean, average=at_mean.sum(axis=1))


def _means(x: Floats, weight: Floats) -> Floats:
    """Weighted means of the features over the rows of each slot, shape (P, F)."""
    total = np.maximum(weight.sum(axis=1), 1e-300)
    return np.asarray(np.einsum("pmf,pm->pf", x, weight) / total[:, None])


def _rolled(
    x: Floats, weighted: Floats, scale: Floats, design: Design, priors: tuple[float, float]
) -> Floats:
    """Predictions of each stretch of weeks by a fit on all weeks before it, shape (m, P)."""
    before = np.full(design.base.shape, np.nan)
    week = design.day // 7
    edges = np.unique(np.linspace(week[0] + WEEKS_BEFORE_ROLLING, week[-1] + 1, ROLLS + 1).astype(np.int64))
    gram = np.zeros((x.shape[0], x.shape[2] + 1, x.shape[2] + 1))
    done = 0
    for start, end in pairwise(edges):
        known = int(np.searchsorted(week, start))
        gram += _gram(weighted[:, done:known])
        done = known
        rows = slice(known, int(np.searchsorted(week, end)))
        coefficients = _solve(gram, priors) / scale
        before[rows] = np.matmul(x[:, rows], coefficients[..., None])[..., 0].T
    return before


def _gram(rows: Floats) -> Floats:
    return np.asarray(np.matmul(rows.transpose(0, 2, 1), rows))


def _solve(gram: Floats, priors: tuple[float, float]) -> Floats:
    """Coefficients of each slot, shape (P, F), from (P, F + 1, F + 1) products of features and target."""
    a, b = gram[:, :-1, :-1], gram[:, :-1, -1]
    eye = np.eye(b.shape[1])
    of_all, of_slot = priors
    pooled_a, pooled_b = a.sum(axis=0), b.sum(axis=0)
    pooled = np.linalg.solve(pooled_a + of_all * a.shape[0] * eye, pooled_b)
    left = b - a @ pooled
    own = np.linalg.solve(a + of_slot * eye, left[..., None])[..., 0]
    return np.asarray(pooled + own)
