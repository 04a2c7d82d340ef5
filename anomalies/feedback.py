"""What people's verdicts say about the sensitivity they should use."""

from __future__ import annotations

import numpy as np

from anomalies.severity import threshold

LEAST_VERDICTS = 5
ALL_TRUE_VERDICTS = 10  # this many without one false alarm, and a little more may be flagged
STEP = 0.1


def suggested_sensitivity(scores: list[float], is_true: list[bool], current: float) -> float | None:
    """The sensitivity (1..5) that would have made the fewest mistakes on judged points; None for too few.

    A mistake is a false alarm still flagged, or a true one no longer flagged. Of equally good ones the
    nearest to `current` is suggested. Only what was flagged can be judged, so many verdicts without a false
    alarm suggest half a step less.

    >>> suggested_sensitivity([3.1, 3.2, 3.3, 5.0, 6.0], [False, False, False, True, True], 3.0)
    3.4
    """
    if len(scores) < LEAST_VERDICTS:
        return None
    if all(is_true) and len(scores) >= ALL_TRUE_VERDICTS:
        return round(max(1.0, current - 0.5), 1)
    found, true = np.array(scores), np.array(is_true)
    candidates = np.round(np.arange(1.0, 5.0 + STEP / 2, STEP), 1)
    mistakes = [int(((found >= threshold(float(c))) != true).sum()) for c in candidates]
    best = candidates[np.array(mistakes) == min(mistakes)]
    return float(best[np.argmin(np.abs(best - current))])
