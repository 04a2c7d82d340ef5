"""How far a reading goes beyond the usual ones of its month, whatever the hour: what no reading of any day was like."""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Flags, Floats
from anomalies.detectors.grid import Grid
from anomalies.detectors.order import median, middle, quantiles
from anomalies.detectors.profile import Profile, folded, slow_level

MONTH_DAYS = 29
LONG = 2.0  # times as far as the other side, which then is short: it ends where nothing is used
FARTHEST = 0.9  # by this quantile of each; few faults do not change it
MULTIPLE = 3.0  # of that quantile, which a reading on a short side must go to


def extents(grid: Grid, profile: Profile, known: Flags, reference: Flags) -> tuple[Floats, Floats]:
    """How far readings lie above and below the middle, shape (n,) each, 0 inside it.

    Above is counted from the higher of two middles, of all readings and of the month around, and below from the lower,
    so that neither a season nor a trend is an extent. A profile by hours allows an evening what it allows no night; a
    reading that is far beyond every evening stands out here. Where usual readings lie much farther off on one side than
    on the other, the other has an end that is met every night, and a little beyond it is nothing rare: it is 0 there but for
    what lies several times as far off as they do, which is told in these multiples, not in the unit of the series.

    Args:
        known: where something was read. reference: the cells whose middle is taken; where it has none, or where
            readings are held against one median anyway, nothing is an extent.
    """
    values = grid.values
    if not (profile.is_seasonal and reference.any()):
        return np.zeros(values.size), np.zeros(values.size)
    center = middle(values[reference])
    month = slow_level(median(folded(grid, values)), MONTH_DAYS)[grid.day]
    above = np.maximum(np.where(known, values - np.maximum(month, center), 0.0), 0.0)
    below = np.maximum(np.where(known, np.minimum(month, center) - values, 0.0), 0.0)
    up, down = (float(quantiles(side[reference], np.array([FARTHEST]))[0]) for side in (above, below))
    return _shortened(above, up, down), _shortened(below, down, up)


def _shortened(side: Floats, farthest: float, other: float) -> Floats:
    """The side as it is, or if it is short, multiples of how far usual readings lie, from MULTIPLE on."""
    if other < LONG * farthest or other == 0.0:
        return side
    if farthest == 0.0:
        return np.zeros(side.size)
    multiples = side / farthest
    return np.asarray(np.where(multiples >= MULTIPLE, multiples, 0.0))
