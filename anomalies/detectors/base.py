"""What every detector takes and gives: arrays in, arrays out, seed as an argument."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

MAX_SCORE = 12.0  # beyond it a normal tail has no meaning in float64


def _nothing() -> Floats:
    return np.empty(0)


def _no_times() -> Ints:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything a detection is a function of, but the seed and the sensitivity.

    times, values: the window to judge; epoch microseconds UTC in any order, perhaps repeated, and values
        in the unit of the series; NaN where a reading was announced but has no value.
    training_times, training_values: what is mostly normal; may be empty, overlap, or hold faults.
    timezone: IANA name of the clock that people at the site live by.
    """

    times: Ints
    values: Floats
    training_times: Ints = field(default_factory=_no_times)
    training_values: Floats = field(default_factory=_nothing)
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Scores:
    """One entry for each distinct time of the window and for each reading that is missing in it.

    times: epoch microseconds, shape (m,), increasing. values: NaN where nothing was read.
    was_sent: False where the window has no entry at that time at all.
    score: in standard deviations of the method's own residual, 0..MAX_SCORE; 0 where nothing can be said.
    expected, std: what was expected at that very time and its spread; NaN where nothing can be said.
    above, below: the spread to either side, whose mean is `std`.
    reach: how many spreads of its side a value may be off before its distance alone reaches a score, about.
    kind: index into `kinds.KINDS`, of what it looks like.
    """

    times: Ints
    values: Floats
    was_sent: Flags
    score: Floats
    expected: Floats
    std: Floats
    above: Floats
    below: Floats
    reach: Reach
    kind: Ints
    run_length: Ints
    step_us: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """Sizes to sigma-equivalents and back: straight lines between knots in log-log, the last one going on.

    log_sizes, log_sigmas: shape (k,), increasing. power: slope beyond the last knot, at most 1.
    """

    log_sizes: Floats
    log_sigmas: Floats
    power: float

    def sigma(self, sizes: Floats) -> Floats:
        """Sigma-equivalent of sizes of any sign, 0 or more; NaN stays NaN."""
        logs = np.log(np.maximum(np.abs(sizes), 1e-300))
        inside = np.interp(logs, self.log_sizes, self.log_sigmas)
        below = np.minimum(logs - self.log_sizes[0], 0.0)
        above = np.maximum(logs - self.log_sizes[-1], 0.0) * self.power
        return np.asarray(np.exp(np.minimum(inside + below + above, 10.0)))

    def times(self, heed: float) -> Reach:
        """The same sizes, their sigma-equivalents multiplied."""
        return Reach(self.log_sizes, self.log_sigmas + np.log(heed), self.power)

    def size(self, sigma: float) -> float:
        """The size that scores `sigma`."""
        log = float(np.log(sigma))
        above = max(log - float(self.log_sigmas[-1]), 0.0) / self.power
        below = min(log - float(self.log_sigmas[0]), 0.0)
        return float(np.exp(np.interp(log, self.log_sigmas, self.log_sizes) + above + below))


class Detector(Protocol):
    """One method. Holds no state between calls: the same problem and seed give the same scores."""

    name: str

    def score(self, problem: Problem, *, seed: int = 0) -> Scores: ...
