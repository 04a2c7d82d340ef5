"""From a problem to what every method judges: one pass, shared by all five."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from anomalies.detectors import residuals
from anomalies.detectors.base import MAX_SCORE, Flags, Floats, Problem, Reach, Scores
from anomalies.detectors.calibration import (
    EXTENT_POWER,
    MOST_POWER,
    SUM_POWER,
    Reference,
    calibrated,
    calm,
    tail_of_runs,
)
from anomalies.detectors.extents import extents
from anomalies.detectors.grid import US_PER_DAY, Grid, on_grid
from anomalies.detectors.kinds import kinds_of
from anomalies.detectors.order import how_many, middle
from anomalies.detectors.profile import LEAST_TRAINING, TYPICAL, Profile, beyond_training, profile_of
from anomalies.detectors.stretches import stretches, sustained

LEAST_POINTS = 8  # below, nothing is unusual
MUCH, SLIGHTLY = 1.0, 0.5  # spreads excused of each deviation in a stretch, when judged and at first sight
SUSTAINED_HOURS = 4.0  # longer than what people do, shorter than what is left on
POWERS = (MOST_POWER, MOST_POWER, SUM_POWER, MOST_POWER, EXTENT_POWER, EXTENT_POWER)  # of the channels
EXTENTS = 4  # from this channel on: of the readings themselves, not of what they deviate
HEED_OF_NOUGHT = 0.85  # noughts come together for days: nobody was at home
COMMON_ZERO = 0.05  # of the readings in runs of nought: their lengths are calibrated, not only their odds

# Sigma-equivalents at first sight, by the calm part of the deviations alone.
PLAIN = 4.0  # from here a reading is not part of what is expected at the second look
ODD, ODD_TRUSTED = 6.0, 8.0  # nor, from here, of what scores are calibrated on
PLAIN_FROZEN = 3.0
MOST_WRONG = 0.3  # where more of what vouches seems wrong, that is how the series is
COUNTED = 48  # readings of which none is below the one before: a counter's

# A series that is told exactly, and its exceptions.
EXACT = 1e-9  # of the largest reading: what is less off is rounding
FEW_RUNS, RARE_RUNS = 3, 0.01  # of the readings; what is met more often may be a state


@dataclass(frozen=True, slots=True)
class Heed:
    """What a method's calibrated score is multiplied by, so that all accuse about as often.

    Measured by `make bench-anomaly`; a method that sees more rough detail is heeded less.
    """

    trained: float = 1.0
    alone: float = 1.0

    def of(self, evidence: Evidence) -> float:
        return self.trained if evidence.reference.is_trained else self.alone


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of each cell of the grid, shape (n,); 0 where nothing was read.

    z: deviation in spreads. channels: z, the innovation, the sum of the stretch, what is sustained in it, and how far
    the reading goes above and below all usual ones.
    frozen, missing, dead: sigma-equivalents of runs. reference: what sizes are calibrated on, the training
    readings where there are enough.
    """

    grid: Grid
    profile: Profile
    z: Floats
    channels: tuple[Floats, ...]
    frozen: residuals.Runs
    missing: residuals.Runs
    dead: Floats
    known: Flags
    reference: Reference
    warnings: tuple[str, ...]


