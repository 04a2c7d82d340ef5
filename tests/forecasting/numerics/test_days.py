from __future__ import annotations

import numpy as np
import pytest

from features.grid import utc_offsets
from forecasting.forecasters.base import Calendar, Covariates, Problem, Series
from forecasting.forecasters.days import cut_into_days, fill_gaps, keeps_standard_time


def problem(
    values: np.ndarray, start: str, steps: int = 24, timezone: str = "UTC", minutes: int = 60
) -> Problem:
    return Problem(Series(np.datetime64(start, "us"), minutes, values), steps, Calendar(timezone))


def test_days_end_with_the_last_reading() -> None:
    days = cut_into_days(
        problem(np.arange(1, 54, dtype=np.float64), "2025-06-02T00:00")
    )  # 53 hours, the last at 04:00

    assert days.count == 2
    np.testing.assert_array_equal(days.values[-1] * days.unit, np.arange(30, 54, dtype=np.float64))
    assert days.hour[0] == 5.0
    assert days.positions.tolist() == list(range(24))
    assert days.weekday[-1, 0] == 2  # 05:00 on Wednesday 4 June
    assert days.weekday[-1, -1] == 3


def test_weekdays_and_holidays_are_those_of_the_sites_own_date() -> None:
    readings = Series(np.datetime64("2025-04-28T21:00", "us"), 60, np.ones(48))
    days = cut_into_days(Problem(readings, 24, Calendar("Europe/Berlin", "DE")))

    # the last reading is at 22:00 on Wednesday 30 April in Berlin; May Day begins two hours before it does in UTC
    assert days.weekday[-1].tolist() == [2] + [3] * 23
    assert days.holiday[-1].tolist() == [0.0] + [1.0] * 23


def test_the_hour_spring_skips_is_bridged_and_the_one_autumn_repeats_is_averaged() -> None:
    spring = cut_into_days(
        problem(np.arange(1, 48, dtype=np.float64), "2025-03-29T23:00", timezone="Europe/Berlin")
    )
    autumn = cut_into_days(
        problem(np.arange(1, 50, dtype=np.float64), "2025-10-25T22:00", timezone="Europe/Berlin")
    )

    # 47 readings fill 48 hours of the wall; 02:00 lies between readings 2 and 3
    assert (spring.wall * spring.unit)[:4].tolist() == [1.0, 2.0, 2.5, 3.0]
    assert spring.wall_seen[:4].tolist() == [True, True, False, True]
    # 49 readings fill 48 hours; 02:00 is the mean of readings 3 and 4
    assert (autumn.wall * autumn.unit)[:4].tolist() == [1.0, 2.0, 3.5, 5.0]


def test_a_forecast_over_a_dst_change_reads_the_right_hours_of_the_wall() -> None:
    asked = problem(
        np.ones(72), "2025-03-26T23:00", timezone="Europe/Berlin"
    )  # the last at 23:00 on the 29th

    days = cut_into_days(asked)

    assert days.positions[:3].tolist() == [0.0, 1.0, 3.0]  # 00:00, 01:00, then 03:00: there is no 02:00
    assert days.ahead == 2


def test_a_long_gap_takes_last_weeks_shape_and_meets_the_readings_on_both_sides() -> None:
    hour = np.arange(24 * 21)
    shape = np.sin(2 * np.pi * hour / 24)
    values = shape + np.where(hour >= 24 * 14, 5.0, 0.0)  # a level higher in the third week
    holed = values.copy()
    holed[24 * 15 : 24 * 18] = np.nan

    filled = fill_gaps(holed, per_day=24)

    np.testing.assert_allclose(filled, values, atol=1e-9)


def test_a_gap_longer_than_a_week_repeats_the_week_before() -> None:
    week = np.random.default_rng(0).normal(0, 1, 168)
    holed = np.tile(week, 4)
    holed[168 + 10 : 168 * 3 + 10] = np.nan

    np.testing.assert_allclose(fill_gaps(holed, per_day=24), np.tile(week, 4))


