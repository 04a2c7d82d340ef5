"""POST /ai/forecast without historical_data: the asset's stored readings are the history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from features.models import Asset
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.forecasting.test_make_forecast import MONDAY, weekly_load

Answer = dict[str, Any]


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


def store(
    client: APIClient, readings: list[dict[str, Any]], *, kind: str = "readings", **fields: Any
) -> None:
    body = {"tenant_id": "alpha", "asset_id": "main-meter", "readings": readings, **fields}
    response = client.post(f"/ai/features/{kind}", body)
    assert response.status_code == 200, response.json()


def forecast(client: APIClient, **changes: Any) -> Answer:
    body = {"tenant_id": "alpha", "asset_id": "main-meter", "forecast_type": "load", **changes}
    response = client.post("/ai/forecast", body)
    assert response.status_code == 200, response.json()
    answer: Answer = response.json()
    return answer


def medians(answer: Answer) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([step["point_forecast"] for step in answer["forecasts"]])


def test_stored_readings_and_the_same_readings_in_the_body_give_the_same_forecast(client: APIClient) -> None:
    readings = weekly_load(35)
    store(client, readings)

    assert forecast(client)["forecasts"] == forecast(client, historical_data=readings)["forecasts"]


def test_readings_at_or_after_as_of_change_nothing(client: APIClient) -> None:
    readings = weekly_load(42)
    as_of = MONDAY + timedelta(days=35)
    store(client, readings[: 35 * 24])
    before = forecast(client, as_of=as_of.isoformat())

    store(client, [{**reading, "value": 1e6} for reading in readings[35 * 24 :]])
    after = forecast(client, as_of=as_of.isoformat())

    assert after["forecasts"] == before["forecasts"]
    assert after["forecasts"][0]["timestamp"] == "2025-04-07T00:00:00Z"


def test_a_forecast_from_old_readings_says_how_old_they_are(client: APIClient) -> None:
    store(client, weekly_load(21))

    answer = forecast(client, as_of=(MONDAY + timedelta(days=30)).isoformat())

    assert any(
        "9 days old" in warning and "2025-03-24 00:00 UTC" in warning
        for warning in answer["metadata"]["warnings"]
    )


def test_the_calendar_is_the_assets_own(client: APIClient) -> None:
    store(client, weekly_load(28))
    Asset.objects.filter(asset_id="main-meter").update(timezone="America/New_York", country="US", unit="kW")

    answer = forecast(client)

    assert answer["unit"] == "kW"
    assert answer["forecasts"][0]["timestamp"] == "2025-03-31T00:00:00Z"


def test_half_hours_of_energy_are_summed_into_hours(client: APIClient) -> None:
    flat = [{**point, "value": 2.0} for point in weekly_load(28, minutes=30)]
    store(client, flat, unit="kWh")

    answer = forecast(client)

    assert medians(answer) == pytest.approx(4.0)  # two half-hours of 2 kWh each


def test_half_hours_of_power_are_averaged_into_hours(client: APIClient) -> None:
    flat = [{**point, "value": 2.0} for point in weekly_load(28, minutes=30)]
    store(client, flat, unit="kW")

    assert medians(forecast(client)) == pytest.approx(2.0)


def driven_by_temperature() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Sixty days of a load that is three times the temperature, and the temperature for a day more."""
    rng = np.random.default_rng(5)
    daily = np.repeat(rng.normal(15, 6, 62), 24)
    temperature = daily + 3 * np.sin(np.arange(62 * 24) / 24 * 2 * np.pi)
    times = [(MONDAY + timedelta(hours=hour)).isoformat() for hour in range(62 * 24)]
    load = [
        {"timestamp": time, "value": 100 + 3 * float(value)}
        for time, value in zip(times[: 60 * 24], temperature, strict=False)
    ]
    weather = [
        {"timestamp": time, "temperature": float(value)}
        for time, value in zip(times, temperature, strict=True)
    ]
    return load, weather


def test_weather_known_ahead_makes_the_forecast_better(client: APIClient) -> None:
    load, weather = driven_by_temperature()
    truth = np.array([100 + 3 * row["temperature"] for row in weather[60 * 24 : 61 * 24]])
    store(client, load)
    blind = np.abs(medians(forecast(client)) - truth).mean()

    store(client, weather, kind="weather")
    answer = forecast(client)

    assert np.abs(medians(answer) - truth).mean() < 0.5 * blind
    assert any("temperature" in name for name in answer["metadata"]["features_used"])


def test_features_in_the_request_stand_for_the_weather_ahead(client: APIClient) -> None:
    load, weather = driven_by_temperature()
    store(client, load)
    store(client, weather[: 60 * 24], kind="weather")
    cold, warm = (medians(forecast(client, features={"temperature": value})).mean() for value in (5.0, 25.0))

    # The load is three times the temperature: 20 degrees are worth 60; a regularised fit finds most of it.
    assert warm - cold > 25


def test_a_feature_without_a_past_is_not_used_and_said(client: APIClient) -> None:
    store(client, weekly_load(28))

    answer = forecast(client, features={"price": 40})

    assert any("'price'" in warning for warning in answer["metadata"]["warnings"])


def test_a_feature_of_the_wrong_length_is_refused_with_both_numbers(client: APIClient) -> None:
    store(client, weekly_load(28))

    response = client.post(
        "/ai/forecast",
        {
            "tenant_id": "alpha",
            "asset_id": "main-meter",
            "forecast_type": "load",
            "features": {"temperature": [1.0] * 23},
        },
    )

    assert (response.status_code, response.json()["code"]) == (422, "feature_length_mismatch")
    assert (response.json()["have"], response.json()["need"]) == (23, 24)


def test_a_weather_forecast_that_arrived_after_as_of_is_not_used(client: APIClient) -> None:
    load, weather = driven_by_temperature()
    as_of = (MONDAY + timedelta(days=60)).isoformat()
    store(client, load)
    store(client, weather[: 60 * 24], kind="weather")
    before = forecast(client, as_of=as_of)

    store(client, weather[60 * 24 :], kind="weather")  # arrives now, long after `as_of`
    after = forecast(client, as_of=as_of)

    assert after["forecasts"] == before["forecasts"]


def test_another_tenants_readings_are_no_history(
    client: APIClient, charlie: Principal, client_of: ClientOf
) -> None:
    store(client, weekly_load(28))

    response = client_of(charlie).post(
        "/ai/forecast", {"tenant_id": "gamma", "asset_id": "main-meter", "forecast_type": "load"}
    )

    assert (response.status_code, response.json()["code"]) == (422, "no_readings")


def test_readings_of_today_need_no_warning_about_age(client: APIClient) -> None:
    today = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    store(client, weekly_load(28, start=today - timedelta(days=28)))

    assert not any("days old" in warning for warning in forecast(client)["metadata"]["warnings"])


def test_hours_of_energy_are_shared_out_to_quarter_hours(client: APIClient) -> None:
    flat = [{**point, "value": 2.0} for point in weekly_load(28)]
    store(client, flat, unit="kWh")

    assert medians(forecast(client, interval_minutes=15)) == pytest.approx(0.5)