def evidence_of(problem: Problem, profile: Callable[[Grid, Floats], Profile] = profile_of) -> Evidence:
    """Look twice: what is plainly wrong at first sight is left out of what is taken for usual at the second.

    Args:
        profile: gives what to expect on a grid, learned from values with NaN where none is to be learned.
    """
    grid = on_grid(problem)
    known = np.isfinite(grid.values)
    is_trained = how_many(known & grid.is_training) >= LEAST_TRAINING
    frozen, dead = residuals.frozen(grid), residuals.dead(grid)
    learned = grid.values - beyond_training(grid)
    found = _with_a_width(grid, profile(grid, learned))
    stopped = np.maximum(frozen.score, _among(known, dead)) > PLAIN_FROZEN
    is_exact = _is_exact_with_exceptions(grid, found, known)
    z = _or_nothing(found.deviations(grid.values))
    off = _first_sight(z, known, stopped, _reference(grid, known, is_trained))
    vouched = known & (grid.is_training | (not is_trained))
    is_rare = how_many(off[vouched] > PLAIN) <= MOST_WRONG * how_many(vouched)
    if not is_exact and is_rare and (off > PLAIN).any():
        found = _with_a_width(grid, profile(grid, np.where(off > PLAIN, np.nan, learned)))
    else:
        off = np.zeros(known.size)
    usual = known & (off <= (ODD_TRUSTED if is_trained else ODD))
    reference = _reference(grid, usual & (not is_exact), is_trained)
    deviations = found.deviations(grid.values)
    z = _or_nothing(deviations)
    return Evidence(
        grid=grid,
        profile=found,
        z=z,
        channels=(
            z,
            residuals.innovation(deviations, reference.cells),
            stretches(z, known, MUCH),
            sustained(z, known, _sustained_cells(grid)),
            *extents(grid, found, known, reference.cells),
        ),
        frozen=frozen,
        missing=residuals.missing(grid),
        dead=HEED_OF_NOUGHT * _among(usual, dead),
        known=known,
        reference=reference,
        warnings=tuple(_warnings(grid, known, found)),
    )


def _is_exact_with_exceptions(grid: Grid, found: Profile, known: Flags) -> bool:
    """Whether readings are what was expected to the last digit, a setpoint or days that repeat, but for a few.

    Those have nothing to be calibrated on but themselves. A reading that is met again and again is no exception.
    """
    values = grid.values
    off = known & _is_off(grid, found)
    if not off.any() or how_many(known) < LEAST_POINTS:
        return False
    vouched = known & grid.is_training
    told = vouched if how_many(vouched) >= LEAST_TRAINING else known
    count = how_many(told)
    exceptions = off & told
    if how_many(exceptions) > max(1.0, (1.0 - TYPICAL) * count):
        return False
    runs = how_many(exceptions[1:] & ~exceptions[:-1]) + int(exceptions[0])
    is_rare = runs <= max(FEW_RUNS, RARE_RUNS * count)
    return is_rare or np.unique(values[exceptions]).size > 0.5 * how_many(exceptions)


def _is_off(grid: Grid, found: Profile) -> Flags:
    """Where readings differ from what was expected by more than rounding."""
    largest = float(np.max(np.abs(grid.values), initial=0.0, where=np.isfinite(grid.values)))
    return np.asarray(np.abs(grid.values - found.expected) > EXACT * largest)


def _with_a_width(grid: Grid, found: Profile) -> Profile:
    """A profile that leaves nothing over in what it was learned from, wide enough for what else there is to be odd."""
    if found.spread.any():
        return found
    off = _is_off(grid, found)
    if not off.any():
        return found
    width = np.full(off.size, middle(np.abs(grid.values - found.expected)[off]) / ODD)
    return replace(found, above=width, below=width)


def _sustained_cells(grid: Grid) -> int:
    return max(2, round(SUSTAINED_HOURS * US_PER_DAY / (24 * grid.step_us)))


def _or_nothing(deviations: Floats) -> Floats:
    """Deviations, 0 where nothing was read."""
    return np.where(np.isnan(deviations), 0.0, deviations)


def _reference(grid: Grid, usual: Flags, is_trained: bool) -> Reference:
    nothing = np.zeros(usual.size, dtype=np.bool_)
    if not is_trained:
        return Reference(usual, nothing, is_trained=False)
    window = usual & grid.in_window
    enough = how_many(window) >= LEAST_TRAINING
    return Reference(usual & grid.is_training, window if enough else nothing, is_trained=True)


