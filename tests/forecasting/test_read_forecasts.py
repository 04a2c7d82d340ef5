"""GET /ai/forecast/{id} and GET /ai/forecasts."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_forecast_row


def test_the_list_is_newest_first_and_without_steps(alice: Principal, client_of: ClientOf) -> None:
    older, newer = (make_forecast_row(alice, made_at=datetime(2025, 1, day, tzinfo=UTC)) for day in (1, 2))

    answer = client_of(alice).get("/ai/forecasts").json()

    assert [row["forecast_id"] for row in answer["forecasts"]] == [str(newer.id), str(older.id)]
    assert (answer["total"], answer["limit"], answer["offset"]) == (2, 50, 0)
    assert "forecasts" not in answer["forecasts"][0]


def test_the_list_is_filtered_and_paged(alice: Principal, client_of: ClientOf) -> None:
    for day in range(1, 4):
        make_forecast_row(
            alice, asset_id="pv", forecast_type="generation", made_at=datetime(2025, 1, day, tzinfo=UTC)
        )
    make_forecast_row(alice, asset_id="meter", forecast_type="load")
    client = client_of(alice)

    page = client.get("/ai/forecasts?asset_id=pv&limit=2&offset=1").json()

    assert (len(page["forecasts"]), page["total"]) == (2, 3)
    assert {row["asset_id"] for row in page["forecasts"]} == {"pv"}
    assert client.get("/ai/forecasts?forecast_type=load").json()["total"] == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=ten", "offset=-1", "forecast_type=wind"])
def test_a_bad_query_is_named(alice: Principal, client_of: ClientOf, query: str) -> None:
    response = client_of(alice).get(f"/ai/forecasts?{query}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == query.partition("=")[0]


def test_a_colleague_reads_it_and_another_tenant_does_not(
    alice: Principal, bob: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    row = make_forecast_row(alice)

    assert client_of(bob).get(f"/ai/forecast/{row.id}").status_code == 200
    foreign = client_of(charlie).get(f"/ai/forecast/{row.id}")
    absent = client_of(charlie).get(f"/ai/forecast/{uuid.uuid4()}")
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json() | {"request_id": ""} == absent.json() | {"request_id": ""}
    assert client_of(charlie).get("/ai/forecasts").json()["total"] == 0


def test_the_steps_follow_each_other_by_the_interval(alice: Principal, client_of: ClientOf) -> None:
    row = make_forecast_row(alice, interval_minutes=15, p50=[1.0, 2.0, 3.0])

    steps = client_of(alice).get(f"/ai/forecast/{row.id}").json()["forecasts"]

    times = [datetime.fromisoformat(step["timestamp"]) for step in steps]
    assert times == [row.first_target_at + index * timedelta(minutes=15) for index in range(3)]
