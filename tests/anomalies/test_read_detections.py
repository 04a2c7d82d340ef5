"""GET /ai/anomaly/{id} and GET /ai/anomalies."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_detection_row


def test_the_list_is_newest_first_and_without_points(alice: Principal, client_of: ClientOf) -> None:
    older, newer = (make_detection_row(alice, made_at=datetime(2025, 1, day, tzinfo=UTC)) for day in (1, 2))

    answer = client_of(alice).get("/ai/anomalies").json()

    assert [row["detection_id"] for row in answer["detections"]] == [str(newer.id), str(older.id)]
    assert (answer["total"], answer["limit"], answer["offset"]) == (2, 50, 0)
    assert "anomalies" not in answer["detections"][0]
    assert answer["detections"][0]["summary"]["anomaly_rate"] == pytest.approx(1 / 168)


def test_the_list_is_filtered(alice: Principal, client_of: ClientOf) -> None:
    make_detection_row(alice, asset_id="pv", method="iqr")
    make_detection_row(alice, asset_id="meter", method="z_score")
    client = client_of(alice)

    assert client.get("/ai/anomalies?asset_id=pv").json()["total"] == 1
    assert client.get("/ai/anomalies?method=z_score").json()["detections"][0]["asset_id"] == "meter"
    assert client.get("/ai/anomalies?method=arima").status_code == 422


def test_a_colleague_reads_it_and_another_tenant_does_not(
    alice: Principal, bob: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    row = make_detection_row(alice)

    assert client_of(bob).get(f"/ai/anomaly/{row.id}").json()["anomalies"] == row.anomalies
    foreign = client_of(charlie).get(f"/ai/anomaly/{row.id}")
    absent = client_of(charlie).get(f"/ai/anomaly/{uuid.uuid4()}")
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json() | {"request_id": ""} == absent.json() | {"request_id": ""}
    assert client_of(charlie).get("/ai/anomalies").json()["total"] == 0
