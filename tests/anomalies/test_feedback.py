"""POST /ai/anomaly/{id}/feedback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from anomalies.feedback import suggested_sensitivity
from anomalies.models import Detection, Feedback
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_detection_row


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


def say(client: APIClient, row: Detection, hour: int, is_true: bool, **more: Any) -> Any:
    body = {"timestamp": f"2025-01-01T{hour:02}:00:00Z", "is_true": is_true, **more}
    return client.post(f"/ai/anomaly/{row.pk}/feedback", body)


def test_a_verdict_is_kept_with_who_gave_it(alice: Principal, client: APIClient) -> None:
    row = make_detection_row(alice, scores=[3.2])

    answer = say(client, row, 0, False, comment="Maintenance").json()

    assert (answer["is_true"], answer["comment"], answer["suggested_sensitivity"]) == (
        False,
        "Maintenance",
        None,
    )
    verdict = Feedback.objects.for_tenant("alpha").get()
    assert (verdict.given_by, verdict.score, verdict.detection) == ("alice", 3.2, row)


def test_a_point_between_seconds_stops_no_verdict_on_its_neighbours(client: APIClient) -> None:
    start = datetime(2025, 3, 3, tzinfo=UTC)
    values = np.tile(np.arange(24.0), 28) + np.random.default_rng(0).normal(0, 0.3, 672)
    values[400], values[500] = 200.0, 200.0
    times = [start + timedelta(hours=hour) for hour in range(672)]
    times[500] += timedelta(milliseconds=500)
    series = [
        {"timestamp": at.isoformat(), "value": value}
        for at, value in zip(times, values.tolist(), strict=True)
    ]
    asked = {"tenant_id": "alpha", "asset_id": "main-meter", "method": "z_score", "time_series": series}

    detection = client.post("/ai/anomaly", asked).json()
    points = [point["timestamp"] for point in detection["anomalies"] if point["value"] == 200.0]

    assert points == ["2025-03-19T16:00:00Z", "2025-03-23T20:00:00.500000Z"]
    for point in points:
        response = client.post(
            f"/ai/anomaly/{detection['detection_id']}/feedback", {"timestamp": point, "is_true": True}
        )
        assert response.status_code == 200, response.json()


def test_the_last_verdict_on_a_point_counts(alice: Principal, client: APIClient) -> None:
    row = make_detection_row(alice)

    say(client, row, 0, False)
    say(client, row, 0, True)

    assert [verdict.is_true for verdict in Feedback.objects.for_tenant("alpha")] == [True]


def test_false_alarms_suggest_to_be_less_sensitive(alice: Principal, client: APIClient) -> None:
    row = make_detection_row(alice, scores=[3.1, 3.2, 3.3, 5.0, 6.0])

    for hour in range(5):
        answer = say(client, row, hour, hour >= 3).json()

    # 3.4 is the nearest above the last false alarm, 3.3; both true ones stay flagged
    assert answer["suggested_sensitivity"] == 3.4


def test_verdicts_on_other_assets_and_methods_do_not_count(alice: Principal, client: APIClient) -> None:
    other = make_detection_row(alice, asset_id="pv", scores=[3.1] * 5)
    for hour in range(5):
        say(client, other, hour, False)

    answer = say(client, make_detection_row(alice), 0, False).json()

    assert answer["suggested_sensitivity"] is None


def test_only_what_was_flagged_is_judged(alice: Principal, client: APIClient) -> None:
    response = say(client, make_detection_row(alice), 9, True)

    assert (response.status_code, response.json()["code"]) == (422, "not_flagged")


def test_ten_true_alarms_and_no_false_one_suggest_a_little_more() -> None:
    assert suggested_sensitivity([4.0] * 10, [True] * 10, 3.0) == 2.5
    assert suggested_sensitivity([4.0] * 9, [True] * 9, 3.0) == 3.0
    assert suggested_sensitivity([4.0] * 4, [False] * 4, 3.0) is None


def test_nothing_helps_against_a_false_alarm_above_all_true_ones() -> None:
    # flagged at 3: two mistakes; from 4.1 on: three true ones are lost
    assert suggested_sensitivity([3.5, 3.6, 3.7, 9.0, 9.0], [True, True, True, False, False], 3.0) == 3.0
