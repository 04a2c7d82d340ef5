"""The stretches a run of deviations adds up to and what is sustained in it, against a search of all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from anomalies.detectors import DETECTORS
from anomalies.detectors.base import Problem
from anomalies.detectors.stretches import best_stretches, stretches, sustained

Floats = NDArray[np.float64]

eighths = st.lists(st.integers(-40, 40), min_size=1, max_size=60).map(lambda part: np.array(part) / 8.0)


def searched(gains: Floats) -> Floats:
    """Sum of the best stretch of all, then of what is left of it and of what is right of it, and so on."""
    answer = np.zeros(gains.size)
    sums = np.concatenate(([0.0], np.cumsum(gains)))
    spans = [
        (sums[end] - sums[begin], end - begin, begin)
        for begin in range(gains.size)
        for end in range(begin + 1, gains.size + 1)
    ]
    total, length, begin = max(spans, key=lambda span: (span[0], -span[1], -span[2]))
    if total <= 0:
        return answer
    end = begin + length
    answer[begin:end] = total
    if begin > 0:
        answer[:begin] = searched(gains[:begin])
    if end < gains.size:
        answer[end:] = searched(gains[end:])
    return answer


@given(eighths)
def test_stretches_are_the_best_there_are(gains: Floats) -> None:
    total, mean = best_stretches(gains, deepest=np.inf)

    np.testing.assert_array_equal(total, searched(gains))
    assert ((total > 0) == (mean > 0)).all()


@given(eighths, st.integers(1, 64).map(lambda deepest: deepest / 8.0))
def test_no_stretch_holds_a_deeper_fall(gains: Floats, deepest: float) -> None:
    total, mean = best_stretches(gains, deepest)

    edges = np.flatnonzero(np.diff(total, prepend=0.0, append=0.0) != 0)
    for begin, end in pairwise(edges.tolist()):
        if total[begin] > 0:
            sums = np.cumsum(gains[begin:end])
            assert (np.maximum.accumulate(sums) - sums).max() <= deepest
            assert sums[-1] == pytest.approx(mean[begin] * (end - begin))


@given(st.lists(eighths, min_size=2, max_size=6))
def test_what_lies_beyond_a_deep_fall_changes_nothing(parts: list[Floats]) -> None:
    gap = np.array([-1000.0])

    whole = np.concatenate([np.concatenate((part, gap)) for part in parts])

    apart = np.concatenate([np.append(best_stretches(part)[0], 0.0) for part in parts])
    np.testing.assert_allclose(best_stretches(whole)[0], apart)


def test_long_noise_is_joined_as_its_parts_are() -> None:
    """As many runs as the meter of a year has, so that most are told apart without being joined one by one."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(-0.4, 1.0, 50) for _ in range(200)]

    whole = np.concatenate([np.append(part, -100.0) for part in parts])

    apart = np.concatenate([np.append(searched(part), 0.0) for part in parts])
    np.testing.assert_allclose(best_stretches(whole, deepest=50.0)[0], apart, atol=1e-6)


@pytest.mark.parametrize("decimals", [15, 1])  # rounded, sums are equal but for rounding
def test_deviations_down_are_told_as_those_up(decimals: int) -> None:
    z = np.random.default_rng(1).normal(0, 1, 500)
    z[100:120] += 3.0
    z = np.round(z, decimals)
    known = np.ones(z.size, dtype=np.bool_)

    np.testing.assert_array_equal(stretches(-z, known, 0.5), -stretches(z, known, 0.5))


@given(eighths, st.integers(2, 9))
def test_what_is_sustained_is_the_highest_floor_of_any_stretch_so_long(z: Floats, cells: int) -> None:
    kept = sustained(z, np.ones(z.size, dtype=np.bool_), cells)

    floors = np.zeros((2, z.size))
    for begin in range(z.size - cells + 1):
        part = slice(begin, begin + cells)
        floors[:, part] = np.maximum(floors[:, part], [[z[part].min()], [-z[part].max()]])
    np.testing.assert_array_equal(kept, floors[0] - floors[1])


def test_a_gap_ends_what_is_sustained() -> None:
    known = np.arange(9) != 4

    kept = sustained(np.full(9, 2.0), known, 4)

    np.testing.assert_array_equal(kept, np.where(known, 2.0, 0.0))
    assert not sustained(np.full(9, 2.0), known, 5).any()


def test_nothing_is_a_stretch_of_nothing() -> None:
    total, mean = best_stretches(np.empty(0))

    assert total.size == mean.size == 0


@pytest.mark.parametrize("step_us", [1, 100])
def test_readings_a_microsecond_apart_are_judged_in_no_more_memory_than_others(step_us: int) -> None:
    """Four hours of them would be fourteen thousand million."""
    values = np.random.default_rng(1).normal(50.0, 1.0, 200)
    values[100] = 90.0

    scores = DETECTORS["z_score"].score(Problem(step_us * np.arange(200), values))

    assert np.argmax(scores.score) == 100
