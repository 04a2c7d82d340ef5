"""POST /ai/features/readings: JSON, CSV and Parquet."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from rest_framework.test import APIClient

from features import views
from features.models import Asset, Reading
from omarino.authentication import Principal
from omarino.permissions import ROLES
from tests.conftest import ClientOf

URL = "/ai/features/readings"
PARQUET = "application/vnd.apache.parquet"


def body(*readings: Any, **fields: Any) -> dict[str, Any]:
    return {"tenant_id": "alpha", "asset_id": "main-meter", "readings": list(readings), **fields}


def at(hour: int, value: Any = 1.0, **fields: Any) -> dict[str, Any]:
    return {"timestamp": f"2025-01-01T{hour:02}:00:00Z", "value": value, **fields}


def stored(metric: str = "value") -> dict[int, float]:
    rows = Reading.objects.for_tenant("alpha").filter(asset_id="main-meter", metric=metric)
    return {row.timestamp.hour: row.value for row in rows.order_by("timestamp")}


def test_readings_are_stored_and_counted(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post(URL, body(at(0, 1.5), at(1, 0, quality="Estimated"), unit="kW"))

    assert response.status_code == 200
    assert response.json() == {
        "accepted": 2,
        "updated": 0,
        "unchanged": 0,
        "duplicates": 0,
        "rejected": [],
        "rejected_total": 0,
    }
    assert stored() == {0: 1.5, 1: 0.0}
    assert Reading.objects.get(value=0).quality == "estimated"
    assert Asset.objects.get().unit == "kW"


def test_the_same_readings_again_change_nothing(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    client.post(URL, body(at(0), at(1)))
    before = list(Reading.objects.order_by("timestamp").values())

    again = client.post(URL, body(at(0), at(1))).json()

    assert (again["accepted"], again["updated"], again["unchanged"]) == (0, 0, 2)
    assert list(Reading.objects.order_by("timestamp").values()) == before


def test_a_corrected_reading_is_updated(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    client.post(URL, body(at(0, 1), at(1, 2)))

    again = client.post(URL, body(at(0, 1), at(1, 3), at(2, 4))).json()

    assert (again["accepted"], again["updated"], again["unchanged"]) == (1, 1, 1)
    assert stored() == {0: 1.0, 1: 3.0, 2: 4.0}


def test_a_reading_may_have_several_metrics(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post(
        URL,
        body(
            {"timestamp": "2025-01-01T00:00:00Z", "values": {"value": 1, "reactive": 2}},
            {"timestamp": "2025-01-01T01:00:00Z", "values": {"reactive": None, "p q": 5}},
        ),
    )

    assert response.json()["rejected"] == [
        {
            "row": 2,
            "reason": "'p q' is no name of a metric: at most 64 letters, digits or . _ : -, beginning with a "
            "letter or digit.",
        },
        {"row": 2, "reason": "reactive: no value"},
    ]
    assert (stored(), stored("reactive")) == ({0: 1.0}, {0: 2.0})


def test_a_reading_may_name_its_metric_as_a_row_of_a_table_does(
    alice: Principal, client_of: ClientOf
) -> None:
    response = client_of(alice).post(
        URL,
        body(
            at(0, 1, metric="power"), at(0, 40, metric="temperature"), at(0, 7), at(1, None, metric="power")
        ),
    )

    assert response.json()["accepted"] == 3
    assert response.json()["rejected"] == [{"row": 4, "reason": "power: no value"}]
    assert (stored("power"), stored("temperature"), stored()) == ({0: 1.0}, {0: 40.0}, {0: 7.0})


@pytest.mark.parametrize(
    ("url", "field"), [(URL, "metric"), (URL, "Metrics"), (f"{URL}?metric=power", "metric")]
)
def test_a_metric_for_all_readings_is_refused_and_not_taken_for_nothing(
    alice: Principal, client_of: ClientOf, url: str, field: str
) -> None:
    response = client_of(alice).post(url, body(at(0)) if "?" in url else {**body(at(0)), field: "power"})

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["field"], error["message"]) == (field, "Say the metric in each reading, beside its value.")
    assert not Reading.objects.exists()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"timestamp": "2025-01-01T05:00:00Z"}, "no value"),
        (at(5, metric=None), "metric is not a text"),
        (
            {"timestamp": "2025-01-01T05:00:00Z", "metric": "power", "values": {"power": 3}},
            "values stands alone: it names each metric and its value",
        ),
        (at(5, values={"power": 3}), "values stands alone: it names each metric and its value"),
        (
            at(5, Metric="power"),
            "'Metric' is no part of a reading; that is timestamp, metric, value, values, quality",
        ),
        (at(5, None), "no value"),
        (at(5, "7"), "'7' is not a number"),
        (at(5, True), "True is not a number"),
        (at(5, 2e15), "2e+15 is beyond 1e+15"),
        (at(5, [1]), "[1] is not a number"),
        ({"value": 1}, "no timestamp"),
        ({"timestamp": 1735689600, "value": 1}, "no timestamp"),
        ({"timestamp": "01.02.2025 00:00", "value": 1}, "'01.02.2025 00:00' is not an ISO 8601 timestamp"),
        ({"timestamp": "2300-01-01", "value": 1}, "the timestamp is outside 1970..2199"),
        (at(5, quality="x" * 33), "quality is not a text of at most 32 characters"),
        (at(5, quality=3), "quality is not a text of at most 32 characters"),
        ({"timestamp": "2025-01-01T05:00:00Z", "values": 3}, "values is not an object of numbers"),
        ({"timestamp": "2025-01-01T05:00:00Z", "values": {}}, "values is not an object of numbers"),
        ("2025-01-01", "not an object"),
        (None, "not an object"),
    ],
)
def test_a_bad_reading_is_named_and_the_others_are_stored(
    alice: Principal, client_of: ClientOf, bad: Any, reason: str
) -> None:
    response = client_of(alice).post(URL, body(at(0), bad, at(2)))

    assert response.status_code == 200
    assert response.json()["rejected"] == [{"row": 2, "reason": reason}]
    assert stored() == {0: 1.0, 2: 1.0}


def test_when_nothing_can_be_taken_the_answer_is_no_success(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post(URL, body(at(0, "x")))

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "nothing_taken")
    assert problem["rejected"] == [{"row": 1, "reason": "'x' is not a number"}]
    assert not Asset.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "status", "field"),
    [
        ({"readings": []}, 422, "readings"),
        ({"readings": {}}, 422, "readings"),
        ({"asset_id": "../etc"}, 422, "asset_id"),
        ({"asset_id": ""}, 422, "asset_id"),
        ({"unit": "x" * 33}, 422, "unit"),
    ],
)
def test_a_malformed_request_names_its_field(
    alice: Principal, client_of: ClientOf, wrong: dict[str, Any], status: int, field: str
) -> None:
    response = client_of(alice).post(URL, body(at(0)) | wrong)

    assert response.status_code == status
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_another_unit_than_the_assets_is_a_conflict(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    client.post(URL, body(at(0), unit="kW"))

    response = client.post(URL, body(at(1), unit="MW"))

    assert (response.status_code, response.json()["code"]) == (409, "unit_mismatch")
    assert stored() == {0: 1.0}


def test_another_tenant_cannot_be_named(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post(URL, body(at(0), tenant_id="gamma"))

    assert (response.status_code, response.json()["code"]) == (403, "tenant_mismatch")
    assert not Reading.objects.exists()


def test_tenants_with_assets_of_one_name_do_not_meet(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    client_of(alice).post(URL, body(at(0, 1)))
    client_of(charlie).post(URL, body(at(0, 99), tenant_id="gamma"))

    assert stored() == {0: 1.0}
    assert set(Reading.objects.values_list("tenant_id", "value")) == {("alpha", 1.0), ("gamma", 99.0)}


@pytest.mark.parametrize("role", sorted(ROLES))
def test_any_role_may_store(alice: Principal, client_of: ClientOf, role: str) -> None:
    assert client_of(alice, roles=frozenset({role})).post(URL, body(at(0))).status_code == 200


def test_no_role_may_not_store(alice: Principal, client_of: ClientOf) -> None:
    assert client_of(alice, roles=frozenset()).post(URL, body(at(0))).status_code == 403


def test_no_token_may_not_store(db: None) -> None:
    assert APIClient().post(URL, body(at(0))).status_code == 401


def post_table(client: APIClient, data: bytes, content_type: str = "text/csv", **query: Any) -> Any:
    said = "&".join(f"{name}={value}" for name, value in {"asset_id": "main-meter", **query}.items())
    return client.post(f"{URL}?{said}", data, content_type=content_type)


CSV = b"timestamp,value\n2025-01-01T00:00:00Z,1.5\n2025-01-01T01:00:00Z,x\n2025-01-01T02:00:00Z,3\n"


def test_csv_is_stored_and_bad_lines_are_named(alice: Principal, client_of: ClientOf) -> None:
    response = post_table(client_of(alice), CSV, "text/csv; charset=utf-8", unit="kW")

    assert response.status_code == 200
    assert response.json()["accepted"] == 2
    assert response.json()["rejected"] == [
        {"row": 3, "reason": "'x' is not a number with the decimal mark '.'"}
    ]
    assert stored() == {0: 1.5, 2: 3.0}


def test_csv_of_a_local_clock_and_several_metrics(alice: Principal, client_of: ClientOf) -> None:
    data = b"time,import,export\n2025-01-01 02:00,1,2\n"
    response = post_table(client_of(alice), data, wide="true", timezone="Europe/Berlin")

    assert response.json()["accepted"] == 2
    assert (stored("import"), stored("export")) == ({1: 1.0}, {1: 2.0})


def test_parquet_is_stored(alice: Principal, client_of: ClientOf) -> None:
    sink = io.BytesIO()
    times = pa.array([datetime(2025, 1, 1, 4, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    pyarrow.parquet.write_table(pa.table({"timestamp": times, "value": [2.5]}), sink)

    assert post_table(client_of(alice), sink.getvalue(), PARQUET).json()["accepted"] == 1
    assert stored() == {4: 2.5}


@pytest.mark.parametrize(
    ("data", "content_type", "query", "status", "code"),
    [
        (CSV, "text/csv", {"asset_id": ""}, 422, "validation_failed"),
        (CSV, "text/csv", {"timezone": "Mars"}, 422, "unknown_time_zone"),
        (CSV, "text/csv", {"tenant_id": "gamma"}, 403, "tenant_mismatch"),
        (b"", "text/csv", {}, 400, "malformed_body"),
        (b"a,b\n1,2\n", "text/csv", {}, 422, "column_not_found"),
        (b"\xff\xfe\x00", "text/csv", {}, 422, "file_unreadable"),
        (gzip.compress(CSV, mtime=0), "text/csv", {}, 422, "file_unreadable"),
        (b"PAR1PAR1", PARQUET, {}, 422, "file_unreadable"),
        (CSV, "application/xml", {}, 415, "unsupported_media_type"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(
    alice: Principal,
    client_of: ClientOf,
    data: bytes,
    content_type: str,
    query: dict[str, str],
    status: int,
    code: str,
) -> None:
    response = post_table(client_of(alice), data, content_type, **query)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert not Asset.objects.exists()


def test_too_many_readings_are_refused_whole(
    alice: Principal, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAX_READINGS", 2)
    monkeypatch.setattr("features.serializers.MAX_READINGS", 2)
    client = client_of(alice)

    for response in (post_table(client, CSV), client.post(URL, body(at(0), at(1), at(2)))):
        assert (response.status_code, response.json()["code"]) == (413, "too_many_readings")
    assert not Asset.objects.exists()


def test_too_large_a_body_is_refused(
    alice: Principal, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MAX_BODY_BYTES", 50)
    monkeypatch.setattr(views.ReadingsView, "max_body_bytes", 50)
    client = client_of(alice)

    for response in (post_table(client, CSV), client.post(URL, body(at(0)))):
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_a_hundred_thousand_readings_are_one_request(alice: Principal, client_of: ClientOf) -> None:
    first = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    readings = [
        {"timestamp": f"{datetime.fromtimestamp(first + 900 * step, UTC):%Y-%m-%dT%H:%M:%SZ}", "value": step}
        for step in range(100_000)
    ]
    data = orjson.dumps(body(*readings))

    response = client_of(alice).post(URL, data, content_type="application/json")

    assert response.json()["accepted"] == 100_000
    assert Reading.objects.count() == 100_000
