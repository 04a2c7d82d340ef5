"""Faults the benchmark injects: none that the meter reads anyway."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.ordinary import is_ordinary

DAY = 24


def heating() -> NDArray[np.float64]:
    """A hundred days of heating at some load from 6 to 22 and none at night; on every tenth day none at all."""
    hour = np.arange(100 * DAY) % DAY
    load = np.where((hour >= 6) & (hour < 22), np.random.default_rng(0).uniform(2.0, 4.0, hour.size), 0.0)
    load[(np.arange(load.size) // DAY) % 10 == 0] = 0.0
    return np.asarray(load)


@pytest.mark.parametrize(
    ("hours", "readings", "expected"),
    [
        pytest.param(range(10, 16), 0.0, True, id="no heat, as on every tenth day"),
        pytest.param(range(10, 16), np.nan, False, id="missing"),
        pytest.param(range(10, 16), 2.5, False, id="frozen"),
        pytest.param(range(10, 11), 3.0, True, id="one usual reading"),
        pytest.param(range(10, 11), 9.0, False, id="a spike"),
        pytest.param(range(1, 4), 3.0, False, id="heat at night"),
    ],
)
def test_ordinary_is_what_several_days_around_show(hours: range, readings: float, *, expected: bool) -> None:
    at = 51 * DAY + np.array(hours)

    assert is_ordinary(heating(), at, np.full(at.size, readings), DAY) is expected