def test_short_gaps_lie_on_a_line_and_ends_repeat() -> None:
    holed = np.array([np.nan, 2.0, np.nan, np.nan, 8.0])

    assert fill_gaps(holed, per_day=24).tolist() == [2.0, 2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize(("spike", "kept"), [(1000.0, False), (140.0, True)])
def test_only_wild_values_are_cut_back(spike: float, kept: bool) -> None:
    values = 50 + 40 * np.sin(2 * np.pi * np.arange(24 * 30) / 24)
    values[400] = spike

    days = cut_into_days(problem(values, "2025-06-02T00:00"))

    assert bool(days.wall[400] * days.unit == spike) is kept
    assert bool(days.warnings) is not kept


def test_a_new_level_at_the_end_is_no_outlier() -> None:
    values = 50 + np.sin(np.arange(24 * 100))
    values[-12:] = 500

    days = cut_into_days(problem(values, "2025-06-02T00:00"))

    assert days.wall[-1] * days.unit == 500


def test_an_interval_that_does_not_divide_the_day_is_put_on_one_that_does() -> None:
    days = cut_into_days(
        problem(np.arange(0, 200, dtype=np.float64), "2025-06-02T00:00", steps=3, minutes=50)
    )

    assert days.slot_minutes == 48
    # a ramp stays a ramp: 48 minutes are 0.96 steps of 50
    np.testing.assert_allclose(np.diff(days.wall * days.unit), 0.96, atol=1e-9)
    np.testing.assert_allclose(days.positions, np.array([50, 100, 150]) / 48 - 1)


def test_covariates_meet_the_days_and_the_unknown_end_repeats_a_day() -> None:
    past = np.arange(48, dtype=np.float64)[:, None]
    future = np.concatenate((np.arange(48, 72, dtype=np.float64), np.full(24, np.nan)))[:, None]
    asked = problem(np.ones(48), "2025-06-02T00:00", steps=48)

    days = cut_into_days(
        Problem(asked.series, 48, asked.calendar, Covariates(("temperature",), past, future))
    )

    assert days.covariate_names == ("temperature",)
    np.testing.assert_array_equal(days.covariates[0, :3].ravel(), np.arange(72, dtype=np.float64))
    np.testing.assert_array_equal(days.covariates[0, 3], np.arange(48, 72, dtype=np.float64))
    assert "not known for every step" in days.warnings[0]


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "a ahead"), (2, "a and b ahead"), (3, "a, b and c ahead"), (7, "a, b and 5 more ahead")],
)
def test_all_covariates_unknown_ahead_share_one_warning(count: int, said: str) -> None:
    asked = problem(np.ones(48), "2025-06-02T00:00", steps=24)
    past = np.arange(48.0)[:, None] + np.arange(count)
    told = Covariates(tuple("abcdefg"[:count]), past, np.full((24, count), np.nan))

    days = cut_into_days(Problem(asked.series, 24, asked.calendar, told))

    (warning,) = days.warnings
    assert warning.startswith(f"The values of {said} are not known")
    assert warning.endswith("Store a weather forecast (POST /ai/features/weather) or send features.")


def switched_on_at_night(start: str, *, by_the_wall: bool) -> tuple[np.ndarray, np.ndarray]:
    """Fifty days in London of a heater that runs from midnight to six, by one clock or the other."""
    times = np.datetime64(start, "s") + np.arange(50 * 24) * np.timedelta64(3600, "s")
    offsets = utc_offsets(times.astype(np.int64), "Europe/London")
    seconds = times.astype(np.int64) + (offsets if by_the_wall else 0)
    noise = np.random.default_rng(2).normal(0, 0.2, times.size)
    return np.where(seconds // 3600 % 24 < 6, 3.0, 0.5) + noise, offsets


@pytest.mark.parametrize("start", ["2025-03-05", "2025-10-05"], ids=["spring", "autumn"])
@pytest.mark.parametrize("by_the_wall", [True, False])
def test_the_history_tells_whether_the_site_follows_the_change_of_the_clocks(
    start: str, by_the_wall: bool
) -> None:
    values, offsets = switched_on_at_night(start, by_the_wall=by_the_wall)

    assert keeps_standard_time(values, offsets, 60) is not by_the_wall


def test_a_time_switch_is_forecast_by_standard_time_after_the_change() -> None:
    values, _ = switched_on_at_night("2025-10-05", by_the_wall=False)
    days = cut_into_days(
        Problem(Series(np.datetime64("2025-10-05", "us"), 60, values), 24, Calendar("Europe/London"))
    )

    # Midnight to six by standard time is the same stretch of each day, before the change as after it.
    assert days.values[:, :6].min() > days.values[:, 6:].max()


def test_without_a_change_in_the_history_the_wall_keeps_the_days() -> None:
    values, offsets = switched_on_at_night("2025-06-01", by_the_wall=False)

    assert not keeps_standard_time(values, offsets, 60)
