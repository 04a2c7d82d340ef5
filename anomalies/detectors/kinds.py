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
SPIKE_POINTS = 2
ONE_SIDED = 0.9
AT_NIGHT, NIGHT_HOURS = 0.8, 2.0  # share of an episode that lies between nine and six, and how long it is
LONG_HOURS = 6.0
GROSS = 20.0  # times all that is expected or read elsewhere: what is in another unit, whatever its shape
FARTHEST = 3.0  # spreads from what is expected, where what is usual ends
FLAT = 0.05  # of what an episode is off: readings that move less do not drift
LEAST_RATIOS = 6  # fewer readings of ten times the usual are an evening
NEAR_TEN = 0.2  # of a power of ten, in its logarithm: what units and factors are wrong by
ALIKE = 0.15  # how far the logarithms of those factors lie from their median, by the median
USUAL = 1.5  # spreads; what is left over may be this much where readings were divided by that factor,
PLAIN = 1.0  # and is more than this where they were shifted, or that would be what happened
EXPLAINED = 0.35  # of what an episode is off: what a shift or a drift leaves over may be this much
GROWS = 1.5  # times, from its first third to its last: a drift,
SLOWLY = 1.15  # or by less, where a ramp leaves over much less than a shift does:
STRAIGHTER = 0.6  # times as much
NOTHING = 1e-300


def kinds_of(
    *,
    z: Floats,
    values: Floats,
    expected: Floats,
    spread: Floats,
    frozen: Floats,
    missing: Floats,
    score: Floats,
    hour: Floats | None,
    per_hour: float,
) -> Ints:
    """Name each cell's kind by the episode of scored cells it is part of; shape (n,), indices into KINDS.

    Args:
        z: deviation in spreads, and spread: of its side, in the unit of the values. frozen, missing, score:
            sigma-equivalents.
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
    bounds = np.append(begins, score.size)
    edges, all_edges = np.searchsorted(core, bounds), np.searchsorted(at, bounds)
    named = np.full(begins.size, SPIKE, dtype=np.int64)
    elsewhere = _largest_elsewhere(np.where(is_known, np.abs(values), 0.0), bounds)
    usual = float(np.max(np.abs(expected[is_known]) + FARTHEST * spread[is_known], initial=0.0))
    for index in np.flatnonzero(np.diff(edges) > SPIKE_POINTS).tolist():
        mine = core[edges[index] : edges[index + 1]]
        if 0.0 < GROSS * max(usual, elsewhere[index]) < middle(np.abs(values[mine])):
            named[index] = SCALE
            continue
        cells = mine[0] + np.flatnonzero(is_known[mine[0] : mine[-1] + 1])
        hours = None if hour is None else hour[at[all_edges[index] : all_edges[index + 1]]]
        named[index] = _kind_of_episode(values[cells], expected[cells], spread[cells], hours, per_hour)
    kinds[at] = named[episode]
    kinds[is_known & (values == 0) & (z < 0) & (score >= NAMED_FROM)] = DROP
    kinds[(frozen >= NAMED_FROM) & (values != 0)] = STUCK
    kinds[missing >= NAMED_FROM] = MISSING
    return kinds


def _episodes(flags: Flags, bridge: int) -> Ints:
    """First cell of each stretch of flags no further than `bridge` cells apart."""
    at = np.flatnonzero(flags)
    return at[np.diff(at, prepend=-bridge - 1) > bridge]


def _largest_elsewhere(sizes: Floats, bounds: Ints) -> Floats:
    """Of each episode, from its first cell to the next one's, the largest size outside of it, shape (episodes,)."""
    before = np.concatenate(([0.0], np.maximum.accumulate(sizes)))
    after = np.concatenate((np.maximum.accumulate(sizes[::-1])[::-1], [0.0]))
    return np.asarray(np.maximum(before[bounds[:-1]], after[bounds[1:]]))


def _kind_of_episode(
    values: Floats, expected: Floats, spread: Floats, hour: Floats | None, per_hour: float
) -> int:
    """What explains all readings from the first to the last of an episode's core best; UNUSUAL where nothing does.

    hour: of the whole episode, or a shift would be a load at night where only nights have a narrow spread.
    """
    is_long = values.size >= LONG_HOURS * per_hour
    at_night = hour is not None and how_many((hour >= 21) | (hour < 6)) > AT_NIGHT * hour.size
    if values.size < LEAST_RATIOS and not (is_long or at_night):
        return UNUSUAL
    off = values - expected
    third = off.size // 3
    first, last = middle(off[:third]), middle(off[-third:])
    sloped = off - (last - first) / (off.size - third) * np.arange(off.size)
    after_shift, after_ramp = np.abs(off - middle(off)), np.abs(sloped - middle(sloped))
    tens = _power_of_ten(values, expected)
    if tens and _is_a_factor(10.0**tens, values, expected, spread, (after_shift, after_ramp)):
        return SCALE
    above = how_many(off > 0)
    if max(above, off.size - above) < ONE_SIDED * off.size:
        return UNUSUAL
    rough, straight = middle(after_shift), middle(after_ramp)
    size = middle(np.abs(off))
    if min(rough, straight) > EXPLAINED * size:
        return UNUSUAL
    growth = abs(last) / max(abs(first), NOTHING)
    moves = middle(np.abs(values - middle(values))) > FLAT * size
    if is_long and moves and (growth > GROWS or (growth > SLOWLY and straight < STRAIGHTER * rough)):
        return DRIFT
    if at_night and 2 * above > off.size and off.size >= NIGHT_HOURS * per_hour:
        return NIGHT
    return SHIFT if is_long else UNUSUAL


def _power_of_ten(values: Floats, expected: Floats) -> int:
    """Of which most readings are about so many times what was expected; 0 where there is none."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = values / expected
    positive = ratios[(ratios > 0) & np.isfinite(ratios)]
    if positive.size < max(LEAST_RATIOS, 0.7 * ratios.size):
        return 0
    logs = np.log10(positive)
    typical = middle(logs)
    tens = round(typical)
    is_near = abs(typical - tens) <= NEAR_TEN and middle(np.abs(logs - typical)) <= ALIKE
    return tens if is_near else 0


def _is_a_factor(
    factor: float, values: Floats, expected: Floats, spread: Floats, else_left: tuple[Floats, Floats]
) -> bool:
    """Whether divided by it the readings are as usual, while shifted, or on a ramp, they are not.

    What became a fraction of itself says little more than that, so there it need not be more than a shift.
    """
    width = np.where(spread > 0, spread, np.inf)
    with np.errstate(over="ignore"):
        if middle(np.abs(values / factor - expected) / width) >= USUAL:
            return False
        return factor < 1.0 or min(middle(left / width) for left in else_left) > PLAIN
