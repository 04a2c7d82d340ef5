from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.errors import ReadingsTooFarApart, SeriesTooShort
from forecasting.forecasters.base import Calendar, Series
from forecasting.horizon import (
    covariates_on_grid,
    grid_times,
    has_holidays,
    is_holiday,
    regular_series,
    target_times,
)


def us(*times: str) -> np.ndarray:
    return np.array(times, dtype="datetime64[us]").astype(np.int64)


def hours(*values: float, start: str = "2025-06-02T00:00") -> tuple[np.ndarray, np.ndarray]:
    return us(start) + np.arange(len(values)) * 3_600_000_000, np.array(values)


def test_tidy_readings_stay_as_they_are() -> None:
    times, values = hours(1.0, 2.0, 3.0)

    series, warnings = regular_series(times, values, 60)

    assert series.start == np.datetime64("2025-06-02T00:00")
    np.testing.assert_array_equal(series.values, [1.0, 2.0, 3.0])
    assert warnings == ()


def test_readings_come_in_any_order_and_twice() -> None:
    times = us("2025-06-02T02:00", "2025-06-02T00:00", "2025-06-02T01:00", "2025-06-02T02:00")

    series, warnings = regular_series(times, np.array([3.0, 1.0, 2.0, 5.0]), 60)

    np.testing.assert_array_equal(series.values, [1.0, 2.0, 4.0])  # (3 + 5) / 2
    assert "Readings that repeat a time: 1;" in warnings[0]


