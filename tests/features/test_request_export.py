"""What POST /ai/features/export refuses, and what it makes of the same request twice. No worker runs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from features.catalog import FEATURE_SETS
from features.export_actions import MOST_WAITING
from features.models import FeatureExport, TenantFeatureSet
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_asset, make_export

URL = "/ai/features/export"


def body(**said: Any) -> dict[str, Any]:
    return {
        "tenant_id": "alpha",
        "feature_set": "forecast_basic",
        "start_time": "2025-01-01T00:00:00Z",
        "end_time": "2025-02-01T00:00:00Z",
        **said,
    }


def refusal(client_of: ClientOf, who: Principal, **said: Any) -> tuple[int, str, str]:
    response = client_of(who).post(URL, body(**said))
    answer = response.json()
    assert FeatureExport.objects.count() == 0
    return response.status_code, answer["code"], json.dumps(answer, ensure_ascii=False)


def test_an_unknown_set_is_refused_with_what_there_is(alice: Principal, client_of: ClientOf) -> None:
    status, code, text = refusal(client_of, alice, feature_set="forecast")

    assert (status, code) == (422, "unknown_feature_set")
    assert all(name in text for name in FEATURE_SETS)


@pytest.mark.parametrize("end", ["2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z", "2025-01-01T01:00:00+01:00"])
def test_times_in_the_wrong_order_make_no_sense(alice: Principal, client_of: ClientOf, end: str) -> None:
    status, code, text = refusal(client_of, alice, end_time=end)

    assert (status, code) == (400, "times_reversed")
    assert "start_time must be before end_time" in text


@pytest.mark.parametrize(
    "path",
    [
        *("../other/load.parquet", "/etc/passwd", "..", ".", "a/../../b", "a//b", "a/", "./a", ".hidden", "a/.b"),
        *("..\\other", "a\\b", "C:/x", "%2e%2e/x", "~/x", "a b", " a", "a\n", "a\r\nb", "a;b", "", "a\u2028b"),
        *("\uff0e\uff0e/x", "a\u2215b", "\u202egnp", "a\u0301", "\u0430lpha", "x" * 101, "/".join("a" * 11), "x/" * 4000),
        *("/".join(("x" * 95, "y" * 95, "z" * 9)), ["a"], {"a": "b"}, True, 5, 0.5),
    ],
)  # fmt: skip
def test_a_path_stays_in_its_folder(alice: Principal, client_of: ClientOf, path: Any) -> None:
    status, code, _ = refusal(client_of, alice, output_path=path)

    assert (status, code) == (422, "validation_failed")


def test_a_path_with_a_nul_is_refused(alice: Principal, client_of: ClientOf) -> None:
    assert refusal(client_of, alice, output_path="a\0b")[0] in (400, 422)


def test_a_field_that_is_not_known_is_named(alice: Principal, client_of: ClientOf) -> None:
    """Without asset_ids it is all assets of the tenant: who misspells it must not get those."""
    answer = client_of(alice).post(URL, body(asset_id=["meter"], output_pth="x"))

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert [error["field"] for error in answer.json()["errors"]] == ["asset_id", "output_pth"]
    assert "asset_ids, output_path" in answer.json()["errors"][0]["message"]
    assert not FeatureExport.objects.exists()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"asset_ids": [f"m{number}" for number in range(10_001)]}, "validation_failed"),
        ({"asset_ids": []}, "validation_failed"),
        ({"asset_ids": ["a/b"]}, "validation_failed"),
        ({"asset_ids": "meter"}, "validation_failed"),
        ({"asset_ids": ["no-such-meter"]}, "unknown_assets"),
        ({"end_time": "2125-01-01T00:00:00Z"}, "validation_failed"),
        ({"start_time": "1925-01-01T00:00:00Z"}, "validation_failed"),
        ({"start_time": 1735689600}, "validation_failed"),
        ({"start_time": "soon"}, "validation_failed"),
        ({"start_time": None}, "validation_failed"),
        ({"end_time": "2025-13-01T00:00:00Z"}, "validation_failed"),
        ({"end_time": "9999-12-31T23:59:59-23:59"}, "validation_failed"),
        ({"start_time": "0001-01-01T00:00:00+23:59"}, "validation_failed"),
        ({"feature_set": 7}, "unknown_feature_set"),
        ({"feature_set": ["forecast_basic"]}, "validation_failed"),
        ({"feature_set": "x" * 65}, "validation_failed"),
        ({"feature_set": " forecast_basic"}, "unknown_feature_set"),
    ],
    ids=lambda said: str(said)[:60],
)
def test_odd_input_is_refused(
    alice: Principal, client_of: ClientOf, said: dict[str, Any], expected: str
) -> None:
    assert refusal(client_of, alice, **said)[:2] == (422, expected)


def test_a_million_assets_and_numbers_that_are_none_are_refused(
    alice: Principal, client_of: ClientOf
) -> None:
    assert refusal(client_of, alice, asset_ids=[f"m{number}" for number in range(1_000_000)])[0] == 413
    text = json.dumps(body(start_time=float("nan")))
    answer = client_of(alice).generic("POST", URL, text, "application/json")
    assert answer.status_code == 400


def test_a_tenant_has_no_more_than_so_many_waiting(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    for _ in range(MOST_WAITING):
        make_export(alice)

    answer = client_of(alice).post(URL, body())
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_exports")
    assert client_of(charlie).post(URL, body(tenant_id="gamma")).status_code == 202


def test_the_same_request_twice_makes_two_rows(alice: Principal, client_of: ClientOf) -> None:
    said = body(output_path="load.parquet")
    first, second = (client_of(alice).post(URL, said).json() for _ in range(2))

    assert first["export_id"] != second["export_id"]
    assert FeatureExport.objects.count() == 2


def test_under_one_key_it_makes_one(alice: Principal, bob: Principal, client_of: ClientOf) -> None:
    make_asset(alice, asset_id="a")
    key = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
    client = client_of(alice)
    first = client.post(URL, body(asset_ids=["a"]), headers=key)
    again = client.post(URL, body(asset_ids=["a"], end_time="2025-02-01T01:00:00+01:00"), headers=key)
    other = client.post(URL, body(), headers=key)

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["export_id"] == again.json()["export_id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert client_of(bob).post(URL, body(), headers=key).status_code == 202  # a key is its caller's own
    assert FeatureExport.objects.count() == 2


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "two words", "schlüssel"])
def test_a_key_is_visible_ascii(alice: Principal, client_of: ClientOf, key: str) -> None:
    answer = client_of(alice).post(URL, body(), headers={"Idempotency-Key": key})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_invalid")


@pytest.mark.django_db(transaction=True)
def test_under_one_key_at_the_same_moment_it_makes_one(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)

    def ask(_: int) -> tuple[int, str]:
        try:
            answer = client.post(URL, body(), headers={"Idempotency-Key": "k"})
            return answer.status_code, answer.json()["export_id"]
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(ask, range(20)))

    assert sorted(status for status, _ in answers) == [200] * 19 + [202]
    assert len({export_id for _, export_id in answers}) == 1


def test_cancel_and_retry_say_what_cannot_be(alice: Principal, client_of: ClientOf) -> None:
    client, row = client_of(alice), make_export(alice)
    address = f"/ai/features/exports/{row.pk}"

    early = client.post(f"{address}/retry")
    cancelled = [client.post(f"{address}/cancel") for _ in range(2)]
    retried = client.post(f"{address}/retry")
    FeatureExport.objects.filter(pk=row.pk).update(
        status="completed", row_count=1, file_size_bytes=1, sha256="0" * 64
    )
    late = [client.post(f"{address}/cancel"), client.post(f"{address}/retry")]

    assert (early.status_code, early.json()["code"]) == (409, "job_not_retryable")
    assert [(answer.status_code, answer.json()["status"]) for answer in cancelled] == [(200, "cancelled")] * 2
    assert (retried.status_code, retried.json()["status"]) == (202, "pending")
    assert [(answer.status_code, answer.json()["code"]) for answer in late] == [
        (409, "job_not_cancellable"),
        (409, "job_not_retryable"),
    ]


def test_a_set_of_the_tenants_own_is_exported_as_it_is_now(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    TenantFeatureSet.objects.create(
        tenant_id="alpha", name="mine", version=3, features=["lag_24h", "month"], made_by="alice"
    )

    asked = client_of(alice).post(URL, body(feature_set="mine"))
    other = client_of(charlie).post(URL, body(feature_set="mine", tenant_id="gamma"))

    said = asked.json()
    assert (asked.status_code, said["feature_set_version"], said["features"]) == (
        202,
        3,
        ["lag_24h", "month"],
    )
    assert (other.status_code, other.json()["code"]) == (422, "unknown_feature_set")
