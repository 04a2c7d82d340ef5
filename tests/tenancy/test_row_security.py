"""The second wall: a query that forgot its tenant shows nothing of another, on the real database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.core.checks import run_checks
from django.db import ProgrammingError, connection, transaction
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anomalies.models import Detection
from features.models import Asset
from forecasting.models import Forecast
from omarino import row_security
from omarino.authentication import Principal
from omarino.models import User
from omarino.permissions import MayRead
from registry.models import ModelVersion, RegisteredModel
from tests.conftest import ClientOf
from tests.factories import make_asset, make_detection_row, make_forecast_row, make_version

WALLED = [Asset, Forecast, Detection, RegisteredModel, ModelVersion]


def rows() -> dict[str, list[str]]:
    """What a query without `for_tenant` shows, by table."""
    return {
        model.__name__: sorted(model._default_manager.values_list("tenant_id", flat=True)) for model in WALLED
    }


class CarelessView(APIView):
    permission_classes = [MayRead]

    def get(self, request: Request) -> Response:
        if "reconnect" in request.query_params:
            connection.close()
        return Response(rows())

    def post(self, request: Request) -> Response:
        changed = Asset.objects.update(name="mine now")
        deleted, _ = Forecast.objects.all().delete()
        return Response({"changed": changed, "deleted": deleted})

    def put(self, request: Request) -> Response:
        with transaction.atomic():
            Asset.objects.create(tenant_id="alpha", asset_id="slipped-in")
        return Response()

    def patch(self, request: Request) -> Response:
        try:
            with transaction.atomic():
                Asset.objects.create(tenant_id="gamma", asset_id="a" * 500)
        except Exception:  # noqa: BLE001  whatever it is, it is rolled back
            return Response(rows())
        return Response(status=500)


def careless_page(request: HttpRequest) -> JsonResponse:
    return JsonResponse(rows())


urlpatterns = [path("careless", CarelessView.as_view()), path("admin/careless", careless_page)]


@pytest.fixture
def rows_of_both(db: None, alice: Principal, charlie: Principal) -> None:
    for owner in (alice, charlie):
        make_asset(owner)
        make_forecast_row(owner)
        make_detection_row(owner)
        make_version(owner)


@pytest.fixture
def careless(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


everything = {model.__name__: ["alpha", "gamma"] for model in WALLED}
of_alpha = {name: ["alpha"] for name in everything}
of_gamma = {name: ["gamma"] for name in everything}


@pytest.mark.usefixtures("careless")
def test_a_forgotten_filter_shows_the_callers_rows_alone(
    client_of: ClientOf, charlie: Principal, rows_of_both: None
) -> None:
    assert rows() == everything
    assert client_of(charlie).get("/careless").json() == of_gamma
    assert rows() == everything  # the connection is nobody's again


@pytest.mark.usefixtures("careless")
def test_a_forgotten_filter_writes_the_callers_rows_alone(
    client_of: ClientOf, charlie: Principal, rows_of_both: None
) -> None:
    assert client_of(charlie).post("/careless").json() == {"changed": 1, "deleted": 1}
    assert Asset.objects.get(tenant_id="alpha").name == ""
    assert Forecast.objects.filter(tenant_id="alpha").exists()


@pytest.mark.usefixtures("careless")
def test_a_row_of_another_tenant_cannot_be_written(
    client_of: ClientOf, charlie: Principal, rows_of_both: None
) -> None:
    assert client_of(charlie).put("/careless").status_code == 500
    assert not Asset.objects.filter(asset_id="slipped-in").exists()


@pytest.mark.usefixtures("careless")
def test_a_rollback_takes_the_wall_not_away(
    client_of: ClientOf, charlie: Principal, rows_of_both: None
) -> None:
    assert client_of(charlie).patch("/careless").json() == of_gamma


@pytest.mark.usefixtures("careless")
@pytest.mark.django_db(transaction=True)
def test_a_connection_made_anew_within_a_request_has_the_wall(
    client_of: ClientOf, alice: Principal, charlie: Principal, rows_of_both: None
) -> None:
    assert client_of(charlie).get("/careless?reconnect").json() == of_gamma
    assert client_of(alice).get("/careless").json() == of_alpha
    assert rows() == everything


def test_who_is_told_no_tenant_sees_all_as_workers_and_commands_must(rows_of_both: None) -> None:
    assert rows() == everything


@pytest.fixture
def confined(rows_of_both: None) -> Iterator[None]:
    row_security.confine("gamma")
    yield
    row_security.release()


@pytest.mark.parametrize("model", WALLED)
def test_raw_sql_meets_the_wall_as_well(confined: None, model: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT tenant_id FROM {model._meta.db_table}")  # noqa: S608
        assert cursor.fetchall() == [("gamma",)]
    with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        Asset.objects.create(tenant_id="alpha", asset_id="slipped-in")


@pytest.mark.usefixtures("careless")
def test_people_see_their_tenant_on_the_pages_and_superusers_all(rows_of_both: None) -> None:
    staff = User.objects.create_user("gina", tenant_id="gamma", is_staff=True)
    superuser = User.objects.create_superuser("root", tenant_id="alpha")

    seen = []
    for person in (staff, superuser):
        client = Client()
        client.force_login(person)
        seen.append(client.get("/admin/careless").json())

    assert seen == [of_gamma, everything]
    assert rows() == everything


def test_every_table_of_rows_of_a_tenant_has_the_wall_but_for_hypertables(db: None) -> None:
    assert row_security.unwalled(connection) == []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid WHERE relkind IN ('r', 'p')"
            " AND attname = 'tenant_id' AND relnamespace = 'public'::regnamespace AND NOT relforcerowsecurity"
        )
        without = {name for (name,) in cursor.fetchall()}
    # people sign in before their tenant is known; the rest are hypertables, or what is made of them, where there is
    # TimescaleDB
    made = {"ai_features", "hourly_features_kept", "daily_features_kept"}
    assert without - made == {"omarino_user", "timeseries_data", "weather_features"}


def test_a_missing_wall_is_found_by_the_check_and_built_again(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE features_asset NO FORCE ROW LEVEL SECURITY")
        cursor.execute(f"DROP POLICY {row_security.POLICY} ON forecasting_forecast")

    (found,) = [message for message in run_checks(databases=["default"]) if message.id == "omarino.E003"]
    assert "features_asset, forecasting_forecast" in found.msg
    row_security.build(cast(Any, connection))
    assert not [message for message in run_checks(databases=["default"]) if message.id == "omarino.E003"]
