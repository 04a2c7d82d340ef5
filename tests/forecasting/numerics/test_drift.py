"""How far features moved, against what they are used to."""

from __future__ import annotations

import numpy as np
import pytest

from features.catalog import FEATURES
from forecasting.drift import LEAST_WEEKS, Course, index_of, is_slow, limit_of, watched
from forecasting.quality import population_stability_index

HOUR = 3_600_000_000
WEEK = 168 * HOUR
UNTIL = 2_900 * WEEK
RANDOM = np.random.default_rng(3)


def course(values: np.ndarray) -> Course:
    """Hour by hour, to UNTIL."""
    return Course(UNTIL - HOUR * np.arange(values.size, 0, -1), values)


def test_four_weeks_are_compared_with_the_four_before() -> None:
    older, before, after = RANDOM.normal(9, 1, 500), RANDOM.normal(0, 1, 672), RANDOM.normal(0.5, 1, 672)

    found = index_of(
        course(np.concatenate([older, before, after, RANDOM.normal(9, 1, 100)])), UNTIL - 100 * HOUR
    )

    assert found == population_stability_index(before, after)


def test_the_limit_is_the_highest_of_the_year_before() -> None:
    values = RANDOM.normal(0, 1, 64 * 168)
    values[-30 * 168 : -29 * 168] += 50  # a week of another kind, at its time
    values[-4 * 168 :] += 50  # the window that is judged
    known = course(values)
    ends = [UNTIL - 4 * WEEK - WEEK * week for week in range(52)]

    limit = limit_of(known, UNTIL, least=0.5, is_slow=True)

    assert limit == max(index_of(known, end) for end in ends) > 0.5
    assert index_of(known, UNTIL) > limit


def test_without_half_a_year_the_limit_is_wide_and_what_is_slow_is_not_judged() -> None:
    weeks = LEAST_WEEKS - 1 + 4 + 8
    steady = RANDOM.normal(0, 1, weeks * 168)

    enough, too_few = course(steady), course(steady[4 * 168 :])  # less than half of a reference may do

    assert limit_of(enough, UNTIL, least=0.5, is_slow=True) == 0.5
    assert limit_of(too_few, UNTIL, least=0.5, is_slow=False) == 2.0
    assert limit_of(too_few, UNTIL, least=0.5, is_slow=True) is None


@pytest.mark.parametrize(
    ("name", "slow"),
    [("lag_168h", False), ("temperature", False), ("hourly_avg", False), ("rolling_avg_24h", True)],
)
def test_long_windows_are_slow(name: str, slow: bool) -> None:
    assert is_slow(FEATURES[name]) is slow


def test_what_is_watched_are_features_of_the_catalogue_without_the_calendars() -> None:
    used = ["lag_1d", "lag_7d", "rolling_avg_7d", "rolling_avg_28d", "temperature_above_q25", "temperature"]

    found = watched([*used, "rolling_std_24h", "hour_of_day", "is_holiday", "lead"])

    names = ["lag_168h", "lag_24h", "rolling_avg_168h", "rolling_std_24h", "temperature"]
    assert [feature.name for feature in found] == names
