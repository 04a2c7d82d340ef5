"""POST /ai/explain with the prediction_id of a detection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anomalies.models import Detection
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.explanations.test_explain_a_model import assert_adds_up
from tests.factories import make_detection_row, make_readings

pytestmark = pytest.mark.django_db
URL = "/ai/explain"


def why(client: Any, detection: Any, **said: Any) -> Any:
    return client.post(URL, {"tenant_id": "alpha", "prediction_id": str(detection), **said})


def test_a_reading_is_what_was_expected_the_usual_spread_and_what_lies_beyond(
    alice: Principal, client_of: ClientOf
) -> None:
    """68 kW where 31.2 were expected and up to 36 are usual: 31.2 + 4.8 + 32."""
    row = make_detection_row(alice)

    answer = why(client_of(alice), row.pk, model_name="isolation_forest").json()

    assert_adds_up(answer)
    about = answer["metadata"]
    assert (about["base_value"], about["prediction_value"]) == (31.2, 68.0)
    by_name = {part["feature_name"]: part["contribution"] for part in answer["feature_importances"]}
    assert by_name == {"usual_spread": pytest.approx(4.8), "beyond_usual": pytest.approx(32.0)}
    assert (about["anomaly_score"], about["severity"], about["kind"]) == (3.2, "medium", "spike")
    assert answer["summary"]["explanation"] == (
        "On 1 January 2025 at 00:00 the reading is 68.0 kW, 36.8 above what was expected: "
        "4.80 is within the usual spread, 32.0 beyond it."
    )


@pytest.mark.parametrize(
    "method", ["z_score", "iqr", "isolation_forest", "local_outlier_factor", "prophet_decomposition"]
)
def test_every_detectors_findings_add_up(alice: Principal, client_of: ClientOf, method: str) -> None:
    hours = np.arange(30 * 24)
    values = 50 + 10 * np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(0).normal(0, 1, hours.size)
    values[28 * 24 + 12], values[29 * 24 + 3] = 500.0, 1.0
    make_readings(alice, values, unit="kW")
    client = client_of(alice)
    body = {"tenant_id": "alpha", "asset_id": "main-meter", "method": method, "lookback_hours": 72}
    detection = client.post("/ai/anomaly", {**body, "as_of": "2025-02-01T00:00:00Z"}).json()
    assert detection["anomalies"]

    for index, anomaly in enumerate(detection["anomalies"]):
        if anomaly["value"] is None:
            continue
        answer = why(client, detection["detection_id"], timestamp=anomaly["timestamp"]).json()
        assert_adds_up(answer)
        assert answer["metadata"]["prediction_value"] == anomaly["value"]
        assert answer["metadata"]["step"] == index
        assert answer["metadata"]["timestamp"] == anomaly["timestamp"]


def test_without_a_point_the_highest_score_is_explained(alice: Principal, client_of: ClientOf) -> None:
    row = make_detection_row(alice, scores=[3.2, 4.9, 4.1])

    assert why(client_of(alice), row.pk).json()["metadata"]["anomaly_score"] == 4.9
    assert why(client_of(alice), row.pk, step=2).json()["metadata"]["anomaly_score"] == 4.1
    gap_beside = make_detection_row(alice)
    anomalies = [*gap_beside.anomalies, {**gap_beside.anomalies[0], "value": None, "anomaly_score": 9.0}]
    Detection.objects.filter(pk=gap_beside.pk).update(anomalies=anomalies)
    assert why(client_of(alice), gap_beside.pk).json()["metadata"]["anomaly_score"] == 3.2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"step": 1}, "no_such_point"),
        ({"timestamp": "2025-01-01T05:00:00Z"}, "no_such_point"),
        ({"model_name": "z_score"}, "not_this_models"),
    ],
)
def test_a_point_that_was_not_flagged_is_refused(
    alice: Principal, client_of: ClientOf, said: dict[str, Any], code: str
) -> None:
    row = make_detection_row(alice)

    problem = why(client_of(alice), row.pk, **said).json()

    assert (problem["status"], problem["code"]) == (422, code)


def test_a_quiet_detection_and_a_gap_have_nothing_to_add_up(alice: Principal, client_of: ClientOf) -> None:
    quiet = make_detection_row(alice, scores=[])
    gap = make_detection_row(alice)
    Detection.objects.filter(pk=gap.pk).update(anomalies=[{**gap.anomalies[0], "value": None}])

    assert why(client_of(alice), quiet.pk).json()["code"] == "nothing_flagged"
    assert why(client_of(alice), gap.pk).json()["code"] == "not_additive"


def test_another_tenants_detection_is_not_there(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    row = make_detection_row(alice)

    response = client_of(charlie).post(URL, {"tenant_id": "gamma", "prediction_id": str(row.pk)})

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
