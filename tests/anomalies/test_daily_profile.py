"""What a metric usually is at each time of the day."""

from __future__ import annotations

import numpy as np
import pytest

from anomalies.daily_profile import DAY_US, HOUR_US, DailyProfile, learned, left_out_residuals


def hourly(days: int, values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """So many days that are each like `values`."""
    times = np.arange(days * 24, dtype=np.int64) * HOUR_US
    return times, np.tile(values, days)[:, None].astype(np.float64)


def test_what_is_usual_by_day_is_far_from_usual_at_night() -> None:
    # 10 at night, 50 by day, one more on each later day of five: medians 12 and 52, interquartile range 2
    times, values = hourly(5, [10.0] * 12 + [50.0] * 12)
    profile = learned(times, values + (times // DAY_US)[:, None])

    told = profile.residuals(np.array([3, 15]) * HOUR_US, np.array([[52.0], [52.0]]))

    assert told[:, 0].tolist() == [20.0, 0.0]  # (52 - 12) / 2


def test_between_two_hours_usual_lies_on_a_straight_line() -> None:
    times, values = hourly(4, [float(hour) for hour in range(24)])
    profile = learned(times, values)

    # 6:30 lies between 6 and 7; no hour has any spread, so the spread is one
    told = profile.residuals(np.array([6 * HOUR_US + HOUR_US // 2]), np.array([[8.5]]))

    assert told[0, 0] == pytest.approx(2.0)


def test_weekends_are_told_apart_once_there_are_four_days_of_them() -> None:
    times, values = hourly(14, [40.0] * 24)
    weekend = np.isin(times // DAY_US, (2, 3, 9, 10))[:, None]  # 1970-01-03 was a Saturday
    values = np.where(weekend, 5.0, values)

    assert len(learned(times[: 7 * 24], values[: 7 * 24]).centre) == 1
    assert learned(times, values).centre[:, 12, 0].tolist() == [40.0, 5.0]


def test_three_days_say_nothing_about_an_hour() -> None:
    times, values = hourly(3, [10.0] * 12 + [50.0] * 12)

    assert np.unique(learned(times, values).centre).tolist() == [30.0]


def test_an_hour_without_rows_lies_between_its_neighbours() -> None:
    times, values = hourly(4, [float(hour) for hour in range(24)])
    known = times // HOUR_US % 24 != 12

    assert learned(times[known], values[known]).centre[0, 12, 0] == 12.0


def test_a_row_is_not_measured_by_what_it_taught() -> None:
    random = np.random.default_rng(0)
    times, values = hourly(5, [0.0] * 24)
    values = values + random.normal(0, 1, values.shape)

    in_sample = learned(times, values).residuals(times, values)

    assert np.abs(left_out_residuals(times, values)).mean() > np.abs(in_sample).mean()


def test_it_is_the_same_after_it_was_stored() -> None:
    times, values = hourly(14, [float(hour) for hour in range(24)])
    profile = learned(times, values)

    again = DailyProfile.from_dict(profile.as_dict(), 1)

    np.testing.assert_array_equal(again.residuals(times, values), profile.residuals(times, values))


@pytest.mark.parametrize("wrong", [{"centre": [[1.0]]}, {"spread": [[[0.0]] * 24]}])
def test_what_is_no_profile_is_refused(wrong: dict[str, object]) -> None:
    times, values = hourly(4, [1.0] * 24)

    with pytest.raises(ValueError, match=r"needed|positive"):
        DailyProfile.from_dict(learned(times, values).as_dict() | wrong, 1)
