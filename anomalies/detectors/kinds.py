"""What a fault looks like, in the words of those who know meters. Where nothing fits, it is just unusual."""

from __future__ import annotations

import numpy as np

from anomalies.detectors.base import Flags, Floats, Ints
from anomalies.detectors.order import how_many, middle

KINDS = (
    "unusual",
    "spike",
    "drop_to_zero",
    "stuck",
    "level_shift",
    "scale_error",
    "missing_block",
    "drift",
    "night_load",
)
UNUSUAL, SPIKE, DROP, STUCK, SHIFT, SCALE, MISSING, DRIFT, NIGHT = range(len(KINDS))
NAMED_FROM = 2.0  # score; what is below belongs to no episode
CORE_SHARE = 0.3  # of an episode's largest deviation: what is named
BRIDGED_HOURS = 3.0  # between two parts of one episode
TENS = (-3, -2, -1, 1, 2, 3)  # powers of them that units and factors are wrong by
SPIKE_POINTS = 2
ONE_SIDED = 0.9
NIGHT_HOURS = 3.0
LONG_HOURS = 6.0
GROWS = 1.4  # from its first third to its last: a drift


def kinds_of(
    *,
    z: Floats,
    values: Floats,
    expected: Floats,
    frozen: Floats,
    missing: Floats,
    score: Floats,
    hour: Floats | None,
    per_hour: float,
) -> Ints:
    """Name each cell's kind by the episode of scored cells it is part of; shape (n,), indices into KINDS.

    Args:
        z: deviation in spreads. frozen, missing, score: sigma-equivalents.
        hour: hour of the day on the site's clock; None for series without hours.
        per_hour: readings an hour.
    """
    kinds = np.full(score.size, UNUSUAL, dtype=np.int64)
    is_known = np.isfinite(values)
    ordinary = (score >= NAMED_FROM) & is_known & (frozen < NAMED_FROM)
    begins = _episodes(ordinary, max(1, round(BRIDGED_HOURS * per_hour)))
    at = np.flatnonzero(ordinary)
    episode = np.searchsorted(begins, at, side="right") - 1
    size = np.abs(z[at])
    largest = np.zeros(begins.size)
    np.maximum.at(largest, episode, size)
    core = at[size >= CORE_SHARE * largest[episode]]
    edges = np.searchsorted(core, np.append(begins, score.size))
    named = np.full(begins.size, SPIKE, dtype=np.int64)
    for index in np.flatnonzero(np.diff(edges) > SPIKE_POINTS).tolist():
        cells = core[edges[index] : edges[index + 1]]
        named[index] = _kind_of_episode(
            z[cells], values[cells], expected[cells], None if hour is None else hour[cells], per_hour
        )
    kinds[at] = named[episode]
    kinds[is_known & (values == 0) & (z < 0) & (score >= NAMED_FROM)] = DROP
    kinds[(frozen >= NAMED_FROM) & (values != 0)] = STUCK
    kinds[missing >= NAMED_FROM] = MISSING
    return kinds


def _episodes(flags: Flags, bridge: int) -> Ints:
    """First cell of each stretch of flags no further than `bridge` cells apart."""
    at = np.flatnonzero(flags)
    return at[np.diff(at, prepend=-bridge - 1) > bridge]


def _kind_of_episode(
    z: Floats, values: Floats, expected: Floats, hour: Floats | None, per_hour: float
) -> int:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = values / expected
    if _is_a_factor(ratio[np.isfinite(ratio)]):
        return SCALE
    if max(how_many(z > 0), how_many(z < 0)) < ONE_SIDED * z.size:
        return UNUSUAL
    at_night = hour is not None and how_many((hour >= 21) | (hour < 6)) > ONE_SIDED * hour.size
    if at_night and z.mean() > 0 and values.size >= NIGHT_HOURS * per_hour:
        return NIGHT
    if values.size < LONG_HOURS * per_hour:
        return UNUSUAL
    size = np.abs(values - expected)
    third = max(1, size.size // 3)
    first, last = middle(size[:third]), middle(size[-third:])
    return DRIFT if last > GROWS * first else SHIFT


def _is_a_factor(ratios: Floats) -> bool:
    """Whether most readings are off by the same power of ten."""
    positive = ratios[ratios > 0]
    if positive.size < max(3, 0.7 * ratios.size):
        return False
    logs = np.log10(positive)
    typical = middle(logs)
    return min(abs(tens - typical) for tens in TENS) < 0.2 and middle(np.abs(logs - typical)) < 0.2
