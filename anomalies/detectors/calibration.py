"""Sizes to sigma-equivalents, so that a score of three is equally rare in every channel, method and series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from anomalies.detectors.base import Flags, Floats, Reach
from anomalies.detectors.order import how_many, quantiles

# Shares of the sizes at which a size is given the rank's sigma. Without training readings they end where faults
# may begin; with them only what looks plainly wrong was left out, so the tail itself can be trusted.
ALONE_KNOTS = np.array([0.5, 0.65, 0.78, 0.87, 0.92])
TRAINED_KNOTS = np.array([0.5, 0.65, 0.78, 0.88, 0.94, 0.97, 0.985])
CALM_KNOTS = np.array([0.4, 0.65])  # at first sight, when nothing was left out yet
RUN_KNOTS = np.array([0.5, 0.8, 0.9, 0.95])
COMMON = 0.78  # up to this share of the window's sizes none is a fault's
TOWARDS_THE_WINDOW = 0.5  # how far the scale follows the window, whose season may be another
LEAST_POWER, MOST_POWER = 0.4, 0.8  # the tails of meters are heavier than a normal one's
EXTENT_POWER = 1.5  # what is read has bounds: fuses, boilers, the sun
SUM_POWER = 0.55  # chances of sums fall like exp(-sum), so that sigmas grow like its root
CALM_POWERS = (0.6, 1.0)
LEAST_SIZES = 8
NOTHING = 1e-9
AS_THEY_ARE = Reach(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 1.0)  # sizes that are sigmas already


@dataclass(frozen=True, slots=True)
class Reference:
    """What sizes are calibrated on: cells, and usual cells of the window for their scale, each shape (n,).

    window: heeded with training only; without, the window is the reference. is_trained: the cells are training readings.
    """

    cells: Flags
    window: Flags
    is_trained: bool


def calibrated(reference: Reference, channel: Floats, most_power: float = MOST_POWER) -> Reach:
    """Sigma-equivalents of a channel's sizes, learned from their quantiles in the reference.

    Up to the last knot a size scores what its rank would in a normal sample; beyond, the line through the
    upper knots goes on, with a slope of at most `most_power`. Fewer than LEAST_SIZES sizes that are not zero are
    taken for standard deviations already.
    """
    sizes = np.abs(channel[reference.cells])
    some = sizes > NOTHING
    if how_many(some) < LEAST_SIZES:
        return AS_THEY_ARE
    shares = TRAINED_KNOTS if reference.is_trained else ALONE_KNOTS
    knots = quantiles(sizes, shares)
    if how_many(knots > NOTHING) < 3:  # a channel that is mostly silent: what it says when it speaks
        knots = quantiles(sizes[some], shares)
    if reference.is_trained:
        knots = knots * _scale_of_the_window(np.abs(channel[reference.window]), knots, shares)
    heard = knots > NOTHING
    if how_many(heard) < 2:
        return AS_THEY_ARE
    return line(knots[heard], _sigma_of(1.0 - shares[heard]), (LEAST_POWER, most_power))


def calm(reference: Reference, channel: Floats) -> Reach:
    """Sigma-equivalents at first sight, by the calm part of the sizes alone."""
    some = np.abs(channel[reference.cells])
    some = some[some > NOTHING]
    if some.size < LEAST_SIZES:
        return AS_THEY_ARE
    return line(quantiles(some, CALM_KNOTS), _sigma_of(1.0 - CALM_KNOTS), CALM_POWERS)


def tail_of_runs(sizes: Floats, share: float) -> Reach:
    """Sigma-equivalents of sizes that occur in `share` of all cells and are rare beyond that."""
    return line(quantiles(sizes, RUN_KNOTS), _sigma_of(share * (1.0 - RUN_KNOTS)), (0.3, 1.0))


def line(sizes: Floats, sigmas: Floats, powers: tuple[float, float]) -> Reach:
    """Through these knots, going on as their upper half does, with a slope within `powers`."""
    logs = np.log(np.maximum(sizes, 1e-300))
    logs = np.maximum.accumulate(logs + NOTHING * np.arange(logs.size))
    upper = slice(logs.size // 2 if logs.size > 2 else 0, None)
    log_sigmas = np.log(sigmas)
    steep = logs[-1] - logs[upper][0] > 1e-6
    slope = _slope(logs[upper], log_sigmas[upper]) if steep else powers[1]
    return Reach(logs, log_sigmas, min(max(slope, powers[0]), powers[1]))


def _slope(x: Floats, y: Floats) -> float:
    """Of the straight line with the least squares."""
    beside = x - x.sum() / x.size
    return float(beside @ y / (beside @ beside))


def together(sigmas: list[Floats]) -> Floats:
    """One size of several channels: little more than the largest, and more where several speak."""
    total = np.zeros(sigmas[0].size)
    for sigma in sigmas:
        total += sigma * sigma * sigma
    return np.asarray(np.cbrt(total))


def _scale_of_the_window(sizes: Floats, knots: Floats, shares: Floats) -> float:
    if sizes.size == 0:
        return 1.0
    now = quantiles(sizes, shares)
    both = (knots > NOTHING) & (now > NOTHING) & (shares <= COMMON)
    if not both.any():
        return 1.0
    return float(np.exp(TOWARDS_THE_WINDOW * np.mean(np.log(now[both] / knots[both]))))


def _sigma_of(chance: Floats) -> Floats:
    """What a normal deviate exceeds, on either side, by this chance."""
    return np.asarray(-ndtri(chance / 2.0))
