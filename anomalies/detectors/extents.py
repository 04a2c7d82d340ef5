"""How far a reading goes beyond the usual ones of its month, whatever the hour: what no reading of any day was like."""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Flags, Floats
from anomalies.detectors.grid import Grid
from anomalies.detectors.order import median, middle, quantiles
from anomalies.detectors.profile import Profile, folded, slow_level

MONTH_DAYS = 29
LONG = 2.0  # times as far as the other side: only that one is asked, the other ends where nothing is used,
FARTHEST = 0.9  # by this quantile of each; few faults do not change it


def extents(grid: Grid, profile: Profile, known: Flags, reference: Flags) -> tuple[Floats, Floats]:
    """How far readings lie above and below the middle, shape (n,) each, in the unit of the series; 0 inside it.

    Above is counted from the higher of two middles, of all readings and of the month around, and below from the lower,
    so that neither a season nor a trend is an extent. A profile by hours allows an evening what it allows no night; a
    reading that is far beyond every evening stands out here. Where usual readings lie much farther off on one side than
    on the other, the other has an end that is met every night, and nothing beyond it is an extent.

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
    nothing = np.zeros(values.size)
    return nothing if down >= LONG * up else above, nothing if up >= LONG * down else below
