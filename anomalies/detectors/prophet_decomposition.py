"""Decomposition in the manner of Prophet: a trend that bends, a Fourier day and week, and what is left over.

Taylor and Letham (2018), The American Statistician 72:37. Fitted by a robust ridge, not by Prophet itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from anomalies.detectors.base import Floats, Ints, Problem, Scores
from anomalies.detectors.calibration import together
from anomalies.detectors.frontend import Heed, evidence_of, scores, sigmas
from anomalies.detectors.grid import Grid
from anomalies.detectors.order import middle
from anomalies.detectors.profile import LEAST_DAYS, TYPICAL, Profile, around, profile_of, shared_on_like_days

DAY_WAVES = 10
WEEK_WAVES = 2
BEND_DAYS = 7  # between two bends of the trend
MOST_BENDS = 40
ROUNDS = 5
HUBER = 1.345
EDGES = 0.75  # of what like days share beyond the waves, which cannot follow a heater that is switched at six
FITTED_ON = 8_000  # readings about; a hundred coefficients gain nothing from more
HEED = Heed(1.04, 1.09)


class ProphetDecomposition:
    """The residual of trend and seasons, in robust standard deviations."""

    name = "prophet_decomposition"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem, decomposed)
        sizes, reach = sigmas(evidence)
        return scores(evidence, together(sizes), HEED, reach)


def decomposed(grid: Grid, values: Floats) -> Profile:
    """Trend and seasons fitted to `values` (NaN left out); without a week of days, or where it rests, the plain profile."""
    known = np.flatnonzero(np.isfinite(values))
    if grid.slots < 4 or np.unique(grid.day[known]).size < 2 * LEAST_DAYS:
        return profile_of(grid, values)
    center, size = middle(values[known]), float(np.std(values[known]))
    if np.mean(values[known] == center) >= TYPICAL:
        return profile_of(grid, values)
    design = _design(grid)
    fitted = known[:: _stride(known.size, grid.slots)]
    found = _robust_ridge(design.rows(fitted), (values[fitted] - center) / size)
    expected = center + size * design.dot(found)
    expected += EDGES * shared_on_like_days(grid, values - expected)
    return around(grid, values, expected, is_seasonal=True)


def _stride(readings: int, slots: int) -> int:
    """Every how many-th of the readings is fitted on: coprime to the slots, so that each slot of a day is met."""
    stride = -(-readings // FITTED_ON)
    while math.gcd(stride, slots) > 1:
        stride += 1
    return stride


def _robust_ridge(seen: Floats, wanted: Floats) -> Floats:
    """Coefficients by Huber's loss, iteratively reweighted; the constant is not shrunk."""
    penalty = np.full(seen.shape[1], 1e-3 * wanted.size / 100)
    penalty[0] = 1e-9
    gram, moment = seen.T @ seen + np.diag(penalty), seen.T @ wanted
    found = np.linalg.solve(gram, moment)
    for _ in range(ROUNDS - 1):
        rest = np.abs(wanted - seen @ found)
        width = max(1.4826 * middle(rest), 1e-9)
        far = np.flatnonzero(rest > HUBER * width)  # the others weigh as much as at first
        less = seen[far] * (1.0 - HUBER * width / rest[far])[:, None]
        found = np.linalg.solve(gram - seen[far].T @ less, moment - less.T @ wanted[far])
    return found


@dataclass(frozen=True, slots=True)
class Design:
    """Columns: 1, the shapes of a week, the trend and its bends.

    shapes: waves by weekday and slot, shape (7 x slots, p). which: row of it that each cell has, shape (n,).
    day: days since the first, with their fraction, shape (n,). bends: days at which the trend may bend.
    """

    shapes: Floats
    which: Ints
    day: Floats
    bends: Floats

    def rows(self, cells: Ints) -> Floats:
        """The rows of these cells."""
        return np.hstack((self.shapes[self.which[cells]], self._trend(self.day[cells])))

    def dot(self, found: Floats) -> Floats:
        """All rows times the coefficients, shape (n,), the trend being straight from bend to bend."""
        p = self.shapes.shape[1]
        knots = np.concatenate(([0.0], self.bends, [self.day.max()]))
        trend = np.interp(self.day, knots, self._trend(knots) @ found[p:])
        return np.asarray((self.shapes @ found[:p])[self.which] + trend)

    def _trend(self, day: Floats) -> Floats:
        bent = np.maximum(day[:, None] - np.append(0.0, self.bends), 0.0)
        return np.asarray(bent / max(float(self.day.max()), 1.0))


def _design(grid: Grid) -> Design:
    """Waves of the day (apart for weekends) and of the week, and a bend of the trend every BEND_DAYS."""
    day = grid.day + grid.slot / grid.slots
    length = max(float(day[-1]), 1.0)
    bends = np.linspace(0.0, length, int(min(max(length / BEND_DAYS, 1), MOST_BENDS)) + 1)[1:-1]
    which = grid.weekday[grid.day] * grid.slots + grid.slot
    return Design(_shapes(grid.slots), which, day, bends)


@lru_cache(maxsize=4)
def _shapes(slots: int) -> Floats:
    """1, weekend, and the waves, by weekday and slot, shape (7 x slots, p)."""
    of_week = np.arange(7 * slots) / slots
    weekend = (of_week >= 5).astype(np.float64)
    columns = [np.ones(of_week.size), weekend]
    for order in range(1, min(DAY_WAVES, slots // 2) + 1):
        angle = 2 * np.pi * order * of_week
        waves = (np.sin(angle), np.cos(angle))
        columns += [*waves, *(weekend * wave for wave in waves)]
    for order in range(1, WEEK_WAVES + 1):
        angle = 2 * np.pi * order * of_week / 7
        columns += [np.sin(angle), np.cos(angle)]
    shapes = np.column_stack(columns)
    shapes.setflags(write=False)
    return shapes
