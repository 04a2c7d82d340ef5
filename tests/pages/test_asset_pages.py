"""Assets: added, edited, looked at, and not carelessly deleted."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from features.models import Asset, Reading, Weather
from forecasting.models import Forecast
from omarino.authentication import Principal
from tests.factories import make_asset, make_forecast_row, make_readings, make_weather
from tests.pages.conftest import Pages

ASSETS = "/admin/features/asset/"
GIVEN = {"asset_id": "roof", "name": "Roof", "kind": "generation", "unit": "kW", "timezone": "Europe/Berlin"}


def chart_of(text: str) -> Any:
    found = re.search(r'<script id="chart-data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_an_added_asset_belongs_to_ones_own_tenant(alice: Principal, pages_of: Pages) -> None:
    answer = pages_of(alice).post(f"{ASSETS}add/", {**GIVEN, "tenant_id": "gamma"})

    assert answer.status_code == 302
    assert (Asset.objects.get().tenant_id, Asset.objects.get().timezone) == ("alpha", "Europe/Berlin")


def test_a_superuser_says_whose_it_is(alice: Principal, pages_of: Pages) -> None:
    pages = pages_of(alice, is_superuser=True)

    refused = pages.post(f"{ASSETS}add/", {**GIVEN, "tenant_id": "no such/name"}).content.decode()
    assert "Letters, digits or . _ -" in refused
    pages.post(f"{ASSETS}add/", {**GIVEN, "tenant_id": "gamma"})

    assert Asset.objects.get().tenant_id == "gamma"


def test_an_id_is_taken_within_a_tenant_only(alice: Principal, charlie: Principal, pages_of: Pages) -> None:
    make_asset(alice, asset_id="roof")

    again = pages_of(alice).post(f"{ASSETS}add/", GIVEN)
    elsewhere = pages_of(charlie).post(f"{ASSETS}add/", GIVEN)

    assert again.status_code == 200
    assert "already exists" in again.content.decode()
    assert elsewhere.status_code == 302


def test_an_edit_keeps_the_id_that_readings_name(alice: Principal, pages_of: Pages) -> None:
    asset = make_asset(alice, asset_id="roof")

    answer = pages_of(alice).post(
        f"{ASSETS}{asset.pk}/change/", {**GIVEN, "asset_id": "other", "country": "DE"}
    )

    asset.refresh_from_db()
    assert answer.status_code == 302
    assert (asset.asset_id, asset.name, asset.country) == ("roof", "Roof", "DE")


def test_nonsense_is_told_beside_its_field(alice: Principal, pages_of: Pages) -> None:
    wrong = {**GIVEN, "timezone": "Europe/Nowhere", "country": "XX", "latitude": "91"}

    text = pages_of(alice).post(f"{ASSETS}add/", wrong).content.decode()

    for field in ("timezone", "country", "latitude"):
        assert re.search(rf'class="form-row[^"]*errors[^"]*field-{field}', text), field
    assert not Asset.objects.exists()


def test_a_page_shows_readings_gaps_and_how_full_the_weeks_are(alice: Principal, pages_of: Pages) -> None:
    # Ten days of hours from 1 January, Berlin time being one hour ahead; three hours are missing on the 9th.
    make_readings(alice, np.full(24 * 8 + 6, 5.0), timezone="Europe/Berlin", unit="kW", interval_minutes=60)
    asset = make_readings(alice, np.full(24 * 2 - 9, 7.25), start=datetime(2025, 1, 9, 9, tzinfo=UTC))

    text = pages_of(alice).get(f"{ASSETS}{asset.pk}/change/").content.decode()

    # The last hour, 23:00 UTC, is the next day in Berlin.
    assert re.search(r"Sat 11 Jan 2025 00:00</th><td[^>]*>value</td><td>7.25 kW", text)
    assert re.search(r"<td>9 Jan 2025 06:00</td><td>9 Jan 2025 10:00</td><td>3</td>", text)
    assert "165 of 168" in text  # a week of hours without those three
    chart = chart_of(text)
    missing = int(datetime(2025, 1, 9, 6, tzinfo=UTC).timestamp())
    assert chart["readings"]["value"][chart["readings"]["time"].index(missing)] is None
    assert (chart["zone"], chart["unit"]) == ("Europe/Berlin", "kW")


def test_an_asset_that_was_never_read_says_so(alice: Principal, pages_of: Pages) -> None:
    asset = make_asset(alice)
    pages = pages_of(alice)

    assert "Nothing was read yet" in pages.get(f"{ASSETS}{asset.pk}/change/").content.decode()
    assert "no readings yet" in pages.get(ASSETS).content.decode()


def test_only_a_superuser_deletes_and_is_told_what_goes(
    alice: Principal, bob: Principal, pages_of: Pages
) -> None:
    asset = make_readings(alice, np.arange(30.0))
    make_readings(alice, np.arange(4.0), asset_id="stays")
    make_weather(alice, {"temperature": [1.0, 2.0]})
    make_forecast_row(alice)
    delete = f"{ASSETS}{asset.pk}/delete/"
    assert pages_of(alice).post(delete, {"post": "yes"}).status_code == 403
    superuser = pages_of(bob, is_superuser=True)

    told = superuser.get(delete).content.decode()
    assert "Readings: 30" in told
    assert "Times of weather: 2" in told
    assert superuser.post(delete, {"post": "yes"}).status_code == 302

    assert [row.asset_id for row in Asset.objects.all()] == ["stays"]
    assert (Reading.objects.count(), Weather.objects.count(), Forecast.objects.count()) == (4, 0, 1)
