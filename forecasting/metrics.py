"""How good a forecast was. NaN in `observed` is no reading and counts nowhere; none at all gives NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean_absolute_error(observed: Floats, forecast: Floats) -> float:
    """Mean of |observed - forecast|, in the unit of the series; arrays of one shape.

    >>> mean_absolute_error(np.array([1.0, 2.0, np.nan]), np.array([2.0, 4.0, 9.0]))
    1.5
    """
    return _mean(np.abs(observed - forecast))


def root_mean_squared_error(observed: Floats, forecast: Floats) -> float:
    """Root of the mean of (observed - forecast)^2, in the unit of the series; arrays of one shape.

    >>> root_mean_squared_error(np.array([0.0, 0.0]), np.array([1.0, 7.0]))
    5.0
    """
    return float(np.sqrt(_mean((observed - forecast) ** 2)))


def mean_absolute_percentage_error(observed: Floats, forecast: Floats) -> float | None:
    """Mean of |observed - forecast| / |observed|, a share (0.05 is 5 %).

    Readings nearer to zero than 5 % of the mean |observed| are left out: a percentage of next to nothing
    says nothing. None when no reading is left.

    >>> mean_absolute_percentage_error(np.array([100.0, 0.0]), np.array([90.0, 5.0]))
    0.1
    """
    size = np.abs(observed)
    enough = size > 0.05 * _mean(size)
    if not enough.any():
        return None
    return float(np.mean(np.abs(observed - forecast)[enough] / size[enough]))


def pinball_loss(observed: Floats, forecast: Floats, quantile: float) -> float:
    """Mean pinball loss of one quantile, in the unit of the series; the true quantile has the least.

    Koenker and Bassett (1978), Econometrica 46:33.

    >>> pinball_loss(np.array([10.0, 10.0]), np.array([8.0, 12.0]), 0.9)  # 0.9 * 2 and 0.1 * 2
    1.0
    """
    error = observed - forecast
    return _mean(np.maximum(quantile * error, (quantile - 1.0) * error))


def mean_pinball_loss(observed: Floats, quantiles: Floats, levels: tuple[float, ...]) -> float:
    """Mean of the pinball losses of several quantiles; observed shape (h,), quantiles (h, len(levels))."""
    return float(np.mean([pinball_loss(observed, quantiles[:, k], q) for k, q in enumerate(levels)]))


def coverage(observed: Floats, lower: Floats, upper: Floats) -> float:
    """Share of readings inside lower..upper, the ends included; arrays of one shape.

    >>> coverage(np.array([1.0, 2.0, 3.0, np.nan]), np.full(4, 1.0), np.full(4, 2.0))
    0.6666666666666666
    """
    seen = np.isfinite(observed)
    if not seen.any():
        return float("nan")
    return float(np.mean((observed[seen] >= lower[seen]) & (observed[seen] <= upper[seen])))


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
