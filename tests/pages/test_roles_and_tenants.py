"""What the pages show to whom."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from features.models import Asset
from forecasting.models import Forecast
from omarino.authentication import Principal
from omarino.permissions import AI_USER, ANOMALY_ANALYST, FORECASTER, ROLES
from tests.factories import make_asset, make_forecast_row, make_readings
from tests.pages.conftest import Pages, make_person

ASSETS, FORECASTS = "/admin/features/asset/", "/admin/forecasting/forecast/"
NONE: frozenset[str] = frozenset()


def test_lists_hold_ones_own_tenant(alice: Principal, charlie: Principal, pages_of: Pages) -> None:
    for owner in (alice, charlie):
        make_asset(owner, name=f"Meter of {owner.username}")
        make_forecast_row(owner, asset_id=f"meter-of-{owner.username}")
    pages = pages_of(alice)

    for path in ("/admin/", ASSETS, FORECASTS):
        text = pages.get(path).content.decode()
        assert re.search("[Mm]eter.of.alice", text)
        assert not re.search("[Mm]eter.of.charlie", text)
        assert "gamma" not in text


def test_a_superuser_sees_all_and_whose_it_is(
    alice: Principal, bob: Principal, charlie: Principal, pages_of: Pages
) -> None:
    make_asset(alice)
    make_asset(charlie)
    pages = pages_of(bob, is_superuser=True)

    for path in ("/admin/", ASSETS):
        text = pages.get(path).content.decode()
        assert "<td>alpha</td>" in text or 'class="field-tenant_id">alpha' in text
        assert "<td>gamma</td>" in text or 'class="field-tenant_id">gamma' in text


@pytest.mark.parametrize("page", ["change/", "history/", "delete/"])
def test_another_tenants_row_looks_absent(
    alice: Principal, charlie: Principal, pages_of: Pages, page: str
) -> None:
    asset, forecast = make_asset(alice), make_forecast_row(alice)
    pages = pages_of(charlie)

    for path, foreign, absent in (
        (ASSETS, str(asset.pk), "987654321"),
        (FORECASTS, str(forecast.pk), str(uuid.uuid4())),
    ):
        for method in (pages.get, pages.post):
            answers = [method(f"{path}{pk}/{page}") for pk in (foreign, absent)]
            statuses = {answer.status_code for answer in answers}
            assert statuses in ({302}, {403}), statuses
            assert answers[0].headers.get("Location") == answers[1].headers.get("Location")
    assert Asset.objects.count() == Forecast.objects.count() == 1


def test_a_colleague_opens_the_pages_of_the_same_rows(
    alice: Principal, bob: Principal, pages_of: Pages
) -> None:
    asset, forecast = make_asset(alice), make_forecast_row(alice)
    pages = pages_of(bob, roles=frozenset({AI_USER}))

    assert pages.get(f"{ASSETS}{asset.pk}/change/").status_code == 200
    assert pages.get(f"{FORECASTS}{forecast.pk}/change/").status_code == 200


def test_without_a_role_or_a_tenant_nothing_is_seen(alice: Principal, pages_of: Pages) -> None:
    asset = make_asset(alice)
    homeless = Principal("nobody", "", ROLES, "nobody")

    for pages in (pages_of(alice, roles=NONE), pages_of(homeless)):
        assert "Your account sees nothing yet" in pages.get("/admin/").content.decode()
        assert pages.get(ASSETS).status_code == 403
        assert pages.get(f"{ASSETS}{asset.pk}/change/").status_code in (302, 403)


def test_only_a_forecaster_makes_forecasts(alice: Principal, bob: Principal, pages_of: Pages) -> None:
    asset = make_readings(alice, 50 + 10 * np.sin(np.arange(24 * 30) * np.pi / 12), name="Meter")
    asked = {"asset": asset.pk, "horizon_hours": 3, "model_name": "seasonal_naive_v1"}
    reader, forecaster = (
        pages_of(alice, roles=frozenset({ANOMALY_ANALYST})),
        pages_of(bob, roles=frozenset({FORECASTER})),
    )

    refused = reader.post(f"{FORECASTS}add/", asked)
    assert refused.status_code == 403
    assert "You may not do this" in refused.content.decode()
    for page in (f"{ASSETS}{asset.pk}/change/", FORECASTS, "/admin/"):
        assert f"{FORECASTS}add/" not in reader.get(page).content.decode()

    assert forecaster.post(f"{FORECASTS}add/", asked).status_code == 302
    assert Forecast.objects.get().asset_id == asset.asset_id
    assert "Forecast the next 24 hours" in forecaster.get(f"{ASSETS}{asset.pk}/change/").content.decode()


def test_a_forecast_of_another_tenants_asset_cannot_be_asked_for(
    alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    asset = make_readings(alice, np.arange(500.0))

    answer = pages_of(charlie).post(
        f"{FORECASTS}add/", {"asset": asset.pk, "horizon_hours": 3, "model_name": "auto"}
    )

    assert "Select a valid choice" in answer.content.decode()
    assert not Forecast.objects.exists()


def test_nobody_changes_or_deletes_a_forecast(alice: Principal, bob: Principal, pages_of: Pages) -> None:
    forecast = make_forecast_row(alice, asset_id="as-it-was")

    for pages in (pages_of(alice), pages_of(bob, is_superuser=True)):
        pages.post(f"{FORECASTS}{forecast.pk}/change/", {"asset_id": "another"})
        assert pages.post(f"{FORECASTS}{forecast.pk}/delete/", {"post": "yes"}).status_code == 403

    assert Forecast.objects.get().asset_id == "as-it-was"


def test_people_are_the_business_of_superusers(
    alice: Principal, bob: Principal, charlie: Principal, pages_of: Pages
) -> None:
    stranger = make_person(charlie)
    people = "/admin/omarino/user/"

    assert pages_of(alice).get(people).status_code == 403
    assert (
        pages_of(Principal("dora", "alpha", ROLES, "dora")).get(f"{people}{stranger.pk}/change/").status_code
        == 403
    )
    superuser = pages_of(bob, is_superuser=True)
    for page in ("", "add/", f"{stranger.pk}/change/"):
        assert superuser.get(people + page).status_code == 200


@pytest.mark.parametrize("path", ["/admin/", ASSETS, FORECASTS])
def test_the_lists_ask_as_often_for_many_rows_as_for_one(
    alice: Principal, pages_of: Pages, path: str
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert pages.get(path).status_code == 200
        return len(asked)

    pages = pages_of(alice)
    make_readings(alice, [1.0, 2.0])
    make_forecast_row(alice)
    first = queries()
    for number in range(8):
        make_readings(alice, [1.0, 2.0], asset_id=f"meter-{number}")
        make_forecast_row(alice, made_at=datetime(2025, 1, 1 + number, tzinfo=UTC))

    assert queries() == first <= 12  # two of them tell the database whose page it is, and that it was
