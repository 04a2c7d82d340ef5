"""Which of two detectors is better, on rows that neither has seen. No framework here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from anomalies import daily_profile
from anomalies.daily_profile import DailyProfile
from anomalies.multivariate import IQR_TO_STD, Calibration, Table, scored

SIZES = (
    3.0,
    4.0,
    6.0,
    9.0,
)  # standard deviations usual at that time; some are hard to see, or all would see all
KINDS = (
    len(SIZES) + 1
)  # and a value of another time, usual by itself, which breaks what holds between metrics
EVERY = 20  # rows from one fault to the next, so that each is seen beside rows as they were
MOST_FAULTS = 1_000
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Faulty:
    """held: rows as they were. tables: copies with faults at some rows each, `at`."""

    held: Table
    tables: tuple[tuple[Table, NDArray[np.int64]], ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """missed: for each fault, shape (f,). alarms: for each row as it was, shape (n,). contamination: the detector's own
    share of alarms, which are no error."""

    missed: Flags
    alarms: Flags
    contamination: float

    @property
    def recall(self) -> float:
        return 1.0 - float(self.missed.mean())

    @property
    def alarm_rate(self) -> float:
        return float(self.alarms.mean())

    @property
    def error(self) -> float:
        """Share of faults missed, and share of alarms beyond those it was made to raise."""
        return 1.0 - self.recall + max(self.alarm_rate - self.contamination, 0.0)

    def counted_alarms(self) -> NDArray[np.float64]:
        return self.alarms.astype(np.float64) * (self.alarm_rate > self.contamination)


def with_faults(held: Table, known: Table, *, seed: int) -> Faulty:
    """The same faults for whoever is judged, graded by what is usual in the `known` rows of the device."""
    profile = daily_profile.learned(known.times_us, known.values)
    rounds = min(EVERY, max(1, EVERY * MOST_FAULTS // len(held.times_us)))
    return Faulty(held, tuple(_faults(held, profile, rounds, np.random.default_rng(seed))))


def judged(model: Pipeline, calibration: Calibration, faulty: Faulty, contamination: float) -> Judged:
    found = [scored(model, calibration, table, at) >= calibration.threshold for table, at in faulty.tables]
    alarms = scored(model, calibration, faulty.held) >= calibration.threshold
    return Judged(~np.concatenate(found), alarms, contamination)


def standard_error(one: Judged, other: Judged) -> float:
    """Of the difference of their errors: both saw the same rows and faults, so what they agree on is not chance."""
    missed = one.missed.astype(np.float64) - other.missed
    alarms = one.counted_alarms() - other.counted_alarms()
    return float(np.sqrt(missed.var() / missed.size + alarms.var() / alarms.size))


def _faults(
    held: Table, profile: DailyProfile, rounds: int, random: np.random.Generator
) -> Iterator[tuple[Table, NDArray[np.int64]]]:
    """One metric of every EVERYth row moved, from another row on in each round."""
    usual = profile.spread_at(held.times_us) / IQR_TO_STD
    count, m = held.values.shape
    for first in range(min(rounds, count)):
        at = np.arange(first, count, EVERY)
        which = random.integers(0, m, at.size)
        kind = random.integers(0, KINDS, at.size)
        own, std = held.values[at, which], usual[at, which]
        size = np.array([*SIZES, SIZES[0]])[kind] * random.choice((-1.0, 1.0), at.size)
        of_another_time = held.values[random.integers(0, count, at.size), which]
        breaks = (kind == len(SIZES)) & (np.abs(of_another_time - own) >= SIZES[0] * std)
        values = held.values.copy()
        values[at, which] = np.where(breaks, of_another_time, own + size * std)
        yield Table(held.times_us, held.metrics, values), at