def test_a_gap_is_nan_and_is_told() -> None:
    times, values = hours(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    there = np.array([0, 1, 4, 5])

    series, warnings = regular_series(times[there], values[there], 60)

    np.testing.assert_array_equal(series.values, [1.0, 2.0, np.nan, np.nan, 5.0, 6.0])
    assert "2 of 6 intervals" in warnings[0]
    assert "longest gap is 2 h" in warnings[0]


def test_finer_readings_are_averaged_into_whole_intervals_that_end_with_the_last() -> None:
    times = us("2025-06-02T00:00") + np.arange(6) * 900_000_000  # quarter-hours, the last at 01:15

    series, warnings = regular_series(times, np.array([9.0, 9.0, 1.0, 2.0, 3.0, 6.0]), 60)

    assert series.start == np.datetime64("2025-06-01T23:30")  # 23:30-00:30 and 00:30-01:30
    np.testing.assert_array_equal(series.values, [9.0, 3.0])
    assert "every 15 minutes and were averaged over 60" in warnings[0]
    np.testing.assert_array_equal(target_times(series, 1), np.array(["2025-06-02T01:30"], "datetime64[s]"))


def test_coarser_readings_are_interpolated_with_a_warning() -> None:
    times, values = hours(0.0, 4.0, 0.0)

    series, warnings = regular_series(times, values, 15)

    np.testing.assert_array_equal(series.values, [0.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    assert "interpolated. Errors and bands were measured on those, not on readings." in warnings[0]


def test_readings_days_apart_are_refused_rather_than_joined_by_lines() -> None:
    times = us("2025-01-01", "2025-02-01", "2025-03-01", "2025-04-01")

    with pytest.raises(ReadingsTooFarApart, match="Readings come every 31 days"):
        regular_series(times, np.array([1.0, 2.0, 3.0, 4.0]), 60)


def test_one_stray_time_far_ahead_leaves_too_little_to_forecast_from() -> None:
    times, values = hours(*np.arange(200, dtype=np.float64))

    with pytest.raises(SeriesTooShort, match="the series has 1\\."):
        regular_series(np.append(times, us("2199-01-01")), np.append(values, 100.0), 60)


def test_a_gap_between_coarser_readings_stays_a_gap() -> None:
    times, values = hours(*np.arange(8, dtype=np.float64))

    series, _ = regular_series(np.delete(times, [3, 4]), np.delete(values, [3, 4]), 30)

    assert np.isnan(series.values[5:10]).all()  # between 02:00 and 05:00
    assert np.isfinite(series.values[[4, 10]]).all()


def test_readings_keep_their_own_phase() -> None:
    times, values = hours(1.0, 2.0, start="2025-06-02T00:07")

    series, _ = regular_series(times, values, 60)

    assert series.start == np.datetime64("2025-06-02T00:07")


def test_readings_a_little_off_fall_to_the_nearest_point() -> None:
    times, values = hours(*np.arange(24, dtype=np.float64))
    late = times + np.random.default_rng(0).integers(-600, 600, 24) * 1_000_000
    late[-1] = times[-1]

    series, warnings = regular_series(late, values, 60)

    np.testing.assert_array_equal(series.values, values)
    assert warnings == ()


def test_daily_readings_at_local_midnight_are_a_day_apart_over_a_dst_change() -> None:
    local = np.arange("2025-03-25", "2025-04-05", dtype="datetime64[D]").astype("datetime64[us]")
    offset = np.where(local < np.datetime64("2025-03-30T02:00"), 1, 2) * np.timedelta64(1, "h")

    series, _ = regular_series((local - offset).astype(np.int64), np.arange(11, dtype=np.float64), 1440)

    np.testing.assert_array_equal(series.values, np.arange(11, dtype=np.float64))


@pytest.mark.parametrize(
    ("times", "values", "have"),
    [
        (us(), np.array([]), 0),
        (us("2025-06-02T00:00"), np.array([1.0]), 1),
        (us("2025-06-02T00:00", "2025-06-02T00:00"), np.array([1.0, 2.0]), 1),
        (us("2025-06-02T00:00", "2025-06-02T01:00"), np.array([1.0, np.nan]), 1),
    ],
)
def test_fewer_than_two_readings_are_refused_with_the_numbers(
    times: np.ndarray, values: np.ndarray, have: int
) -> None:
    with pytest.raises(SeriesTooShort, match=f"at least 2 usable points; the series has {have}\\.") as error:
        regular_series(times, values, 60)

    assert error.value.facts == {"have": have, "need": 2}
    assert error.value.status == 422


def test_only_the_end_of_an_endless_history_is_used() -> None:
    times = np.concatenate((us("1990-01-01"), hours(*np.arange(200, dtype=np.float64))[0]))

    series, warnings = regular_series(times, np.arange(201, dtype=np.float64), 15)

    assert series.values.size <= 131_072
    assert any("Only the last" in warning for warning in warnings)


@given(st.permutations(range(12)), st.sets(st.integers(0, 11), min_size=2))
def test_order_never_matters_and_the_ends_are_readings(order: list[int], kept: set[int]) -> None:
    times, values = hours(*np.arange(12, dtype=np.float64))
    chosen = [index for index in order if index in kept]

    one, _ = regular_series(times[chosen], values[chosen], 60)
    two, _ = regular_series(times[sorted(kept)], values[sorted(kept)], 60)

    np.testing.assert_array_equal(one.values, two.values)
    assert np.isfinite(one.values[[0, -1]]).all()


def days(*dates: str) -> np.ndarray:
    return np.array(dates, dtype="datetime64[D]").astype(np.int64)


def test_holidays_are_those_of_the_country() -> None:
    first_of_may = days("2025-04-30", "2025-05-01")

    assert is_holiday(first_of_may, Calendar("Europe/Berlin", "DE")).tolist() == [False, True]
    assert is_holiday(first_of_may, Calendar("Europe/Berlin")).tolist() == [False, False]
    assert is_holiday(days("2024-12-31", "2025-01-01"), Calendar("UTC", "DE")).tolist() == [False, True]


def test_a_subdivision_has_holidays_of_its_own() -> None:
    corpus_christi = days("2025-06-19")

    assert is_holiday(corpus_christi, Calendar("Europe/Berlin", "DE", "BY")).all()
    assert not is_holiday(corpus_christi, Calendar("Europe/Berlin", "DE", "BE")).any()
    assert not has_holidays(Calendar("UTC", "XX"))


def test_covariates_lie_on_the_grid_and_on_the_target_times() -> None:
    series = Series(np.datetime64("2025-06-02T00:00", "us"), 30, np.zeros(3))
    temperature = hours(10.0, 12.0, 16.0)  # 00:00, 01:00, 02:00

    both = covariates_on_grid({"temperature": temperature}, series, steps=4)

    assert both is not None
    assert both.names == ("temperature",)
    np.testing.assert_array_equal(both.past[:, 0], [10.0, 11.0, 12.0])
    np.testing.assert_array_equal(both.future[:, 0], [14.0, 16.0, np.nan, np.nan])  # not known after 02:00
    assert covariates_on_grid({}, series, steps=4) is None


def test_grid_times_go_on_past_the_last_reading() -> None:
    series = Series(np.datetime64("2025-06-02T00:00", "us"), 15, np.zeros(2))

    np.testing.assert_array_equal(
        grid_times(series, count=3),
        np.array(["2025-06-02T00:00", "2025-06-02T00:15", "2025-06-02T00:30"], "datetime64[s]"),
    )
