"""What a meter reads anyway is no fault of it. See README.md beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAYS_AROUND = 42  # to either side; what the meter reads on some of them at those hours is no fault
ORDINARY_DAYS = 2  # of those 84: more than the 15 false alarms in 1,000 that the bars allow


def is_ordinary(
    clean: NDArray[np.float64], at: NDArray[np.int64], readings: NDArray[np.float64], day: int
) -> bool:
    """Whether the meter reads the like of it anyway, at the same hours of several days around.

    Ordinary is what is not further out than on ORDINARY_DAYS of those days, to either side, by its mean, its
    largest and its smallest reading. What is missing never is, nor what is frozen, whose size is no matter.

    clean: the whole series without faults, shape (n,). at: positions in it, shape (k,). readings: what the
    fault makes of them. day: positions a day.
    """
    if not np.isfinite(readings).all() or (readings.size > 1 and np.ptp(readings) == 0 and readings[0] != 0):
        return False
    shifts = np.arange(-DAYS_AROUND, DAYS_AROUND + 1)
    there = at[None, :] + day * shifts[shifts != 0][:, None]
    there = there[(there[:, 0] >= 0) & (there[:, -1] < clean.size)]
    others = clean[there]
    others = others[np.isfinite(others).all(axis=1)]
    for measure in (np.mean, np.max, np.min):
        usual, found = measure(others, axis=1), measure(readings)
        if min((usual >= found).sum(), (usual <= found).sum()) < ORDINARY_DAYS:
            return False
    return True
