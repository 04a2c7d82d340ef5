"""POST /ai/features/weather."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from features.models import Asset, Weather
from omarino.authentication import Principal
from tests.conftest import ClientOf

URL = "/ai/features/weather"


def body(*readings: Any, **fields: Any) -> dict[str, Any]:
    return {"tenant_id": "alpha", "asset_id": "pv-roof", "readings": list(readings), **fields}


def at(hour: int, **columns: Any) -> dict[str, Any]:
    return {"timestamp": f"2025-01-01T{hour:02}:00:00Z", **columns}


def stored() -> dict[int, tuple[float | None, float | None]]:
    rows = Weather.objects.for_tenant("alpha").filter(asset_id="pv-roof").order_by("timestamp")
    return {row.timestamp.hour: (row.temperature, row.solar_irradiance) for row in rows}


def test_weather_is_stored_flat_or_as_values(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post(
        URL, body(at(0, temperature=-1.5, solar_irradiance=0), at(1, values={"solar_irradiance": 120.5}))
    )

    assert response.json() == {
        "accepted": 2,
        "updated": 0,
        "unchanged": 0,
        "duplicates": 0,
        "rejected": [],
        "rejected_total": 0,
    }
    assert stored() == {0: (-1.5, 0.0), 1: (None, 120.5)}
    assert Asset.objects.get().asset_id == "pv-roof"


def test_a_forecast_of_the_weather_is_replaced_by_the_next(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    ahead = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:00:00Z}"
    client.post(URL, body({"timestamp": ahead, "temperature": 10, "humidity": 60}))

    again = client.post(URL, body({"timestamp": ahead, "temperature": 12})).json()

    assert (again["accepted"], again["updated"]) == (0, 1)
    assert Weather.objects.values_list("temperature", "humidity").get() == (12.0, 60.0)


def test_the_same_weather_again_changes_nothing(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    client.post(URL, body(at(0, temperature=1)))
    before = Weather.objects.values().get()

    assert client.post(URL, body(at(0, temperature=1))).json()["unchanged"] == 1
    assert Weather.objects.values().get() == before


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (at(5), "no value"),
        (at(5, temperature=None), "no value"),
        (at(5, temperature="mild"), "temperature: 'mild' is not a number"),
        (at(5, temperature=True), "temperature: True is not a number"),
        (at(5, pressure=1e16), "pressure: 1e+16 is beyond 1e+15"),
        (at(5, values=[1]), "values is not an object of numbers"),
        ({"temperature": 1}, "no timestamp"),
        (7, "not an object"),
    ],
)
def test_bad_weather_is_named_and_the_rest_is_stored(
    alice: Principal, client_of: ClientOf, bad: Any, reason: str
) -> None:
    response = client_of(alice).post(URL, body(at(0, temperature=1), bad))

    assert response.json()["rejected"] == [{"row": 2, "reason": reason}]
    assert stored() == {0: (1.0, None)}


def test_what_is_no_weather_is_named(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post(URL, body(at(0, temp=1)))

    assert response.status_code == 422
    assert response.json()["rejected"][0]["reason"].startswith("'temp' is no weather; that is temperature,")


def test_weather_may_be_csv(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post(
        f"{URL}?asset_id=pv-roof",
        b"timestamp,temperature,solar_irradiance\n2025-01-01T00:00Z,1,\n2025-01-01T01:00Z,,2\n",
        content_type="text/csv",
    )

    assert response.json()["accepted"] == 2
    assert stored() == {0: (1.0, None), 1: (None, 2.0)}


def test_another_tenant_cannot_be_named(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post(URL, body(at(0, temperature=1), tenant_id="gamma"))

    assert response.status_code == 403
    assert not Weather.objects.exists()
