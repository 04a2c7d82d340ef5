"""From a problem to what every method judges: one pass, shared by all five."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anomalies.detectors import residuals
from anomalies.detectors.base import MAX_SCORE, Flags, Floats, Problem, Reach, Scores
from anomalies.detectors.grid import Grid, on_grid
from anomalies.detectors.kinds import kinds_of
from anomalies.detectors.profile import Profile, profile_of

LEAST_TRAINING = 200  # readings that vouch for what is usual
LEAST_POINTS = 8  # below, nothing is unusual
SHORT_HOURS, LONG_HOURS = 4.0, 12.0  # of the means that find what is a little off, but for long

# shares of |x|, and what they are of |N(0, 1)|. Knots end where faults may begin.
CALM = np.array([(0.4, 0.5244), (0.65, 0.9346)])
KNOTS = np.array([(0.5, 0.6745), (0.65, 0.9346), (0.78, 1.2265), (0.87, 1.5141), (0.92, 1.7507)])
TRUSTED_KNOTS = np.array([(0.5, 0.6745), (0.65, 0.9346), (0.78, 1.2265), (0.88, 1.5548), (0.94, 1.8808)])
LEAST_POWER = 0.4

# Sigma-equivalents at first sight, by the calm part of the deviations alone.
PLAIN = 4.0  # from here a reading is not part of what is expected at the second look
ODD, ODD_TRUSTED = 6.0, 8.0  # nor, from here, of what scores are calibrated on
PLAIN_FROZEN = 3.0
MOST_WRONG = 0.3  # where more seems wrong, that is how the series is


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of each cell of the grid, shape (n,); 0 where nothing was read.

    z: deviation in spreads. step: innovation. short, long: mean deviation of some hours around.
    frozen, missing: sigma-equivalents. usual: cells that may teach what is usual; reference: those of them
    that scores are calibrated on, the training readings where there are enough.
    """

    grid: Grid
    profile: Profile
    z: Floats
    step: Floats
    short: Floats
    long: Floats
    frozen: residuals.Runs
    missing: residuals.Runs
    known: Flags
    usual: Flags
    reference: Flags
    is_trained: bool
    warnings: tuple[str, ...]

    @property
    def channels(self) -> tuple[Floats, ...]:
        return (self.z, self.step, self.short, self.long)


def evidence_of(problem: Problem, profile: Callable[[Grid, Floats], Profile] = profile_of) -> Evidence:
    """Look twice: what is plainly wrong at first sight is left out of what is taken for usual at the second.

    Args:
        profile: gives what to expect on a grid, learned from values with NaN where none is to be learned.
    """
    grid = on_grid(problem)
    runs = residuals.frozen(grid), residuals.missing(grid)
    at_first = _look(grid, runs, profile, np.zeros(grid.values.size))
    off = _first_sight(at_first)
    if not 0 < int((off > PLAIN).sum()) <= MOST_WRONG * int(at_first.known.sum()):
        return at_first
    return _look(grid, runs, profile, off)


def _look(
    grid: Grid,
    runs: tuple[residuals.Runs, residuals.Runs],
    profile: Callable[[Grid, Floats], Profile],
    off: Floats,
) -> Evidence:
    known = np.isfinite(grid.values)
    found = profile(grid, np.where(off > PLAIN, np.nan, grid.values))
    is_trained = int((known & grid.is_training).sum()) >= LEAST_TRAINING
    usual = known & (off <= (ODD_TRUSTED if is_trained else ODD))
    reference = usual & grid.is_training if is_trained else usual
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(found.spread > 0, (grid.values - found.expected) / found.spread, 0.0)
    step = residuals.innovation(np.where(known, z, np.nan), reference)
    z = np.where(known, z, 0.0)
    return Evidence(
        grid=grid,
        profile=found,
        z=z,
        step=step,
        short=_mean_around(z, known, grid, SHORT_HOURS),
        long=_mean_around(z, known, grid, LONG_HOURS),
        frozen=runs[0],
        missing=runs[1],
        known=known,
        usual=usual,
        reference=reference,
        is_trained=is_trained,
        warnings=tuple(_warnings(grid, known, found)),
    )


def _first_sight(evidence: Evidence) -> Floats:
    """Sigma-equivalents by the calm part of the deviations; MAX_SCORE where a reading is frozen."""
    off = np.where(evidence.frozen.score > PLAIN_FROZEN, MAX_SCORE, 0.0)
    for channel in (evidence.z, evidence.long):
        sizes = _sizes(channel, evidence.reference)
        if sizes.size < LEAST_POINTS:
            continue
        logs, wanted = np.log(np.quantile(sizes, CALM[:, 0])), np.log(CALM[:, 1])
        power = float(np.clip((wanted[1] - wanted[0]) / max(logs[1] - logs[0], 1e-6), 0.6, 1.0))
        off = np.maximum(off, Reach(logs, wanted, power).sigma(channel))
    return np.where(evidence.known, off, 0.0)


