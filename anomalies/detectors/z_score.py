"""z-score: how many standard deviations a reading is off, by its value, its step and its stretch."""

from __future__ import annotations

from anomalies.detectors.base import Problem, Scores
from anomalies.detectors.calibration import together
from anomalies.detectors.frontend import Heed, evidence_of, scores, sigmas

HEED = Heed(1.04, 1.1)


class ZScore:
    """Deviation from the profile in robust standard deviations: level, step and stretch together."""

    name = "z_score"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem)
        sizes, reach = sigmas(evidence)
        return scores(evidence, together(sizes), HEED, reach)
