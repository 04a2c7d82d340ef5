from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.grid import distinct, mean_per_cell, usual_distance, utc_offsets, weekdays

NAN = float("nan")
LAST = 7_258_000_000  # in 2199, as late as times are taken


@given(
    st.integers(0, LAST - 400 * 86_400),
    st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata"]
    ),
)
def test_offsets_are_those_of_the_time_zone_database(second: int, name: str) -> None:
    seconds = second + np.arange(0, 400 * 86_400, 86_400 * 3 + 1234)

    offsets = utc_offsets(seconds, name)

    for at, offset in zip(seconds.tolist(), offsets.tolist(), strict=True):
        expected = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(name)).utcoffset()
        assert expected is not None
        assert offset == expected.total_seconds()


def test_the_clocks_still_change_after_2037() -> None:
    july = int(datetime(2050, 7, 1, tzinfo=UTC).timestamp())
    assert utc_offsets(np.array([july]), "Europe/Berlin").tolist() == [7200]


def test_offsets_need_no_order_and_hold_at_both_ends_of_the_calendar() -> None:
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1, 9999))
    seconds = np.array([1_750_000_000, 1_735_000_000])  # June, December

    assert utc_offsets(seconds, "Europe/Berlin").tolist() == [7200, 3600]
    assert utc_offsets(np.array([first]), "Europe/Berlin").tolist() == [3208]  # local mean time
    assert utc_offsets(np.array([last + 364 * 86_400]), "Europe/Berlin").tolist() == [3600]
    assert utc_offsets(seconds[:0], "Europe/Berlin").size == 0


def test_repeated_times_are_averaged_and_a_time_without_a_value_stays() -> None:
    times, values = distinct(np.array([5, 1, 5, 3, 3]), np.array([2.0, NAN, 4.0, NAN, 7.0]))

    assert times.tolist() == [1, 3, 5]
    np.testing.assert_array_equal(values, [NAN, 7.0, 3.0])


def test_cells_before_the_first_are_left_out() -> None:
    cells, values = np.array([-1, 0, 0, 2]), np.array([9.0, 1.0, 2.0, NAN])

    np.testing.assert_array_equal(mean_per_cell(cells, values, 4), [1.5, NAN, NAN, NAN])


def test_one_hole_does_not_change_the_usual_distance() -> None:
    assert usual_distance(np.array([0, 10, 20, 500, 510])) == 10.0


def test_1970_began_on_a_thursday() -> None:
    assert weekdays(np.array([-1, 0, 4])).tolist() == [2, 3, 0]