def calibrated(evidence: Evidence, channel: Floats) -> Reach:
    """Sigma-equivalents of a channel's sizes, learned from their quantiles in the reference.

    Up to the last knot a size scores what its rank would in a normal sample; beyond, the line through the
    upper knots goes on, with a slope of at most 1, so that heavy tails are given more room and light ones no
    less. With training readings the knots lie half way between theirs and the window's, whose season may be
    another. What has fewer than LEAST_POINTS sizes is taken for standard deviations already.
    """
    sizes = _sizes(channel, evidence.reference)
    if sizes.size < LEAST_POINTS:
        return Reach(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 1.0)
    shares, wanted = (TRUSTED_KNOTS if evidence.is_trained else KNOTS).T
    logs = np.log(np.quantile(sizes, shares))
    if evidence.is_trained:
        now = _sizes(channel, evidence.usual & evidence.grid.in_window)
        if now.size >= LEAST_TRAINING:
            logs = 0.5 * (logs + np.log(np.quantile(now, shares)))
    logs = np.maximum.accumulate(logs + 1e-9 * np.arange(logs.size))
    upper = slice(shares.size // 2, None)
    steep = logs[-1] - logs[upper][0] > 1e-6
    slope = np.polyfit(logs[upper], np.log(wanted[upper]), 1)[0] if steep else 1.0
    return Reach(logs, np.log(wanted), float(np.clip(slope, LEAST_POWER, 1.0)))


def combined(evidence: Evidence, sizes: Floats) -> Floats:
    """Sigma-equivalents of one size for each cell, learned from the reference."""
    return calibrated(evidence, sizes).sigma(sizes)


def _sizes(channel: Floats, where: Flags) -> Floats:
    sizes = np.abs(channel[where])
    return np.asarray(sizes[sizes > 1e-9])


def scores(evidence: Evidence, score: Floats, reach: Reach) -> Scores:
    """The answer for the cells of the window, with what is frozen or missing put in."""
    grid = evidence.grid
    own = np.where(evidence.known, score, 0.0)
    total = np.maximum(np.maximum(own, evidence.frozen.score), evidence.missing.score)
    if int(evidence.known.sum()) < LEAST_POINTS:
        total = np.zeros(total.size)
    total = np.clip(total, 0.0, MAX_SCORE)
    inside = grid.in_window & (grid.was_sent | ~evidence.known)
    can_be_said = int(evidence.known.sum()) >= LEAST_POINTS
    return Scores(
        times=grid.times[inside],
        values=grid.values[inside],
        was_sent=grid.was_sent[inside],
        score=total[inside],
        expected=evidence.profile.expected[inside] if can_be_said else np.full(int(inside.sum()), np.nan),
        std=evidence.profile.spread[inside] if can_be_said else np.full(int(inside.sum()), np.nan),
        reach=reach,
        kind=kinds_of(
            z=evidence.z,
            values=grid.values,
            expected=evidence.profile.expected,
            frozen=evidence.frozen.score,
            missing=evidence.missing.score,
            score=total,
            hour=24.0 * grid.slot / grid.slots if grid.slots > 1 else None,
            per_hour=3_600_000_000 / grid.step_us,
        )[inside],
        run_length=np.maximum(evidence.frozen.length, evidence.missing.length)[inside],
        step_us=grid.step_us,
        warnings=evidence.warnings,
    )


def _mean_around(z: Floats, known: Flags, grid: Grid, hours: float) -> Floats:
    """Mean of the limited deviations of `hours` around each cell, where the cell itself is off that way.

    Sums of deviations from either side say where it begins and ends, so that neighbours count little.
    """
    width = int(hours * 3_600_000_000 // grid.step_us)
    if width < 3 or z.size < 4 * width:
        return np.zeros(z.size)
    limited = np.clip(z, -4.0, 4.0)
    weight = _centred_sum(known.astype(np.float64), width)
    mean = _centred_sum(np.where(known, limited, 0.0), width) / np.maximum(weight, 1.0)
    allowed = np.zeros(z.size, dtype=np.bool_)
    for sign in (1.0, -1.0):
        drive = np.where(known, sign * limited - 0.5, 0.0)
        inside = np.minimum(_excess(drive), _excess(drive[::-1])[::-1]) > 3.0
        allowed |= inside & (sign * mean > 0)
    return np.asarray(np.where(allowed, mean, 0.3 * mean))


def _centred_sum(values: Floats, width: int) -> Floats:
    total = np.concatenate(([0.0], np.cumsum(values)))
    at = np.arange(values.size)
    first, last = np.maximum(at - width // 2, 0), np.minimum(at - width // 2 + width, values.size)
    return np.asarray(total[last] - total[first])


def _excess(steps: Floats) -> Floats:
    """Cumulative sum that never falls below nought (Page, 1954, Biometrika 41:100)."""
    total = np.cumsum(steps)
    return np.asarray(total - np.minimum(np.minimum.accumulate(total), 0.0))


def _warnings(grid: Grid, known: Flags, profile: Profile) -> list[str]:
    if int(known.sum()) < LEAST_POINTS:
        return [
            f"{int(known.sum())} readings are too few to call any of them unusual; send {LEAST_POINTS} or more."
        ]
    if not profile.is_seasonal and grid.slots > 1:
        return ["There are too few days to know the shape of a day; readings are held against their median."]
    return []
