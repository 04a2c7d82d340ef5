"""What the fan chart draws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rest_framework.test import APIClient

from features.models import Asset
from forecasting.charts import fan_chart
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_forecast_row

START = datetime(2025, 1, 1, tzinfo=UTC)


def stored_half_hours(client: APIClient, unit: str) -> Asset:
    """Half-hours of 2 from two hours before the start to one hour after it."""
    readings = [
        {"timestamp": (START + part * timedelta(minutes=30)).isoformat(), "value": 2.0}
        for part in range(-4, 2)
    ]
    body = {"tenant_id": "alpha", "asset_id": "main-meter", "unit": unit, "readings": readings}
    assert client.post("/ai/features/readings", body).status_code == 200
    return Asset.objects.get(asset_id="main-meter")


@pytest.mark.parametrize(("unit", "drawn"), [("kWh", 4.0), ("kW", 2.0)])
def test_readings_are_drawn_in_the_steps_of_the_forecast(
    alice: Principal, client_of: ClientOf, unit: str, drawn: float
) -> None:
    asset = stored_half_hours(client_of(alice), unit)
    forecast = make_forecast_row(alice, history_source="stored", first_target_at=START)

    chart = fan_chart(forecast, asset)

    start = int(START.timestamp())
    assert chart["readings"] == {"time": [start - 7200, start - 3600], "value": [drawn, drawn]}
    assert chart["outcome"] == {"time": [start], "value": [drawn]}


def test_a_history_of_the_request_draws_no_stored_readings(alice: Principal, client_of: ClientOf) -> None:
    asset = stored_half_hours(client_of(alice), "kW")

    chart = fan_chart(make_forecast_row(alice, history_source="body", first_target_at=START), asset)

    assert "readings" not in chart
    assert chart["forecast"]["p50"] == [10.0, 11.0, 12.0]
