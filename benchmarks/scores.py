"""How forecasts are scored: written apart from `forecasting/metrics.py`, so that neither checks itself."""

from __future__ import annotations

import numpy as np

QUANTILES = np.array([0.1, 0.5, 0.9])


def pinball(observed: np.ndarray, quantiles: np.ndarray) -> float:
    """Mean pinball loss over p10, p50 and p90; steps without an observation are left out.

    >>> round(pinball(np.array([10.0]), np.array([[8.0, 10.0, 11.0]])), 3)  # (0.1*2 + 0 + 0.1*1) / 3
    0.1
    """
    error = observed[:, None] - quantiles
    return float(np.nanmean(np.maximum(QUANTILES * error, (QUANTILES - 1) * error)))


def mae(observed: np.ndarray, quantiles: np.ndarray) -> float:
    """Mean absolute error of the median."""
    return float(np.nanmean(np.abs(observed - quantiles[:, 1])))


def coverage(observed: np.ndarray, quantiles: np.ndarray) -> float:
    """Share of observations inside p10..p90, edges included (so that a night of zeros is covered by zeros)."""
    known = ~np.isnan(observed)
    inside = (observed >= quantiles[:, 0] - 1e-9) & (observed <= quantiles[:, 2] + 1e-9)
    return float(inside[known].mean())


def crossed(quantiles: np.ndarray) -> int:
    """Steps whose quantiles are out of order."""
    return int((np.diff(quantiles, axis=1) < 0).any(axis=1).sum())


def last_week(history: np.ndarray, steps: int, day: int) -> np.ndarray:
    """The reference: last week's value, with the 80 % band of its own past errors at that time of day.

    A reference without a band would be easy to beat in pinball loss. p10 and p90 add the empirical
    quantiles of y(t) - y(t - one week) over the history, by time of day; the median adds nothing. Held
    at zero when the history never is negative. Shapes: history (n,), NaN where nothing was read; the
    answer (steps, 3). Where last week has no reading, the last week that has one is used.
    """
    week = 7 * day
    filled = history.copy()
    for position in range(week, filled.size):
        if np.isnan(filled[position]):
            filled[position] = filled[position - week]
    errors = history[week:] - history[:-week]
    slot = (np.arange(week, history.size) - history.size) % day
    median = filled[filled.size - week + np.arange(steps) % week]
    quantiles = np.empty((steps, 3))
    for step in range(steps):
        known = errors[slot == step % day]
        low, high = np.nanquantile(known, [0.1, 0.9])
        quantiles[step] = median[step] + np.array([min(low, 0.0), 0.0, max(high, 0.0)])
    return np.maximum(quantiles, 0.0) if np.nanmin(history) >= 0 else quantiles
