"""What all five methods look at: how far off a value is, how surprising its step was, and what is frozen or missing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from anomalies.detectors.base import MAX_SCORE, Flags, Floats, Ints
from anomalies.detectors.grid import Grid
from anomalies.detectors.order import how_many, middle
from anomalies.detectors.profile import share_on_like_days

LEAST_RUN = 5  # equal readings in a row below this are chance, whatever the odds
LEAST_DEAD = 2
RESTS_IN = 3  # runs besides the longest, which hold
RESTING_SHARE = 0.03  # of all readings
LEAST_GAP = 3
LEAST_STEPS = 24
_SIGMAS = np.linspace(0.0, MAX_SCORE, 1201)
_LOG_ODDS = np.array([-math.log(math.erfc(sigma / math.sqrt(2.0))) for sigma in _SIGMAS])
STEP_CLIP = 2.0  # how many of its own spreads the tracked deviation may follow in one step


def innovation(z: Floats, reference: Flags) -> Floats:
    """How far each step leads away from what was expected, given the deviation just before.

    Args:
        z: deviation from the profile in its own spreads, shape (n,); NaN where nothing was read.
        reference: the cells that persistence is learned from.

    Returns:
        Surprise of each step in robust standard deviations of a step, signed, shape (n,); 0 where nothing
        was read, for a step back to what was expected, and everywhere with too few readings.

    The deviation is tracked by a first-order autoregression that follows at most STEP_CLIP spreads a step,
    so one wild value does not make the next one look wild.
    """
    clipped = np.minimum(np.maximum(z, -3.0), 3.0)
    before, after = clipped[:-1], clipped[1:]
    pairs = np.isfinite(before) & np.isfinite(after) & reference[1:]
    if how_many(pairs) < LEAST_STEPS:
        return np.zeros(z.size)
    before, after = before[pairs], after[pairs]
    phi = min(max(float(before @ after) / max(float(before @ before), 1e-12), 0.0), 0.98)
    width = max(1.4826 * middle(np.abs(after - phi * before)), 1e-6)
    step = z - _tracked(z, phi, STEP_CLIP * width)
    away = np.minimum(np.abs(step), 2.0 * np.abs(z)) / width
    return np.asarray(np.where(step * z > 0, np.copysign(away, step), 0.0))


def _tracked(z: Floats, phi: float, limit: float) -> Floats:
    """What the autoregression predicts of each value, following at most `limit` a step; over NaN it goes on."""
    predicted = []
    next_one = 0.0
    for value in z.tolist():
        predicted.append(next_one)
        step = value - next_one
        state = value
        if step > limit:
            state = next_one + limit
        elif step < -limit:
            state = next_one - limit
        elif step != step:  # not a number
            state = next_one
        next_one = phi * state
    return np.array(predicted)


@dataclass(frozen=True, slots=True)
class Runs:
    """length: how many equal readings (or missing ones) in a row a cell belongs to. score: sigma-equivalent."""

    length: Ints
    score: Floats


def frozen(grid: Grid) -> Runs:
    """Readings that repeat to the last digit where this series does not.

    A run of L readings has the odds p^(L - 1), p being the share of readings of this series that repeat the
    one before, this run's among them, so that a constant is never frozen. A value the series rests at
    (nothing at night, standby) is frozen only in a run half as long again as its second longest.
    """
    values = grid.values
    known = np.isfinite(values)
    length, group = _runs(np.where(known, values, np.inf), known)
    repeats = how_many((values[1:] == values[:-1]) & known[1:])
    chance = (repeats + 1.0) / (how_many(known) + 2.0)
    score = _sigma_of_log(np.log(chance) * np.maximum(length - 1, 0))
    score[(length < LEAST_RUN) | ~known] = 0.0
    for value in np.unique(values[score > 0.0]):
        at = values == value
        runs = np.unique(group[at])
        elsewhere = how_many(at) - int(length[at].max())
        if runs.size > RESTS_IN and elsewhere >= RESTING_SHARE * how_many(known):
            score[at] = 0.0
        else:
            second = np.sort(length[np.searchsorted(group, runs)])[-2] if runs.size > 1 else 0
            score[at & (length <= max(1.5 * second, LEAST_RUN - 1))] = 0.0
    score[1:][group[1:] != group[:-1]] = 0.0  # the first of a run was read
    return Runs(np.where(known, length, 0), score)


def dead(grid: Grid) -> Floats:
    """Sigma-equivalents of runs of nought, by how often it is nought around those times on like days; shape (n,).

    The least likely reading of a run counts by its odds, each other one by their root, since noughts come
    together; readings at hours when nought is common are told less loudly than the rest of their run.
    """
    is_zero = grid.values == 0.0
    score = np.zeros(grid.values.size)
    if not is_zero.any():
        return score
    log_odds = np.log(share_on_like_days(grid, is_zero, np.isfinite(grid.values)))
    length, group = _runs(is_zero.astype(np.float64), np.ones(is_zero.size, dtype=np.bool_))
    total = np.bincount(group, weights=log_odds)
    least = np.zeros(total.size)
    np.minimum.at(least, group, log_odds)
    sigma = _sigma_of_log(0.5 * (total + least))[group]
    told = is_zero & (length >= LEAST_DEAD)
    score[told] = (sigma * np.minimum(1.0, 2.0 * log_odds / least[group]))[told]
    return score


def missing(grid: Grid) -> Runs:
    """Blocks of the window in which readings are absent or null, against how often that happens here."""
    gone = ~np.isfinite(grid.values)
    length, _ = _runs(gone.astype(np.float64), np.ones(gone.size, dtype=np.bool_))
    inside = gone & grid.in_window
    outside_count = how_many(gone & (length < LEAST_GAP))
    rate = min(0.5, (outside_count + 1.0) / (gone.size + 2.0))
    score = _sigma_of_log(np.log(rate) + np.log(0.5) * np.maximum(length - 1, 0))
    if rate > 0.2:  # gaps are how this series comes
        return Runs(np.where(inside, length, 0), np.zeros(gone.size))
    return Runs(np.where(inside, length, 0), np.where(inside & (length >= LEAST_GAP), score, 0.0))


def _runs(values: Floats, known: Flags) -> tuple[Ints, Ints]:
    """Length of the run of equal values each cell is in, and the run's number."""
    new = np.ones(values.size, dtype=np.bool_)
    new[1:] = (values[1:] != values[:-1]) | ~known[1:]
    group = np.cumsum(new) - 1
    return np.bincount(group)[group], group


def _sigma_of_log(log_chance: Floats) -> Floats:
    """Sigma of the normal deviate that is exceeded, on either side, by the chance exp(log_chance)."""
    return np.asarray(np.interp(-log_chance, _LOG_ODDS, _SIGMAS))
