"""Features out of arrays: numbers worked by hand, and a second, slow computation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalog import (
    FEATURE_SETS,
    FEATURES,
    Calendar,
    Feature,
    Lag,
    WeatherAt,
    Window,
    choose,
    features_named,
)
from features.compute import HOUR_US, Past, rows, spans
from features.errors import FeaturesNotChosen, UnknownFeature, UnknownFeatureSet

EVERY = tuple(FEATURES.values())
NAN = float("nan")


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


START = us("2025-01-01T00:00")


def hourly(values: Sequence[float], start: int = START, **said: Any) -> Past:
    kept = [(start + hour * HOUR_US, value) for hour, value in enumerate(values) if value == value]
    times, numbers = zip(*kept, strict=True) if kept else ((), ())
    return Past(
        np.array(times, dtype=np.int64),
        np.array(numbers, dtype=np.float64),
        **{"interval_minutes": 60, **said},
    )


def one(past: Past, as_of_us: int, *names: str, lookback: timedelta | None = None) -> list[float]:
    found = rows(features_named(names), past, np.array([as_of_us]), lookback=lookback)
    assert list(found) == list(names)
    return [float(column[0]) for column in found.values()]


# Numbers worked by hand


def test_a_window_holds_the_readings_of_its_hours_before_the_moment() -> None:
    past = hourly(range(48))  # at hour 30: the readings 6..29

    names = ("rolling_avg_24h", "min_24h", "max_24h", "range_24h", "daily_p10", "daily_p90", "hourly_median")
    # mean of 6..29 = 17.5; p10 of 24 values: rank 2.3 -> 8.3; p90: rank 20.7 -> 26.7; the hour before: 29
    assert one(past, START + 30 * HOUR_US, *names) == pytest.approx([17.5, 6, 29, 23, 8.3, 26.7, 29])


def test_a_standard_deviation_is_that_of_a_sample_and_wants_two_readings() -> None:
    past = hourly([2.0, 4.0, 9.0])  # mean 5, squares 9 + 1 + 16 = 26, 26 / 2 = 13

    assert one(past, START + 3 * HOUR_US, "rolling_std_24h") == pytest.approx([13**0.5])
    assert one(past, START + HOUR_US, "rolling_std_24h") == pytest.approx([NAN], nan_ok=True)


def test_a_standard_deviation_survives_a_high_level() -> None:
    past = hourly([1e9 + 0.25, 1e9 + 0.75])  # off by a quarter each: 2 * 0.0625 / 1

    assert one(past, START + 2 * HOUR_US, "rolling_std_24h") == pytest.approx([0.125**0.5], rel=1e-12)


def test_a_lag_is_a_time_and_not_a_count_of_rows() -> None:
    past = hourly([1.0, 2.0, NAN, NAN, 5.0, 6.0])

    assert one(past, START + 6 * HOUR_US, "lag_1h") == [6.0]
    assert one(past, START + 4 * HOUR_US, "lag_1h") == pytest.approx([NAN], nan_ok=True)  # a gap stays one


def test_between_two_readings_a_lag_is_the_one_in_whose_interval_it_lies() -> None:
    past = hourly([1.0, 2.0, 3.0])
    quarter = 15 * 60_000_000

    assert one(past, START + 2 * HOUR_US + 3 * quarter, "lag_1h") == [2.0]  # 01:45, of the hour from 01:00
    fine = Past(past.times_us, past.values, interval_minutes=15)
    assert one(fine, START + 2 * HOUR_US + quarter - 1, "lag_1h") == [2.0]
    assert one(fine, START + 2 * HOUR_US + quarter, "lag_1h") == pytest.approx([NAN], nan_ok=True)


def test_the_weather_is_its_last_value_of_the_hour_each_column_by_itself() -> None:
    past = hourly(
        [],
        weather_times_us=START + np.array([0, HOUR_US // 2, HOUR_US]),
        weather={"temperature": np.array([-3.0, NAN, 4.0]), "humidity": np.array([NAN, 80.0, NAN])},
    )
    names = ("temperature", "humidity", "pressure")

    assert one(past, START + HOUR_US - 1, *names) == pytest.approx([-3.0, 80.0, NAN], nan_ok=True)
    assert one(past, START + HOUR_US, *names) == pytest.approx([4.0, 80.0, NAN], nan_ok=True)
    assert one(past, START + 2 * HOUR_US, *names) == pytest.approx([NAN, NAN, NAN], nan_ok=True)


@pytest.mark.parametrize(
    ("as_of", "timezone", "expected"),
    [  # hour, weekday, day, month, quarter, weekend, business hours
        ("2025-01-01T00:00", "UTC", [0, 2, 1, 1, 1, 0, 0]),
        ("2024-12-31T23:30", "Europe/Berlin", [0, 2, 1, 1, 1, 0, 0]),
        ("2025-03-30T00:59", "Europe/Berlin", [1, 6, 30, 3, 1, 1, 0]),  # clocks go from 02:00 to 03:00
        ("2025-03-30T01:00", "Europe/Berlin", [3, 6, 30, 3, 1, 1, 0]),
        ("2025-10-26T00:30", "Europe/Berlin", [2, 6, 26, 10, 4, 1, 0]),  # 02:30 twice
        ("2025-10-26T01:30", "Europe/Berlin", [2, 6, 26, 10, 4, 1, 0]),
        ("2025-07-04T03:29", "Asia/Kolkata", [8, 4, 4, 7, 3, 0, 0]),
        ("2025-07-04T03:30", "Asia/Kolkata", [9, 4, 4, 7, 3, 0, 1]),
        ("2025-07-04T12:29", "Asia/Kolkata", [17, 4, 4, 7, 3, 0, 1]),
        ("2025-07-04T12:30", "Asia/Kolkata", [18, 4, 4, 7, 3, 0, 0]),
    ],
)
def test_the_calendar_is_that_of_the_wall(as_of: str, timezone: str, expected: list[float]) -> None:
    names = (
        "hour_of_day",
        "day_of_week",
        "day_of_month",
        "month",
        "quarter",
        "is_weekend",
        "is_business_hours",
    )

    assert one(hourly([], timezone=timezone), us(as_of), *names) == expected


def test_over_a_change_of_the_clock_a_day_of_lag_is_still_24_hours() -> None:
    past = hourly(range(48), start=us("2025-03-29T00:00"), timezone="Europe/Berlin")

    # at noon of the long or short day the reading 24 hours before, whatever the wall says
    assert one(past, us("2025-03-30T10:00"), "hour_of_day", "lag_24h") == [12.0, 10.0]


def test_what_looks_back_further_than_asked_for_is_not_computed() -> None:
    past = hourly(range(400))
    at = START + 300 * HOUR_US

    found = one(past, at, "lag_1h", "lag_24h", "rolling_avg_24h", "lag_168h", lookback=timedelta(hours=24))

    assert found == pytest.approx([299, 276, 287.5, NAN], nan_ok=True)


def test_nothing_known_is_no_number() -> None:
    found = rows(EVERY, Past(np.empty(0, dtype=np.int64), np.empty(0)), np.array([START, START + 1]))

    for feature in EVERY:
        assert np.isnan(found[feature.name]).all() != isinstance(feature.source, Calendar)
    assert all(column.size == 0 for column in rows(EVERY, hourly([1.0]), np.empty(0, np.int64)).values())


# A second computation, one reading at a time


def slowly(feature: Feature, past: Past, as_of: int) -> float:
    readings = dict(zip(past.times_us.tolist(), past.values.tolist(), strict=True))
    source = feature.source
    if isinstance(source, Lag):
        wanted = as_of - int(source.by.total_seconds()) * 1_000_000
        covering = [time for time in readings if time <= wanted < time + past.interval_us]
        return readings[max(covering)] if covering else NAN
    if isinstance(source, WeatherAt):
        column = past.weather.get(source.column, np.empty(0))
        known = [
            (time, value)
            for time, value in zip(past.weather_times_us.tolist(), column.tolist(), strict=False)
            if value == value and time <= as_of < time + HOUR_US
        ]
        return max(known)[1] if known else NAN
    if isinstance(source, Calendar):
        wall = datetime.fromtimestamp(as_of // 1_000_000, UTC).astimezone(ZoneInfo(past.timezone))
        return {
            "hour_of_day": wall.hour,
            "day_of_week": wall.weekday(),
            "day_of_month": wall.day,
            "month": wall.month,
            "quarter": (wall.month + 2) // 3,
            "is_weekend": wall.weekday() in (5, 6),
            "is_business_hours": wall.weekday() not in (5, 6) and wall.hour in range(9, 18),
        }[source.field]
    return slow_statistic(
        source, [value for time, value in readings.items() if in_window(source, time, as_of)]
    )


def in_window(source: Window, time: int, as_of: int) -> bool:
    return as_of - int(source.over.total_seconds()) * 1_000_000 <= time < as_of


def slow_statistic(source: Window, values: list[float]) -> float:
    if not values or (source.statistic == "std" and len(values) < 2):
        return NAN
    return {
        "avg": lambda: statistics.fmean(values),
        "std": lambda: statistics.stdev(values),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "range": lambda: max(values) - min(values),
        "median": lambda: statistics.median(values),
        "p10": lambda: float(np.quantile(values, 0.1)),
        "p90": lambda: float(np.quantile(values, 0.9)),
    }[source.statistic]()


quarters = st.integers(0, 4 * 24 * 9)
numbers = st.floats(-1e6, 1e6)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata"])
starts = st.sampled_from([us("2025-03-27T00:00"), us("2025-10-24T00:00"), us("2025-04-03T07:05"), START])


@st.composite
def pasts(draw: st.DrawFn) -> tuple[Past, int]:
    start = draw(starts)
    readings = draw(st.dictionaries(quarters, numbers, max_size=40))
    weather = draw(st.dictionaries(quarters, st.one_of(numbers, st.just(NAN)), max_size=12))
    past = Past(
        np.array([start + 900_000_000 * step for step in sorted(readings)], dtype=np.int64),
        np.array([readings[step] for step in sorted(readings)], dtype=np.float64),
        np.array([start + 900_000_000 * step for step in sorted(weather)], dtype=np.int64),
        {"temperature": np.array([weather[step] for step in sorted(weather)], dtype=np.float64)},
        draw(zones),
        draw(st.sampled_from([None, 15, 60, 1440])),
    )
    return past, start


moments = st.lists(st.integers(0, 10 * 86_400), min_size=1, max_size=8)


@settings(max_examples=120, deadline=None)
@given(known=pasts(), seconds=moments)
def test_it_agrees_with_a_computation_of_one_reading_at_a_time(
    known: tuple[Past, int], seconds: list[int]
) -> None:
    past, start = known
    as_of = start + np.array(seconds, dtype=np.int64) * 1_000_000

    found = rows(EVERY, past, as_of)

    for feature in EVERY:
        expected = [slowly(feature, past, moment) for moment in as_of.tolist()]
        np.testing.assert_allclose(found[feature.name], expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=80, deadline=None)
@given(
    known=pasts(), second=st.integers(0, 10 * 86_400), later=st.dictionaries(quarters, numbers, max_size=9)
)
def test_readings_at_or_after_the_moment_change_nothing(
    known: tuple[Past, int], second: int, later: dict[int, float]
) -> None:
    past, start = known
    moment = start + second * 1_000_000
    before = past.times_us < moment
    ahead = sorted(later)
    changed = Past(
        np.append(past.times_us[before], [moment + 900_000_000 * step for step in ahead]).astype(np.int64),
        np.append(past.values[before], [later[step] for step in ahead]),
        past.weather_times_us,
        past.weather,
        past.timezone,
        past.interval_minutes,
    )

    found, again = rows(EVERY, past, np.array([moment])), rows(EVERY, changed, np.array([moment]))

    for feature in EVERY:
        np.testing.assert_array_equal(found[feature.name], again[feature.name])


@settings(max_examples=80, deadline=None)
@given(known=pasts(), second=st.integers(0, 10 * 86_400), names=st.sets(st.sampled_from(sorted(FEATURES))))
def test_no_reading_outside_the_spans_is_needed(
    known: tuple[Past, int], second: int, names: set[str]
) -> None:
    past, start = known
    moment = start + second * 1_000_000
    features = features_named(sorted(names))
    inside = np.zeros(past.times_us.size, dtype=bool)
    for back, until in spans(features, past.interval_minutes):
        low, high = (moment - each // timedelta(microseconds=1) for each in (back, until))
        inside |= (past.times_us >= low) & (past.times_us < high)
    less = Past(
        past.times_us[inside],
        past.values[inside],
        past.weather_times_us,
        past.weather,
        past.timezone,
        past.interval_minutes,
    )

    found, again = rows(features, past, np.array([moment])), rows(features, less, np.array([moment]))

    for name in names:
        np.testing.assert_allclose(found[name], again[name], rtol=1e-12)


def test_the_spans_of_a_day_and_of_one_reading_a_week_ago_leave_out_what_is_between() -> None:
    hour, moment = timedelta(hours=1), timedelta(microseconds=1)

    found = spans(features_named(["lag_168h", "lag_1h", "rolling_avg_24h", "month"]), 60)

    assert found == [(169 * hour, 168 * hour - moment), (24 * hour, timedelta(0))]


# What there is


def test_the_sets_are_those_of_the_contract() -> None:
    basic = "hour_of_day day_of_week is_weekend lag_1h lag_24h rolling_avg_24h"
    more = (
        "day_of_month month is_business_hours lag_168h temperature humidity solar_irradiance rolling_std_24h"
    )
    anomaly = "hour_of_day day_of_week historical_avg_24h historical_std_24h max_24h min_24h range_24h"

    assert {name: " ".join(declared.names) for name, declared in FEATURE_SETS.items()} == {
        "forecast_basic": basic,
        "forecast_advanced": f"{basic} {more}",
        "anomaly_detection": anomaly,
    }


def test_what_is_unknown_is_refused_with_what_there_is() -> None:
    with pytest.raises(UnknownFeatureSet, match=r"'best'.*forecast_basic, forecast_advanced"):
        choose("best", None)
    with pytest.raises(UnknownFeature, match=r"lag_3h, mood.*hour_of_day"):
        choose(None, ["lag_1h", "lag_3h", "mood"])
    for neither_nor in ((None, None), ("forecast_basic", ["lag_1h"])):
        with pytest.raises(FeaturesNotChosen):
            choose(*neither_nor)