def _among(usual: Flags, dead: Floats) -> Floats:
    """Runs of nought in sigma-equivalents; calibrated where nought is common."""
    common = dead[usual & (dead > 0)]
    share = common.size / max(how_many(usual), 1)
    return tail_of_runs(common, share).sigma(dead) if share > COMMON_ZERO else dead


def _first_sight(z: Floats, known: Flags, stopped: Flags, reference: Reference) -> Floats:
    """Sigma-equivalents by the calm part of the deviations; MAX_SCORE where a reading is frozen or dead."""
    off = np.where(stopped, MAX_SCORE, 0.0)
    for channel in (z, stretches(z, known, SLIGHTLY)):
        off = np.maximum(off, calm(reference, channel).sigma(channel))
    return np.where(known, off, 0.0)


def sigmas(evidence: Evidence) -> tuple[list[Floats], Reach]:
    """Each channel's sizes in sigma-equivalents, and the reach of the first, the deviation's."""
    reaches = [
        calibrated(evidence.reference, channel, power)
        for channel, power in zip(evidence.channels, POWERS, strict=True)
    ]
    return [reach.sigma(c) for reach, c in zip(reaches, evidence.channels, strict=True)], reaches[0]


def scores(evidence: Evidence, sizes: Floats, heed: Heed, reach: Reach) -> Scores:
    """The answer for the cells of the window: the method's sizes calibrated, and what is frozen or missing."""
    grid = evidence.grid
    own = calibrated(evidence.reference, sizes).sigma(sizes) * heed.of(evidence)
    own = np.where(evidence.known, own, 0.0)
    total = np.maximum.reduce((own, evidence.frozen.score, evidence.missing.score, evidence.dead))
    can_be_said = how_many(evidence.known) >= LEAST_POINTS
    total = np.minimum(total, MAX_SCORE) if can_be_said else np.zeros(total.size)
    inside = grid.in_window & (grid.was_sent | ~evidence.known)
    unknown = np.full(how_many(inside), np.nan)
    return Scores(
        times=grid.times[inside],
        values=grid.values[inside],
        was_sent=grid.was_sent[inside],
        score=total[inside],
        expected=evidence.profile.expected[inside] if can_be_said else unknown,
        std=evidence.profile.spread[inside] if can_be_said else unknown,
        above=evidence.profile.above[inside] if can_be_said else unknown,
        below=evidence.profile.below[inside] if can_be_said else unknown,
        reach=reach.times(heed.of(evidence)),
        kind=kinds_of(
            z=evidence.z,
            values=grid.values,
            expected=evidence.profile.expected,
            spread=evidence.profile.side_of(grid.values),
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


def _warnings(grid: Grid, known: Flags, profile: Profile) -> list[str]:
    told = []
    if grid.shared:
        told.append(
            f"{grid.shared} readings come less than half of the usual {_length(grid.step_us)} after one before and were "
            "averaged with it."
        )
    if grid.thinned_us:
        told.append(
            f"Training readings come every {_length(grid.thinned_us)}, those of the window every {_length(grid.step_us)}; "
            "of the first only those at the instants of the window's were heeded."
        )
    if how_many(known) < LEAST_POINTS:
        told.append(
            f"It takes {LEAST_POINTS} readings or more to call one of them unusual; there are {how_many(known)} here."
        )
    elif not profile.spread.any():
        told.append(
            "The readings do not vary, or each day is the same as the others, so none of them is unusual."
        )
    elif not profile.is_seasonal and grid.slots > 1:
        told.append(
            "There are too few days to know the shape of a day; readings are held against their median."
        )
    if _only_rises(grid.values[known]):
        told.append(
            "No reading is below the one before, as of a meter that counts: its level says little of what was used. "
            "Send the differences from reading to reading."
        )
    return told


def _only_rises(readings: Floats) -> bool:
    steps = np.diff(readings)
    return readings.size >= COUNTED and bool((steps >= 0).all()) and how_many(steps > 0) > readings.size // 2


def _length(step_us: int) -> str:
    seconds = step_us / 1_000_000
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"
