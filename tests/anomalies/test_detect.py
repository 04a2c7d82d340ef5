"""POST /ai/anomaly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from anomalies.actions import MOST_SCORES
from anomalies.models import Detection
from omarino.authentication import Principal
from omarino.permissions import AI_USER, FORECASTER
from tests.conftest import ClientOf
from tests.factories import make_readings

MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
METHODS = ["z_score", "iqr", "isolation_forest", "local_outlier_factor", "prophet_decomposition"]


def hourly(days: int, *, start: datetime = MONDAY, seed: int = 7) -> np.ndarray[Any, Any]:
    """A load with a daily wave, a lower weekend and noise of one standard deviation, kW."""
    hour = np.arange(days * 24)
    weekend = (hour // 24 + start.weekday()) % 7 >= 5
    wave = 60 + 20 * np.sin((hour % 24 - 9) / 24 * 2 * np.pi) - 15 * weekend
    return np.asarray(np.round(wave + np.random.default_rng(seed).normal(0, 1, hour.size), 3))


def points(values: Any, *, start: datetime = MONDAY, minutes: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "timestamp": (start + step * timedelta(minutes=minutes)).isoformat(),
            "value": None if np.isnan(value) else float(value),
        }
        for step, value in enumerate(values)
    ]


def body_of(values: Any = None, **changes: Any) -> dict[str, Any]:
    series = {} if values is None else {"time_series": points(values)}
    return {"tenant_id": "alpha", "asset_id": "main-meter", **series, **changes}


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


def detect(client: APIClient, values: Any = None, **changes: Any) -> dict[str, Any]:
    response = client.post("/ai/anomaly", body_of(values, **changes))
    assert response.status_code == 200, response.json()
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_a_spike_and_says_what_was_expected(client: APIClient, method: str) -> None:
    values = hourly(28)
    truth = 60 + 20 * np.sin((15 - 9) / 24 * 2 * np.pi)  # 80.0, at 15:00 on a Wednesday
    spiked = 16 * 24 + 15
    values[spiked] = 140.0

    answer = detect(client, values, method=method)

    assert set(answer) >= {"detection_id", "tenant_id", "asset_id", "anomalies", "summary", "generated_at"}
    found = next(point for point in answer["anomalies"] if point["timestamp"] == "2025-03-19T15:00:00Z")
    assert (found["value"], found["is_anomaly"], found["severity"]) == (140.0, True, "critical")
    expected = found["expected_range"]
    assert expected["mean"] == pytest.approx(truth, abs=2.0)
    assert expected["min"] < truth < expected["max"] < 100
    assert 0.5 < expected["std"] < 3
    assert found["kind"] == "spike"
    assert found["explanation"].startswith("140.0 at 15:00; ")
    assert found["explanation"].endswith(" expected: a spike.")
    assert answer["summary"]["method_used"] == method
    assert answer["summary"]["total_points"] == 28 * 24
    assert answer["summary"]["anomalies_detected"] == len(answer["anomalies"]) <= 15
    assert answer["summary"]["max_anomaly_score"] == max(p["anomaly_score"] for p in answer["anomalies"])


def test_isolation_forest_and_the_threshold_of_the_settings_are_the_defaults(client: APIClient) -> None:
    summary = detect(client, hourly(14))["summary"]

    assert (summary["method_used"], summary["sensitivity"]) == ("isolation_forest", 3.0)


def test_the_detection_is_kept_as_it_was_answered(client: APIClient) -> None:
    values = hourly(28)
    values[400] = 200.0

    answer = detect(client, values)

    assert client.get(f"/ai/anomaly/{answer['detection_id']}").json() == answer
    row = Detection.objects.for_tenant("alpha").get()
    assert (row.series_source, len(row.inputs_digest), row.total_points) == ("body", 64, 672)


def test_include_scores_answers_every_point_and_keeps_the_flagged_ones(client: APIClient) -> None:
    values = hourly(28)
    values[400] = 200.0

    answer = detect(client, values, include_scores=True)

    assert len(answer["anomalies"]) == 672
    flagged = [point for point in answer["anomalies"] if point["is_anomaly"]]
    assert len(flagged) == answer["summary"]["anomalies_detected"]
    assert {point["severity"] for point in answer["anomalies"] if not point["is_anomaly"]} == {None}
    kept = client.get(f"/ai/anomaly/{answer['detection_id']}").json()
    assert kept["anomalies"] == flagged


def test_a_less_sensitive_look_flags_a_part_of_what_a_more_sensitive_one_does(client: APIClient) -> None:
    values = hourly(28)
    values[100], values[400:406] = 90.0, 30.0
    flagged = [
        {point["timestamp"] for point in detect(client, values, sensitivity=sensitivity)["anomalies"]}
        for sensitivity in (1, 2, 3, 4.5, 5)
    ]

    for more, less in pairwise(flagged):
        assert less <= more
    assert len(flagged[0]) > len(flagged[-1])


def test_a_gap_is_told_once_where_nothing_was_sent_and_at_each_null(client: APIClient) -> None:
    values = hourly(28)
    sent = points(values)
    absent, null = sent[200:212], range(400, 412)
    series = [
        {**point, "value": None} if index in null else point
        for index, point in enumerate(sent)
        if point not in absent
    ]

    answer = detect(client, time_series=series, method="z_score")

    gaps = [point for point in answer["anomalies"] if point["kind"] == "missing_block"]
    assert gaps[0]["timestamp"] == "2025-03-11T08:00:00Z"  # 200 hours after MONDAY
    assert len(gaps) == 1 + 12
    assert all(point["value"] is None for point in gaps)
    assert gaps[0]["explanation"].startswith("No reading at 08:00, in a gap of 12 hours; ")


def test_training_data_says_what_is_usual(client: APIClient) -> None:
    training, window = hourly(42), hourly(2, start=MONDAY + timedelta(days=42), seed=8)
    window[30] = 20.0
    series = points(window, start=MONDAY + timedelta(days=42))

    alone = detect(client, time_series=series, method="z_score")
    taught = detect(client, time_series=series, method="z_score", training_data=points(training))

    assert any("too few days" in warning for warning in alone["warnings"])
    assert taught["summary"]["training_points"] == 42 * 24
    assert "2025-04-15T06:00:00Z" in [point["timestamp"] for point in taught["anomalies"]]


def test_without_a_series_the_newest_stored_readings_are_judged(alice: Principal, client: APIClient) -> None:
    values = hourly(42)
    values[-10] = 300.0
    make_readings(alice, values, start=MONDAY, unit="kW")

    answer = detect(client, lookback_hours=72, method="iqr")

    assert answer["summary"]["total_points"] == 72
    assert answer["summary"]["training_points"] == 42 * 24 - 72
    assert answer["unit"] == "kW"
    (found,) = [point for point in answer["anomalies"] if point["value"] == 300.0]
    assert found["timestamp"] == "2025-04-13T14:00:00Z"  # ten hours before the end of day 42
    assert found["explanation"].startswith("300.0 kW at 14:00; ")


def test_stored_readings_from_as_of_on_are_not_looked_at(alice: Principal, client: APIClient) -> None:
    values = hourly(42)
    values[-24:] = 500.0
    make_readings(alice, values, start=MONDAY)

    answer = detect(client, as_of=(MONDAY + timedelta(days=41)).isoformat(), method="z_score")

    assert answer["window_end"] == "2025-04-12T23:00:00Z"
    assert all(point["value"] < 500 for point in answer["anomalies"])


def test_the_clock_in_a_sentence_is_the_sites(alice: Principal, client: APIClient) -> None:
    values = hourly(28)
    values[400] = 200.0  # 16:00 UTC
    make_readings(alice, values, timezone="America/New_York", start=MONDAY)

    answer = detect(client, values, method="z_score")

    (found,) = [point for point in answer["anomalies"] if point["value"] == 200.0]
    assert "at 12:00;" in found["explanation"]


def test_without_readings_it_says_where_to_load_them(client: APIClient) -> None:
    response = client.post("/ai/anomaly", body_of())

    assert (response.status_code, response.json()["code"]) == (422, "too_few_readings")
    assert "/ai/features/readings" in response.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sensitivity": 0.9}, "sensitivity"),
        ({"sensitivity": 5.1}, "sensitivity"),
        ({"method": "arima"}, "method"),
        ({"lookback_hours": 0}, "lookback_hours"),
        ({"lookback_hours": 8761}, "lookback_hours"),
        ({"time_series": [{"timestamp": "2025-01-01", "value": 1}]}, "time_series"),
        ({"time_series": [{"timestamp": "2025-01-01", "value": "1"}] * 2}, "time_series.0.value"),
        ({"training_data": "last week"}, "training_data"),
        ({"asset_id": "a/../b"}, "asset_id"),
        ({"as_of": "soon"}, "as_of"),
        ({"as_of": "0001-01-01T00:00:00Z"}, "as_of"),
        ({"as_of": "9999-12-31T23:59:59Z"}, "as_of"),
    ],
)
def test_a_bad_field_is_named(client: APIClient, changes: dict[str, Any], field: str) -> None:
    response = client.post("/ai/anomaly", body_of(**{"time_series": points([1.0, 2.0]), **changes}))

    assert response.status_code == 422, response.json()
    assert field in [error["field"] for error in response.json()["errors"]]


def test_a_million_points_are_refused_with_the_limit(client: APIClient) -> None:
    series = [{"timestamp": "2025-01-01", "value": 1}] * 200_001

    response = client.post("/ai/anomaly", body_of(time_series=series))

    assert (response.status_code, response.json()["code"]) == (413, "too_many_points")
    assert "200000" in response.json()["detail"]


def test_more_scores_than_an_answer_holds_are_refused_with_the_limit(
    alice: Principal, client: APIClient
) -> None:
    make_readings(alice, np.zeros(MOST_SCORES + 1), start=MONDAY, interval_minutes=1)

    response = client.post("/ai/anomaly", body_of(lookback_hours=8760, include_scores=True))

    assert (response.status_code, response.json()["code"]) == (413, "too_many_scores")
    assert "200000" in response.json()["detail"]


def test_mixed_zones_and_the_future_are_times_like_others(client: APIClient) -> None:
    series = [
        {"timestamp": "2199-01-01T01:00:00+01:00", "value": 1.0},
        {"timestamp": "2199-01-01T02:00:00Z", "value": 2.0},
        {"timestamp": "2199-01-01 03:00", "value": 3.0},
    ]

    answer = detect(client, time_series=series, include_scores=True)

    assert [point["timestamp"] for point in answer["anomalies"]] == [
        "2199-01-01T00:00:00Z",
        "2199-01-01T02:00:00Z",
        "2199-01-01T03:00:00Z",
    ]


def test_what_holds_no_value_at_all_is_answered_without_an_accusation(client: APIClient) -> None:
    answer = detect(client, np.full(200, np.nan))

    assert (answer["anomalies"], answer["summary"]["total_points"]) == ([], 200)


def test_an_unknown_field_is_ignored_with_a_warning(client: APIClient) -> None:
    assert "'contamination'" in detect(client, hourly(7), contamination=0.1)["warnings"][0]


def test_only_who_may_detect_does(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice, roles=frozenset({AI_USER, FORECASTER}))

    assert client.post("/ai/anomaly", body_of(hourly(7))).status_code == 403
    assert client.get("/ai/anomalies").status_code == 200
