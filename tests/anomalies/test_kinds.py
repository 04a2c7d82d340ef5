"""What an episode is called: by what explains all of it, and nothing where nothing does."""

from __future__ import annotations

import numpy as np
import pytest

from anomalies.detectors.base import Floats, Ints
from anomalies.detectors.kinds import KINDS, kinds_of

HOURS = np.arange(96)
EXPECTED = 30.0 + 20.0 * np.sin((HOURS - 9) / 24 * 2 * np.pi)  # most at three in the afternoon
SPREAD = np.full(HOURS.size, 3.0)
NOISE = np.random.default_rng(7).normal(0.0, 2.0, HOURS.size)


def called(
    values: Floats, where: slice | Ints, expected: Floats = EXPECTED, spread: Floats = SPREAD
) -> set[str]:
    """What the cells of `where` are called, all of which are scored."""
    z = (values - expected) / spread
    silent = np.zeros(values.size)
    score = silent.copy()
    score[where] = 5.0
    kinds = kinds_of(
        z=z,
        values=values,
        expected=expected,
        spread=spread,
        frozen=silent,
        missing=silent,
        score=score,
        hour=(HOURS % 24).astype(np.float64),
        per_hour=1.0,
    )
    assert {KINDS[kind] for kind in np.delete(kinds, where)} == {"unusual"}  # and is told of nobody
    return {KINDS[kind] for kind in kinds[where]}


def damaged(where: slice, damage: Floats | float, *, factor: float = 1.0) -> Floats:
    values = EXPECTED + NOISE
    values[where] = values[where] * factor + damage
    return values


@pytest.mark.parametrize("factor", [10.0, 1000.0, 0.1, 0.001])
def test_a_wrong_unit_is_one_by_which_divided_all_is_as_usual(factor: float) -> None:
    where = slice(36, 50)

    assert called(damaged(where, 0.0, factor=factor), where) == {"scale_error"}


def test_a_thousand_times_what_is_mostly_nothing_is_a_wrong_unit() -> None:
    """A gas meter that is silent but for six hours: no ratio of one reading is like another's."""
    expected, where = np.where((HOURS % 24 >= 6) & (HOURS % 24 < 12), 3.0, 0.02), slice(30, 54)
    values = np.random.default_rng(5).exponential(expected)
    values[where] *= 1000.0

    assert called(values, where, expected, np.full(HOURS.size, 0.5)) == {"scale_error"}


def test_what_mostly_rests_and_now_and_then_works_is_in_no_wrong_unit() -> None:
    """A charger: 4 W, and 11 kW for four hours on two evenings."""
    expected, first, second = np.full(HOURS.size, 0.004), slice(18, 22), slice(66, 70)
    values = expected.copy()
    values[first], values[second] = 11.0, 11.1

    assert called(values, np.r_[first, second], expected, np.full(HOURS.size, 0.001)) == {"unusual"}


def test_what_is_far_off_from_about_nothing_is_in_no_wrong_unit() -> None:
    """Reactive power, which is positive as often as negative."""
    where = slice(40, 52)
    values = NOISE.copy()
    values[where] += 30.0

    assert called(values, where, np.zeros(HOURS.size)) == {"level_shift"}


def test_a_house_that_was_left_is_off_by_ever_more_in_the_evening_and_does_not_drift() -> None:
    where = slice(28, 40)  # from four in the morning, when least is expected
    values = EXPECTED + NOISE
    values[where] = 1.0

    assert "drift" not in called(values, where)


def test_a_shift_to_ten_times_the_usual_is_a_shift() -> None:
    expected, where = np.full(HOURS.size, 5.0), slice(30, 50)
    values = expected + NOISE / 4
    values[where] += 45.0

    assert called(values, where, expected, np.full(HOURS.size, 0.75)) == {"level_shift"}


def test_a_few_peaks_of_about_ten_times_the_usual_are_no_wrong_unit() -> None:
    """An evening in a home: 2.1, 4.4, 1.9, 3.6 kW where 0.3 are usual."""
    expected, where = np.full(HOURS.size, 0.3), slice(42, 46)
    values = expected.copy()
    values[where] = [2.1, 4.4, 1.9, 3.6]

    assert called(values, where, expected, np.full(HOURS.size, 0.2)) == {"unusual"}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_grows_in_a_line_is_a_drift_and_what_stays_is_a_shift(sign: float) -> None:
    where = slice(30, 66)
    ramp = np.linspace(10.0, 80.0, 36)

    assert called(damaged(where, sign * ramp), where) == {"drift"}
    assert called(damaged(where, sign * ramp[::-1]), where) != {"drift"}
    assert called(damaged(where, sign * 40.0), where) == {"level_shift"}


def test_a_long_shift_that_is_plainest_at_night_is_no_night_load() -> None:
    where = slice(36, 60)
    spread = np.where((HOURS % 24 >= 21) | (HOURS % 24 < 6), 1.0, 12.0)

    assert called(damaged(where, 40.0), where, spread=spread) == {"level_shift"}


def test_a_load_at_night_is_one_and_a_drop_at_night_is_not() -> None:
    night = slice(45, 54)  # 21:00 to 06:00

    assert called(damaged(night, 25.0), night) == {"night_load"}
    assert called(damaged(night, -25.0), night) == {"level_shift"}


def test_what_goes_both_ways_is_unusual() -> None:
    where = slice(36, 48)
    both = np.tile([40.0, -40.0], 6)

    assert called(damaged(where, both), where) == {"unusual"}


@pytest.mark.filterwarnings("error")
def test_the_largest_number_is_named_where_nothing_is_expected_too() -> None:
    where = slice(36, 48)

    for usual in (0.0, -5.0):
        expected = np.full(HOURS.size, usual)
        values = expected.copy()
        values[where] = 1e15
        assert called(values, where, expected) == {"scale_error"}
