"""POST /ai/anomaly: the words of an answer, its severities and its warnings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from omarino.authentication import Principal
from tests.anomalies.test_detect import detect, hourly, points
from tests.conftest import ClientOf
from tests.factories import make_readings


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


def found_at(answer: dict[str, Any], timestamp: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in answer["anomalies"] if row["timestamp"] == timestamp)
    return found


def test_a_reading_far_below_what_was_expected_is_called_a_dip(client: APIClient) -> None:
    values = hourly(28)
    values[16 * 24 + 15] = 20.0

    found = found_at(detect(client, values), "2025-03-19T15:00:00Z")

    assert found["kind"] == "spike"  # one of the kinds that programs know
    assert found["explanation"].endswith(" expected: a dip.")


@pytest.mark.parametrize("days", [1, 7])
def test_a_series_without_hours_names_the_day(client: APIClient, days: int) -> None:
    values = 60 + np.random.default_rng(3).normal(0, 1, 120)
    values[60] = 140.0
    series = points(values, start=datetime(2020, 1, 1, tzinfo=UTC), minutes=days * 1440)
    at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=60 * days)

    found = found_at(detect(client, time_series=series, method="z_score"), f"{at:%Y-%m-%dT%H:%M:%SZ}")

    assert found["explanation"].startswith(f"140.0 on {at:%-d %B}; ")
    assert "00:00" not in found["explanation"]


def test_a_gap_of_years_is_told_in_years(client: APIClient) -> None:
    early = points(hourly(28))
    late = points(hourly(28), start=datetime(2027, 3, 31, tzinfo=UTC))  # 730 days after the first part ends

    answer = detect(client, time_series=early + late, method="z_score")

    found = found_at(answer, "2025-03-31T00:00:00Z")
    assert (found["kind"], found["value"]) == ("missing_block", None)
    assert ", in a gap of 730 days" in found["explanation"]


def test_severity_begins_at_two_and_a_half_three_and_a_half_and_beyond_four_and_a_half(
    client: APIClient,
) -> None:
    values = hourly(56)
    off = np.arange(20)
    values[3 * 24 + 31 * off] += 2.0 + 0.5 * off  # one a day or so, each farther off than the last

    answer = detect(client, values, method="z_score", sensitivity=1, include_scores=True)

    seen = set()
    for row in answer["anomalies"]:
        score, severity = row["anomaly_score"], row["severity"]
        if score < 2.0:
            assert severity is None
            continue
        expected = (
            "critical" if score > 4.5 else "high" if score >= 3.5 else "medium" if score >= 2.5 else "low"
        )
        assert severity == expected
        seen.add(severity)
    assert seen == {"low", "medium", "high", "critical"}


def test_lookback_hours_beside_a_series_is_warned_of(client: APIClient) -> None:
    answer = detect(client, hourly(28), lookback_hours=24)

    assert answer["summary"]["total_points"] == 28 * 24
    assert answer["warnings"] == [
        "lookback_hours counts for stored readings only; the whole time_series was judged."
    ]
    assert detect(client, hourly(28))["warnings"] == []


def test_lookback_hours_of_stored_readings_is_heeded(alice: Principal, client: APIClient) -> None:
    make_readings(alice, hourly(28), start=datetime(2025, 3, 3, tzinfo=UTC))

    answer = detect(client, lookback_hours=24, time_series=None)

    assert (answer["summary"]["total_points"], answer["warnings"]) == (24, [])


def test_what_the_method_warns_of_is_answered_and_kept(client: APIClient) -> None:
    answer = detect(client, hourly(2), contamination=0.1)

    assert [warning.split()[0] for warning in answer["warnings"]] == ["The", "There"]
    kept = client.get(f"/ai/anomaly/{answer['detection_id']}").json()
    assert kept["warnings"] == answer["warnings"]
