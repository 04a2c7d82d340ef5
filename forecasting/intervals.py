"""Bands from errors that were measured: conformal quantiles, scaled by how wrong we were lately."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LONG_MEMORY_DAYS = 60.0
SHORT_MEMORY_DAYS = 10.0


def conformal_quantile(errors: Floats, level: float) -> float:
    """The value a new error stays below with probability `level`.

    Args:
        errors: observed - forecast on data the forecast has not seen, shape (n,), n > 0. No NaN.
        level: in (0, 1).

    Returns:
        For level > 0.5 the error of rank ceil((n + 1) * level), not n * level; for level < 0.5 its
        mirror image; for 0.5 the median. With too few errors for the rank, the outermost one: the
        caller warns. Split conformal prediction, Lei et al. (2018), JASA 113:1094.

    >>> conformal_quantile(np.arange(1.0, 20.0), 0.9)  # 19 errors, rank 18
    18.0
    >>> conformal_quantile(np.arange(1.0, 20.0), 0.1)
    2.0
    """
    if level == 0.5:
        return float(np.median(errors))
    if level < 0.5:
        return -conformal_quantile(-errors, 1.0 - level)
    rank = min(errors.size, int(np.ceil((errors.size + 1) * level - 1e-9)))
    return float(np.partition(errors, rank - 1)[rank - 1])


def error_scale(errors: Floats) -> Floats:
    """How large errors are at each slot as of the end of each day.

    Args:
        errors: shape (n, P), of the forecasts *for* each day at each slot; NaN where there is none.

    Returns:
        Shape (n, P), positive, in the unit of the errors: the mean |error| of the slot and its
        neighbours over about two months, times the root of how much worse or better the last days were.
        Row i looks at the errors of days up to and with i. Days before the first error have the scale
        of all errors. 1.0 where every error is zero.
    """
    size = np.abs(errors)
    seen = np.isfinite(size).astype(np.float64)
    size = np.where(seen > 0, size, 0.0)
    if not seen.any():
        return np.ones_like(errors)
    whole = _around(size.sum(axis=0)) / np.maximum(_around(seen.sum(axis=0)), 1e-12)
    overall = float(size.sum() / seen.sum())
    whole = 0.9 * whole + 0.1 * overall
    days = np.arange(errors.shape[0])
    age = np.subtract.outer(days, days) + days.size  # at 0..size what is still to come
    to_come = np.zeros(days.size)
    long, short = (
        np.concatenate((to_come, np.exp(-days / memory)))[age]
        for memory in (LONG_MEMORY_DAYS, SHORT_MEMORY_DAYS)
    )
    prior = 5.0  # days that count as an average slot until the slot has a record of its own
    num, den = _around(long @ size), _around(long @ seen)
    slot = (num + prior * whole) / (den + prior)
    expected = np.maximum((short @ (slot * seen)).sum(axis=1), 0.0)
    lately = ((short @ size).sum(axis=1) + overall * errors.shape[1]) / (
        expected + overall * errors.shape[1] + 1e-300
    )
    scale = slot * np.sqrt(lately)[:, None]
    return np.where(scale > 0, scale, 1.0)


def ordered(quantiles: Floats, floor: float) -> Floats:
    """Quantiles that do not cross and do not go below `floor`; shape (steps, q), lowest level first."""
    return np.maximum(np.sort(quantiles, axis=1), floor)


def _around(values: Floats) -> Floats:
    """Weighted sum over a slot and its two neighbours (1/4, 1/2, 1/4), the day being a circle."""
    return 0.5 * values + 0.25 * (np.roll(values, 1, axis=-1) + np.roll(values, -1, axis=-1))
