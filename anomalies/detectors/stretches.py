"""Stretches that are off together: what a run of deviations adds up to, where it ends, and what all of it keeps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from anomalies.detectors.base import Flags, Floats, Ints

LIMIT = 4.0  # spreads; what is further off counts as this much, so that a spike is no stretch
DEEPEST = 4.0  # how far the sum may fall within a stretch; what lies beyond is another one
QUIETEST = 0.1  # a cell that is less off than its stretch is told less loudly, down to this share


def stretches(z: Floats, known: Flags, excused: float) -> Floats:
    """How much the deviations of the stretch around each cell add up to, signed, shape (n,); 0 in none.

    Args:
        z: deviation in spreads, shape (n,). known: where something was read; a gap speaks against a stretch.
        excused: spreads taken off each deviation before it counts; a small one finds long, slight stretches,
            a large one short ones.
    """
    limited = np.where(known, np.minimum(np.maximum(z, -LIMIT), LIMIT), 0.0)
    sides = []
    for side in (limited, -limited):
        total, mean = best_stretches(side - excused)
        own = side / np.maximum(mean + excused, 1e-9)
        sides.append(total * np.minimum(np.maximum(own, QUIETEST), 1.0))
    up, down = sides
    return np.asarray(np.where(up >= down, up, -down))


def sustained(z: Floats, known: Flags, cells: int) -> Floats:
    """The deviation that `cells` cells in a row around each one all reach, signed, shape (n,); 0 where none is.

    An opening, as of images (Serra, 1982): it takes away every peak shorter than that. What a home does for an hour
    it does not do all night, so that a load left on at night stands out here and in no sum.

    Args:
        z: deviation in spreads, shape (n,). known: where something was read; a gap ends what is kept.
        cells: at least 2; nothing lasts longer than the series.
    """
    if cells > z.size:  # and the filters would take memory for all of them
        return np.zeros(z.size)
    sides = []
    for sign in (1.0, -1.0):
        side = np.where(known, np.maximum(sign * z, 0.0), 0.0)
        least = minimum_filter1d(side, cells, mode="constant")
        sides.append(maximum_filter1d(least, cells, mode="constant", origin=0 if cells % 2 else -1))
    up, down = sides
    return np.asarray(np.where(up >= down, up, -down))


def best_stretches(gains: Floats, deepest: float = DEEPEST) -> tuple[Floats, Floats]:
    """Sum and mean of the gains of the maximal stretch each cell belongs to, shape (n,); 0 in none.

    All maximal scoring subsequences (Ruzzo and Tompa, 1999, ISMB 7:234) in linear time, but for one thing:
    across a stretch in which the sum falls by more than `deepest`, two are not joined.

    Args:
        gains: shape (n,), positive where a cell speaks for a stretch, negative where against; no NaN.

    >>> best_stretches(np.array([1.0, -2.0, 3.0, -1.0, 2.0, -5.0]))[0]
    array([1., 0., 4., 4., 4., 0.])
    """
    edges = np.concatenate(([0], np.flatnonzero(np.diff(gains > 0)) + 1, [gains.size]))
    sums = np.concatenate(([0.0], np.cumsum(gains)))
    rising = np.flatnonzero(gains[edges[:-1]] > 0) if gains.size else np.empty(0, dtype=np.int64)
    begins, ends = edges[rising], edges[rising + 1]
    left, right = sums[begins], sums[ends]
    joins = _may_join(left, right, deepest)
    alone = ~(joins[:-1] | joins[1:])
    others = np.flatnonzero(~alone)
    found = _joined(
        zip(
            *(column[others].tolist() for column in (begins, ends, left, right, joins[:-1])),
            strict=True,
        ),
        deepest,
    )
    total, mean = np.zeros(gains.size), np.zeros(gains.size)
    for first, end, gain in ((begins[alone], ends[alone], (right - left)[alone]), found):
        length = end - first
        inside = np.arange(length.sum()) + np.repeat(first - (np.cumsum(length) - length), length)
        total[inside] = np.repeat(gain, length)
        mean[inside] = np.repeat(gain / length, length)
    return total, mean


def _may_join(left: Floats, right: Floats, deepest: float) -> Flags:
    """Whether a run of gains may share a stretch with the run before it; shape (runs + 1,), False at both ends.

    Within a maximal stretch every beginning adds up to more than nothing, and so does every end. Of noise this
    leaves few runs to be joined one by one.

    Args:
        left, right: sum of all gains before and after each run.
    """
    may = np.zeros(left.size + 1, dtype=np.bool_)
    may[1:-1] = (
        (right[:-1] - left[1:] <= deepest)
        & (left[1:] > np.minimum.accumulate(left)[:-1])
        & (right[:-1] < np.maximum.accumulate(right[::-1])[::-1][1:])
    )
    return may


def _joined(runs: Iterable[tuple[int, int, float, float, bool]], deepest: float) -> tuple[Ints, Ints, Floats]:
    """Begin, end and gain of each stretch, from the begin, end, sums before and after, and `may join` of runs."""
    found: list[tuple[int, int, float, float, int]] = []  # begin, end, sums before and after, nearest lower
    for first, end, before, right, joins in runs:
        begin, left, lower = first, before, len(found) - 1 if joins else -1
        while True:
            while lower >= 0 and found[lower][2] >= left:
                lower = found[lower][4]
            if lower < 0 or found[lower][3] >= right or found[lower][3] - left > deepest:
                break
            begin, _, left, _, further = found[lower]
            del found[lower:]
            lower = further
        found.append((begin, end, left, right, lower))
    begins = np.array([each[0] for each in found], dtype=np.int64)
    ends = np.array([each[1] for each in found], dtype=np.int64)
    return begins, ends, np.array([each[3] - each[2] for each in found])
