"""What meters do wrong, injected by a seed into windows of the shipped series. See README.md beside it."""

# ruff: noqa: ARG001  every fault is called alike

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.ordinary import is_ordinary
from benchmarks.sites import Sample

KINDS = (
    "spike",
    "drop_to_zero",
    "stuck",
    "level_shift",
    "scale_error",
    "missing_block",
    "drift",
    "night_load",
)
WINDOW = 1_008  # points: six weeks of hours, three of half-hours
TRAINING_WEEKS = 6  # before the window
MATERIAL = 0.25  # of the span: what changed less is not labelled
TRIES = 200


@dataclass(frozen=True)
class Event:
    kind: str
    points: np.ndarray  # positions in the window that are wrong


@dataclass(frozen=True)
class Case:
    """A window with its truth. times: datetime64[us], UTC; NaN where nothing was read."""

    series: str
    seed: int
    timezone: str
    training_times: np.ndarray
    training: np.ndarray
    dirty_training: np.ndarray  # the same with 2 % faults
    times: np.ndarray
    values: np.ndarray
    events: tuple[Event, ...]
    judged: np.ndarray  # False where a value was changed, but not so that anybody could tell

    @property
    def labels(self) -> np.ndarray:
        marked = np.zeros(self.values.size, dtype=bool)
        for event in self.events:
            marked[event.points] = True
        return marked


