"""Features that forecasts used, spread otherwise than before: flags by name, against what the asset is used to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray

from forecasting.drift import Course, index_of
from forecasting.drift_actions import find_drift
from forecasting.models import DriftFlag
from omarino.authentication import Principal
from omarino.epoch import to_us
from omarino.models import User
from tests.conftest import ClientOf
from tests.factories import make_forecast_row, make_readings, make_weather

pytestmark = pytest.mark.django_db
NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
WEEK = 168
USED = ["lag_1d", "temperature", "temperature_above_q25", "hour_of_day", "trend"]


def hours_before(weeks: int) -> NDArray[np.float64]:
    """Of the year, oldest first."""
    first = (NOW - timedelta(weeks=weeks) - datetime(2025, 1, 1, tzinfo=UTC)) / timedelta(hours=1)
    return np.asarray(first + np.arange(weeks * WEEK), dtype=np.float64)


def load(weeks: int) -> NDArray[np.float64]:
    noise = np.random.default_rng(1).normal(0, 2, weeks * WEEK)
    return np.asarray(50 + 20 * np.sin(2 * np.pi * hours_before(weeks) / 24) + noise)


def temperature(weeks: int, *, swing: float = 0.0) -> NDArray[np.float64]:
    """degC, with days; `swing` of the seasons around the mean of the year, which is passed in March."""
    hours = hours_before(weeks)
    noise = np.random.default_rng(2).normal(0, 2, weeks * WEEK)
    season = -swing * np.cos(2 * np.pi * (hours / 24 + 20) / 365.25)
    return np.asarray(10 + season + 4 * np.sin(2 * np.pi * hours / 24) + noise)


def forecast(owner: Principal, **fields: Any) -> None:
    made = {"made_at": NOW - timedelta(days=1), "history_source": "stored", "features_used": USED}
    make_forecast_row(owner, **{**made, **fields})


def flags(now: datetime = NOW) -> list[tuple[str, str]]:
    find_drift(tenant_id="alpha", asset_id="main-meter", now=now)
    raised = DriftFlag.objects.raised().order_by("kind", "feature")
    return list(raised.values_list("kind", "feature"))


def store(owner: Principal, readings: NDArray[np.float64], **weather: NDArray[np.float64]) -> None:
    make_readings(owner, readings, start=NOW - timedelta(hours=readings.size))
    if weather:
        make_weather(owner, weather, start=NOW - timedelta(hours=readings.size))


def test_weather_in_another_unit_is_flagged_by_its_name_until_it_is_put_right(alice: Principal) -> None:
    forecast(alice)
    degrees = temperature(9)
    store(alice, load(9), temperature=degrees)
    assert flags() == []

    degrees[-3 * WEEK :] = degrees[-3 * WEEK :] * 9 / 5 + 32
    store(alice, load(9), temperature=degrees)
    assert flags() == [("feature", "temperature")]

    flag = DriftFlag.objects.raised().get()
    assert flag.value > flag.limit == 2.0  # nothing is known of the year before
    weeks = [NOW - timedelta(weeks=count) for count in (8, 4, 0)]
    assert [flag.reference_from, flag.window_from, flag.window_until] == weeks
    assert flag.model_name == ""

    store(alice, load(9), temperature=temperature(9))
    assert flags(NOW + timedelta(hours=1)) == []
    flag.refresh_from_db()
    assert flag.cleared_at == NOW + timedelta(hours=1)
    assert flag.value < 0.1


def test_readings_in_another_unit_are_seen_in_what_is_made_of_them(alice: Principal) -> None:
    forecast(alice)
    readings = load(10)
    readings[-3 * WEEK :] *= 1000
    store(alice, readings)

    assert flags() == [("feature", "lag_24h"), ("readings", "")]


def test_a_season_is_no_drift_and_a_broken_sensor_in_it_is(alice: Principal) -> None:
    forecast(alice)
    degrees = temperature(64, swing=15.0)
    store(alice, load(64), temperature=degrees)
    times = to_us(NOW) - 3_600_000_000 * np.arange(degrees.size, 0, -1)
    assert index_of(Course(times, degrees), to_us(NOW)) > 0.5
    assert flags() == []

    degrees[-4 * WEEK :] = -40.0
    store(alice, load(64), temperature=degrees)

    assert flags() == [("feature", "temperature")]
    flag = DriftFlag.objects.raised().get()
    assert flag.value > flag.limit > 0.5  # the highest of the year before


def test_means_of_days_are_judged_when_half_a_year_is_there(alice: Principal) -> None:
    forecast(alice, features_used=["rolling_avg_24h"])
    readings = load(45)
    readings[-3 * WEEK :] += 100
    store(alice, readings[-12 * WEEK :])
    assert flags() == [("readings", "")]

    store(alice, readings)
    assert flags() == [("feature", "rolling_avg_24h"), ("readings", "")]


def test_what_a_request_gave_is_watched_as_well(alice: Principal) -> None:
    forecast(alice, features_used=[*USED, "occupancy"], given_features={"occupancy": [1.0, 2.0, 3.0]})
    store(alice, load(9))
    people = np.random.default_rng(4).normal(40, 5, 9 * WEEK)
    people[-3 * WEEK :] = 0.0
    make_readings(alice, people, start=NOW - timedelta(weeks=9), metric="occupancy")

    assert flags() == [("feature", "occupancy")]


def test_what_no_forecast_uses_any_more_is_not_flagged(alice: Principal) -> None:
    degrees = temperature(9)
    degrees[-3 * WEEK :] += 100
    store(alice, load(9), temperature=degrees)
    forecast(alice, features_used=["lag_1d"])
    forecast(alice, history_source="body")
    forecast(alice, made_at=NOW - timedelta(days=15))
    assert flags() == []

    forecast(alice)
    assert flags() == [("feature", "temperature")]
    assert flags(NOW + timedelta(days=14)) == []


def test_too_few_values_say_nothing(alice: Principal) -> None:
    forecast(alice)
    degrees = temperature(9)
    degrees[-4 * WEEK : -99] = np.nan  # 99 are left
    degrees[-99:] += 100
    store(alice, load(9), temperature=degrees)

    assert flags() == []


def test_daily_readings_are_not_counted_as_hourly_ones(alice: Principal) -> None:
    forecast(alice)
    daily = np.where(np.arange(63) < 40, 10.0 + np.arange(63) % 7, 1000.0)
    make_readings(alice, daily, start=NOW - timedelta(days=63), interval_minutes=1440)

    assert flags() == []  # 28 values on either side


def test_the_route_and_the_page_name_the_feature(
    client_of: ClientOf, alice: Principal, client: Client
) -> None:
    forecast(alice)
    degrees = temperature(9)
    degrees[-3 * WEEK :] += 100
    store(alice, load(9), temperature=degrees)
    flags()

    told = client_of(alice).get("/ai/forecasts/drift?kind=feature&feature=temperature").json()["flags"]

    assert [(flag["kind"], flag["feature"], flag["limit"]) for flag in told] == [
        ("feature", "temperature", 2.0)
    ]
    times = ("2025-01-13T12:00:00Z", "2025-02-10T12:00:00Z", "2025-03-10T12:00:00Z")
    assert tuple(told[0][name] for name in ("reference_from", "window_from", "window_until")) == times
    assert client_of(alice).get("/ai/forecasts/drift?feature=humidity").json()["total"] == 0
    client.force_login(User.objects.create_superuser("root", password="x" * 12, tenant_id="alpha"))
    assert "temperature" in client.get("/admin/forecasting/driftflag/").content.decode()
