"""Interquartile range: how far a reading lies outside the quartiles, in units of their distance (Tukey, 1977)."""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Flags, Floats, Problem, Scores
from anomalies.detectors.calibration import calibrated, together
from anomalies.detectors.frontend import EXTENTS, POWERS, Heed, evidence_of, scores
from anomalies.detectors.order import quantiles

QUARTILE = 0.6745  # of the normal distribution, in standard deviations
SIDES = 0.25  # of their difference is kept; six weeks do not tell it better
HEED = Heed(1.045, 1.1)


class InterquartileRange:
    """Distance beyond the quartiles of the deviations, each side by itself."""

    name = "iqr"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        reference = evidence.reference
        fences = [beyond_quartiles(channel, reference.cells) for channel in evidence.channels[:EXTENTS]]
        fences += evidence.channels[EXTENTS:]  # distances beyond a middle already
        sizes = [
            calibrated(reference, fence, power).sigma(fence)
            for fence, power in zip(fences, POWERS, strict=True)
        ]
        return scores(evidence, together(sizes), HEED, calibrated(reference, evidence.z))


def beyond_quartiles(values: Floats, reference: Flags) -> Floats:
    """Standard deviations off the middle by Tukey's measure: 0.6745 at a quartile, one IQR is 1.349.

    The side counts: where the upper quartile lies farther out, more is allowed upwards.
    """
    chosen = values[reference & (values != 0)]
    if chosen.size < 8:
        return np.abs(values)
    low, middle, high = quantiles(chosen, np.array([0.25, 0.5, 0.75]))
    up, down = max(high - middle, 1e-9), max(middle - low, 1e-9)
    both = 0.5 * (up + down)
    up, down = both + SIDES * (up - both), both + SIDES * (down - both)
    off = values - middle
    size = QUARTILE * np.where(off > 0, off / up, -off / down)
    return np.asarray(np.where(values == 0, 0.0, size))
