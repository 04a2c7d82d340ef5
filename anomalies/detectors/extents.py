"""How far a reading goes beyond the usual ones of its month, whatever the hour: what no reading of any day was like."""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Flags, Floats
from anomalies.detectors.grid import Grid
from anomalies.detectors.profile import Profile, folded, median, slow_level

MONTH_DAYS = 29


def extents(grid: Grid, profile: Profile, known: Flags, reference: Flags) -> tuple[Floats, Floats]:
    """How far readings lie above and below the middle, shape (n,) each, in the unit of the series; 0 inside it.

    Above is counted from the higher of two middles, of all readings and of the month around, and below from the lower,
    so that neither a season nor a trend is an extent. A profile by hours allows an evening what it allows no night; a
    reading that is far beyond every evening stands out here.

    Args:
        known: where something was read. reference: the cells whose middle is taken; where it has none, or where
            readings are held against one median anyway, nothing is an extent.
    """
    values = grid.values
    if not (profile.is_seasonal and reference.any()):
        return np.zeros(values.size), np.zeros(values.size)
    middle = float(np.median(values[reference]))
    month = slow_level(median(folded(grid, values)), MONTH_DAYS)[grid.day]
    above = np.where(known, values - np.maximum(month, middle), 0.0)
    below = np.where(known, np.minimum(month, middle) - values, 0.0)
    return np.maximum(above, 0.0), np.maximum(below, 0.0)
