"""z-score: how many standard deviations a reading is off, by its value and by its step."""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Problem, Scores
from anomalies.detectors.frontend import calibrated, combined, evidence_of, scores


class ZScore:
    """Deviation from the profile in robust standard deviations, the larger of level, step and long mean."""

    name = "z_score"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        channels = evidence.channels
        sizes = [calibrated(evidence, channel) for channel in channels]
        largest = np.maximum.reduce([r.sigma(c) for r, c in zip(sizes, channels, strict=True)])
        return scores(evidence, combined(evidence, largest), sizes[0])
