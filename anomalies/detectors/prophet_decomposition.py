"""Decomposition in the manner of Prophet: a trend that bends, a Fourier day and week, and what is left over.

Taylor and Letham (2018), The American Statistician 72:37. Fitted by a robust ridge, not by Prophet itself.
"""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Floats, Problem, Scores
from anomalies.detectors.calibration import together
from anomalies.detectors.frontend import Heed, evidence_of, scores, sigmas
from anomalies.detectors.grid import Grid
from anomalies.detectors.profile import LEAST_DAYS, Profile, around, profile_of

DAY_WAVES = 8
WEEK_WAVES = 3
BEND_DAYS = 7  # between two bends of the trend
MOST_BENDS = 40
ROUNDS = 5
HUBER = 1.345
HEED = Heed()


class ProphetDecomposition:
    """The residual of trend and seasons, in robust standard deviations."""

    name = "prophet_decomposition"

    def score(self, problem: Problem, *, seed: int = 0) -> Scores:
        evidence = evidence_of(problem, decomposed)
        sizes, reach = sigmas(evidence)
        return scores(evidence, together(sizes), HEED, reach)


def decomposed(grid: Grid, values: Floats) -> Profile:
    """Trend and seasons fitted to `values` (NaN left out); without a week of days, the plain profile."""
    known = np.flatnonzero(np.isfinite(values))
    if grid.slots < 4 or np.unique(grid.day[known]).size < 2 * LEAST_DAYS:
        return profile_of(grid, values)
    table = _design(grid)
    center, size = float(np.median(values[known])), float(np.std(values[known]))
    if size == 0.0:
        return profile_of(grid, values)
    wanted = (values[known] - center) / size
    seen = table[known]
    penalty = np.full(table.shape[1], 1e-3 * known.size / 100)
    penalty[0] = 1e-9
    weights = np.ones(known.size)
    for _ in range(ROUNDS):
        weighted = seen * weights[:, None]
        found = np.linalg.solve(weighted.T @ seen + np.diag(penalty), weighted.T @ wanted)
        rest = np.abs(wanted - seen @ found)
        width = max(1.4826 * float(np.median(rest)), 1e-9)
        weights = 1.0 / np.maximum(rest / (HUBER * width), 1.0)
    return around(grid, values, center + size * (table @ found), is_seasonal=True)


def _design(grid: Grid) -> Floats:
    """Columns: 1, trend, its bends, waves of the day (apart for weekends), waves of the week."""
    day = grid.day + grid.slot / grid.slots
    length = max(float(day[-1]), 1.0)
    bends = np.linspace(0.0, length, int(np.clip(length / BEND_DAYS, 1, MOST_BENDS)) + 1)[1:-1]
    weekend = (grid.weekday[grid.day] >= 5).astype(np.float64)
    columns = [
        np.ones(day.size),
        day / length,
        *(np.maximum(day - bend, 0.0) / length for bend in bends),
        weekend,
    ]
    for order in range(1, min(DAY_WAVES, grid.slots // 2) + 1):
        angle = 2 * np.pi * order * day
        waves = (np.sin(angle), np.cos(angle))
        columns += [*waves, *(weekend * wave for wave in waves)]
    for order in range(1, WEEK_WAVES + 1):
        angle = 2 * np.pi * order * day / 7
        columns += [np.sin(angle), np.cos(angle)]
    return np.column_stack(columns)