def cases(sample: Sample, seed: int) -> list[Case]:
    """Two windows with four kinds of fault each, all eight between them, and the same two without."""
    rng = np.random.default_rng([seed, sum(map(ord, sample.name))])
    step = np.timedelta64(sample.interval_minutes, "m")
    times = sample.start.to_datetime64().astype("datetime64[us]") + np.arange(sample.values.size) * step
    training = min(TRAINING_WEEKS * 7 * sample.day, sample.values.size // 2)
    made = []
    order = rng.permutation(KINDS)
    for kinds in (order[:4], order[4:]):
        begin = int(rng.integers(training, sample.values.size - WINDOW))
        past, now = slice(begin - training, begin), slice(begin, begin + WINDOW)
        span = spread(sample.values[begin - training : begin + WINDOW])
        local = times[now]
        shared = {
            "series": sample.name,
            "seed": seed,
            "timezone": sample.timezone,
            "training_times": times[past],
            "training": sample.values[past],
            "dirty_training": contaminated(past, times[past], sample, span, rng),
            "times": local,
        }
        values = sample.values[now].copy()
        events = inject(values, begin, local, list(kinds), sample, span, rng)
        case = Case(**shared, values=values, events=tuple(events), judged=np.empty(0))
        slight = ~same(sample.values[now], values) & ~case.labels
        made.append(replace(case, judged=~slight))
        made.append(Case(**shared, values=sample.values[now], events=(), judged=np.ones(WINDOW, dtype=bool)))
    return made


def spread(values: np.ndarray) -> float:
    low, high = np.nanquantile(values, [0.05, 0.95])
    return float(high - low)


def inject(
    values: np.ndarray,
    offset: int,
    times: np.ndarray,
    kinds: list[str],
    sample: Sample,
    span: float,
    rng: np.random.Generator,
) -> list[Event]:
    """Put one fault of each kind into `values`, in place, a day apart from each other at least.

    values: those of the sample from `offset` on.
    """
    taken = np.zeros(values.size, dtype=bool)
    events = []
    for kind in kinds:
        for _ in range(TRIES):
            begin = int(rng.integers(sample.day, values.size - sample.day))
            changed = FAULTS[kind](values, times, begin, sample, span, rng)
            points = wrong_points(kind, values, changed, span)
            touched = np.flatnonzero(~same(values, changed))
            if touched.size == 0 or points.size < max(
                LEAST.get(kind, 1), LEAST_SHARE.get(kind, 0) * touched.size
            ):
                continue
            if is_ordinary(sample.values, offset + points, changed[points], sample.day):
                continue
            around = slice(max(0, touched[0] - sample.day), touched[-1] + sample.day)
            if not taken[around].any():
                taken[touched[0] : touched[-1] + 1] = True
                values[:] = changed
                events.append(Event(kind, points))
                break
    return events


def contaminated(
    past: slice, times: np.ndarray, sample: Sample, span: float, rng: np.random.Generator
) -> np.ndarray:
    """A copy of that part of the sample in which about 2 % of the points are wrong."""
    dirty = sample.values[past].copy()
    wrong = 0
    for _ in range(60):
        kind = str(rng.choice(["spike", "drop_to_zero", "stuck", "scale_error"]))
        before = dirty.copy()
        inject(dirty, past.start, times, [kind], sample, span, rng)
        new = wrong + int((~same(before, dirty)).sum())
        if new > 0.025 * dirty.size:
            dirty = before
            continue
        wrong = new
        if wrong >= 0.02 * dirty.size:
            break
    return dirty


def wrong_points(kind: str, before: np.ndarray, after: np.ndarray, span: float) -> np.ndarray:
    """What a person would call wrong: every missing or frozen value, else what changed materially."""
    if kind in ("missing_block", "stuck"):
        return np.flatnonzero(~same(before, after))
    return np.flatnonzero(np.abs(after - before) > MATERIAL * span)


def same(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before == after) | (np.isnan(before) & np.isnan(after))


def _hours(low: float, high: float, sample: Sample, rng: np.random.Generator) -> int:
    return max(1, round(rng.uniform(low, high) * 60 / sample.interval_minutes))


def _stretch(values: np.ndarray, begin: int, length: int) -> tuple[np.ndarray, slice]:
    return values.copy(), slice(begin, min(begin + length, values.size))


def spike(values, times, begin, sample, span, rng):
    changed, here = _stretch(values, begin, int(rng.integers(1, 3)))
    changed[here] += rng.uniform(1.5, 4.0) * span
    return changed


def drop_to_zero(values, times, begin, sample, span, rng):
    changed, here = _stretch(values, begin, _hours(3, 12, sample, rng))
    changed[here] = np.where(np.isnan(changed[here]), np.nan, 0.0)
    return changed


def stuck(values, times, begin, sample, span, rng):
    changed, here = _stretch(values, begin, _hours(6, 18, sample, rng))
    if np.isnan(values[begin]) or values[begin] == 0:
        return changed
    changed[here] = values[begin]
    return changed


def level_shift(values, times, begin, sample, span, rng):
    changed, here = _stretch(values, begin, _hours(12, 36, sample, rng))
    changed[here] += rng.uniform(0.5, 1.5) * span
    return changed


def scale_error(values, times, begin, sample, span, rng):
    changed, here = _stretch(values, begin, _hours(6, 24, sample, rng))
    changed[here] *= rng.choice([0.1, 3.0, 10.0, 1000.0])
    return changed


def missing_block(values, times, begin, sample, span, rng):
    changed, here = _stretch(values, begin, _hours(4, 24, sample, rng))
    changed[here] = np.nan
    return changed


def drift(values, times, begin, sample, span, rng):
    length = _hours(24, 48, sample, rng)
    changed, here = _stretch(values, begin, length)
    changed[here] += (rng.uniform(0.8, 1.6) * span * np.arange(1, length + 1) / length)[: changed[here].size]
    return changed


def night_load(values, times, begin, sample, span, rng):
    """Something stays on for two or three nights, 22 to 5 by the site's clock in winter."""
    changed, here = _stretch(values, begin, _hours(48, 72, sample, rng))
    offset = {"Europe/London": 0, "America/Chicago": -6, "America/New_York": -5}.get(sample.timezone, 0)
    hour = (times.astype("datetime64[h]").astype(np.int64) + offset) % 24
    night = np.zeros(values.size, dtype=bool)
    night[here] = (hour[here] >= 22) | (hour[here] < 5)
    changed[night] += rng.uniform(0.5, 1.5) * span
    return changed


FAULTS = {kind: globals()[kind] for kind in KINDS}
# of its points, how many must be materially wrong: a drop to zero where there was next to nothing is none
LEAST_SHARE = {"drop_to_zero": 0.5, "scale_error": 0.3}
LEAST = {"drop_to_zero": 2, "stuck": 6, "level_shift": 12, "scale_error": 6, "drift": 12, "night_load": 6}
