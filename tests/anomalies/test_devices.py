"""/ml/anomalies: a detector for a device of several metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from anomalies.device_actions import DIRECTLY
from anomalies.device_detectors import KIND, model_name
from anomalies.device_upkeep import off_peak, retrain_what_is_due
from anomalies.multivariate import Table, aligned, fitted, scored
from features.batches import ReadingBatch, Rejections
from features.ingest import store_readings
from omarino.authentication import Principal
from omarino.permissions import AI_USER
from registry import training
from registry.models import ModelVersion, Stage, TrainingRun
from registry.training import request_training
from tests.conftest import ClientOf
from tests.factories import make_readings
from tests.workers import running_worker, wait_until

STEP_US = 300_000_000
START = datetime(2025, 3, 1, tzinfo=UTC)
METRICS = ("cpu_usage", "disk_usage_percent", "memory_usage_percent", "network_total")


def machine(days: float, *, seed: int = 0) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """A server: the processor follows the day, memory follows the processor, the network is skewed."""
    count = int(days * 288)
    random = np.random.default_rng(seed)
    day = 2 * np.pi * (np.arange(count) % 288) / 288
    cpu = 40 + 25 * np.sin(day) + random.normal(0, 4, count)
    return {
        "cpu_usage": cpu,
        "disk_usage_percent": 50 + random.normal(0, 0.5, count),
        "memory_usage_percent": 60 + 0.3 * (cpu - 40) + random.normal(0, 2, count),
        "network_total": np.exp(random.normal(3, 0.5, count)) * (1 + 0.5 * np.sin(day)),
    }


def sent(
    owner: Principal,
    values: dict[str, Any],
    *,
    start: datetime = START,
    device: str = "server-1",
    step_us: int = STEP_US,
) -> None:
    first = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    batches = [
        ReadingBatch(
            name,
            np.arange(1, len(v) + 1),
            first + np.arange(len(v), dtype=np.int64) * step_us,
            np.asarray(v),
            None,
        )
        for name, v in values.items()
    ]
    store_readings(
        tenant_id=owner.tenant_id, asset_id=device, batches=batches, rejections=Rejections(), about_asset={}
    )


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


def train(client: APIClient, **asked: Any) -> Any:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    return client.post(f"/ml/anomalies/train/server-1?{query}")


def test_a_device_is_trained_and_what_is_unusual_is_found_with_its_metric(
    alice: Principal, client: APIClient
) -> None:
    values = machine(8)
    values["memory_usage_percent"][-10] = 99.0
    sent(alice, values)

    trained = train(client, hours=168, contamination=0.01).json()
    found = client.get("/ml/anomalies/detect/server-1?hours=24").json()

    assert trained["message"] == "In production: the first detector of the device."
    assert (trained["status"], trained["stage"], trained["training_samples"]) == (
        "completed",
        "production",
        2016,
    )
    assert trained["features"] == list(METRICS)
    assert trained["message"] == "In production: the first detector of the device."
    assert found["analyzed_points"] == 288
    assert found["anomalies_detected"] == len(found["anomalies"])
    worst = max(found["anomalies"], key=lambda point: point["anomaly_score"])
    assert worst["timestamp"] == "2025-03-08T23:10:00Z"
    assert (worst["memory_usage_percent"], worst["severity"], worst["driven_by"][0]) == (
        99.0,
        "critical",
        "memory_usage_percent",
    )
    assert found["model_info"]["model_id"] == trained["model_id"]
    assert found["anomalies_detected"] <= 12  # of 288, about 1 in 100 are expected


def test_what_sets_a_row_apart_is_explained_by_its_metrics_and_adds_up(
    alice: Principal, client: APIClient
) -> None:
    sent(alice, machine(8))
    train(client, hours=168)
    version = ModelVersion.objects.get()
    row = dict.fromkeys(version.metadata["feature_names"], 0.0)
    row |= {"cpu_usage": 40, "disk_usage_percent": 50, "memory_usage_percent": 99, "network_total": 20}

    response = client.post(
        "/ai/explain", {"tenant_id": "alpha", "model_name": version.model.name, "input_features": row}
    )

    answer = response.json()
    assert response.status_code == 200, answer
    about, parts = answer["metadata"], answer["feature_importances"]
    assert about["explanation_method"] == "TreeSHAP, exact"
    assert about["output"] == "log2 of the isolation score"
    assert parts[0]["feature_name"] == "memory_usage_percent"
    total = about["base_value"] + sum(part["contribution"] for part in parts)
    assert total == pytest.approx(about["prediction_value"], rel=1e-9)


def test_the_detector_is_a_version_of_the_registry(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(3))
    trained = train(client, hours=48).json()

    version = client.get(f"/ai/models/{trained['model_id']}").json()
    info = client.get("/ml/anomalies/model-info/server-1").json()

    assert (version["stage"], version["model_type"], version["metadata"]["kind"]) == (
        "production",
        "anomaly",
        KIND,
    )
    assert version["sha256"]
    assert (info["training_samples"], info["features"]) == (576, list(METRICS))
    assert 0 <= info["metrics"]["recall"] <= 1


def test_too_little_is_refused_with_what_is_needed(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(0.2))

    response = train(client, hours=24)

    assert (response.status_code, response.json()["detail"]) == (
        400,
        "Not enough data. Need 100+ samples, got 57",
    )


def test_one_metric_is_refused(alice: Principal, client: APIClient) -> None:
    make_readings(alice, np.ones(200), asset_id="server-1", interval_minutes=5)

    response = train(client, hours=24)

    assert (response.status_code, response.json()["code"]) == (400, "too_few_metrics")


def test_without_a_detector_the_answer_says_how_to_train(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(1))

    for response in (
        client.get("/ml/anomalies/detect/server-1"),
        client.get("/ml/anomalies/model-info/server-1"),
    ):
        assert response.status_code == 404
        assert "POST /ml/anomalies/train/" in response.json()["detail"]


def test_a_device_nobody_knows_and_hours_out_of_range_are_refused(client: APIClient) -> None:
    assert train(client, hours=48).json()["code"] == "device_unknown"
    assert train(client, hours=23).status_code == 422
    assert train(client, contamination=0.9).status_code == 422


def test_a_metric_that_never_changes_alarms_nobody(alice: Principal, client: APIClient) -> None:
    values = machine(8)
    values["disk_usage_percent"][:] = 50.0
    values["network_total"][:] = 0.0
    values["cpu_usage"][-10] = 99.0
    sent(alice, values)
    train(client, hours=168, contamination=0.01)

    found = client.get("/ml/anomalies/detect/server-1?hours=168").json()

    assert 1 <= found["anomalies_detected"] <= 25  # of 2,016, about 1 in 100 are expected
    worst = max(found["anomalies"], key=lambda point: point["anomaly_score"])
    assert (worst["cpu_usage"], worst["driven_by"]) == (99.0, ["cpu_usage"])


def test_a_device_on_which_nothing_happens_has_no_anomalies(alice: Principal, client: APIClient) -> None:
    sent(alice, {name: np.full(576, 5.0) for name in METRICS})
    train(client, hours=48)

    found = client.get("/ml/anomalies/detect/server-1?hours=48").json()

    assert (found["analyzed_points"], found["anomalies"]) == (576, [])


def test_a_reading_stamped_ahead_hides_nothing(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(3))
    sent(alice, machine(1 / 288), start=datetime(2199, 1, 1, tzinfo=UTC))

    assert train(client, hours=48).json()["training_samples"] == 576
    assert client.get("/ml/anomalies/detect/server-1?hours=24").json()["analyzed_points"] == 288


def test_much_to_learn_from_is_left_to_a_worker(alice: Principal, client: APIClient) -> None:
    sent(alice, {name: np.zeros(DIRECTLY + 1) for name in METRICS[:2]}, step_us=STEP_US // 10)

    response = train(client, hours=720)

    answer = response.json()
    assert (response.status_code, answer["status"], answer["model_id"]) == (202, "pending", None)
    assert client.get(f"/ml/anomalies/runs/{answer['run_id']}").json() == answer


def test_a_metric_named_like_a_field_of_the_answer_is_answered_beside_it(
    alice: Principal, client: APIClient
) -> None:
    values = machine(2)
    values["cpu_usage"][-10] = 999.0
    sent(alice, {"severity": values["cpu_usage"], "timestamp": values["disk_usage_percent"]})
    train(client, hours=24)

    found = client.get("/ml/anomalies/detect/server-1?hours=24").json()

    worst = max(found["anomalies"], key=lambda point: point["anomaly_score"])
    assert (worst["severity_"], worst["severity"]) == (999.0, "critical")
    assert worst["timestamp"] == "2025-03-02T23:10:00Z"
    assert worst["timestamp_"] == pytest.approx(values["disk_usage_percent"][-10])
    assert worst["driven_by"][0] == "severity"


def test_a_metric_that_stopped_is_named(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(3))
    train(client, hours=48)
    later = {name: values for name, values in machine(2, seed=1).items() if name != "network_total"}
    sent(alice, later, start=START + timedelta(days=3))

    response = client.get("/ml/anomalies/detect/server-1?hours=24")

    assert (response.status_code, response.json()["code"]) == (409, "detector_unusable")
    assert "network_total" in response.json()["detail"]


def test_training_is_for_those_who_manage_models(alice: Principal, client_of: ClientOf) -> None:
    sent(alice, machine(1))

    assert train(client_of(alice, roles=frozenset({AI_USER})), hours=24).status_code == 403


def test_an_old_detector_is_trained_anew_off_peak_and_once(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(3))
    train(client, hours=48)
    sent(alice, machine(1, seed=1), start=START + timedelta(days=3))
    night = datetime(2030, 1, 1, 23, tzinfo=UTC)

    assert retrain_what_is_due(night.replace(hour=12)) == []
    TrainingRun.objects.update(requested_at=night - timedelta(hours=25))
    (run,) = retrain_what_is_due(night)
    TrainingRun.objects.filter(pk=run.pk).update(requested_at=night)
    assert retrain_what_is_due(night) == []

    assert (run.status, run.parameters) == ("pending", {"hours": 48, "contamination": 0.01})


@pytest.mark.parametrize("lost", ["device", "calibration", "hours"])
def test_what_only_says_that_it_is_a_detector_stops_nobody(
    lost: str, alice: Principal, client: APIClient
) -> None:
    sent(alice, machine(2))
    train(client, hours=48)
    version = ModelVersion.objects.get()
    told = {name: value for name, value in version.metadata.items() if name != lost}
    ModelVersion.objects.update(metadata=told)
    TrainingRun.objects.all().delete()

    for address in ("model-info", "detect"):
        response = client.get(f"/ml/anomalies/{address}/server-1")
        assert (response.status_code, response.json()["code"]) == (409, "detector_unusable")
    assert retrain_what_is_due(datetime(2030, 1, 1, 23, tzinfo=UTC)) == []
    assert "In production" in train(client, hours=48).json()["message"]


@pytest.mark.parametrize(("hour", "is_off"), [(21, False), (22, True), (3, True), (5, False), (12, False)])
def test_off_peak_passes_midnight(hour: int, is_off: bool) -> None:
    assert off_peak(datetime(2025, 1, 1, hour, tzinfo=UTC)) is is_off


@pytest.mark.django_db(transaction=True)
def test_a_worker_trains(alice: Principal, client: APIClient, tmp_path: Path) -> None:
    sent(alice, machine(3))

    with running_worker(tmp_path) as worker:
        run = request_training(
            tenant_id="alpha",
            kind=KIND,
            subject="server-1",
            requested_by="alice",
            hours=48,
            contamination=0.01,
        )
        wait_until(lambda: TrainingRun.objects.get(pk=run.pk).is_over, log=worker.log)

    answer = client.get(f"/ml/anomalies/runs/{run.pk}").json()
    assert (answer["status"], answer["error"], answer["stage"]) == ("completed", "", "production")
    assert ModelVersion.objects.get(model__name=model_name("server-1")).stage == Stage.PRODUCTION


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_cannot_train_says_why(alice: Principal) -> None:
    sent(alice, machine(0.2))
    run = request_training(
        tenant_id="alpha", kind=KIND, subject="server-1", requested_by="alice", hours=48, contamination=0.01
    )

    training.train(run_id=run.pk)

    run.refresh_from_db()
    assert (run.status, run.error) == ("failed", "Not enough data. Need 100+ samples, got 57")


# The arithmetic


def table(days: float, seed: int) -> Table:
    values = machine(days, seed=seed)
    count = len(values["cpu_usage"])
    return Table(np.arange(count, dtype=np.int64) * STEP_US, METRICS, np.column_stack(list(values.values())))


def test_alarms_on_unseen_usual_days_are_as_rare_as_asked_and_faults_are_found() -> None:
    model, calibration = fitted(table(14, 0), 0.01, seed=0)
    usual = table(7, 1)
    at = np.arange(30, 2000, 50)
    values = usual.values.copy()
    values[at, np.arange(at.size) % 3] += (
        8 * np.array([4, 0.5, 2])[np.arange(at.size) % 3]
    )  # standard deviations

    alarms = scored(model, calibration, usual) >= calibration.threshold
    found = scored(model, calibration, Table(usual.times_us, METRICS, values), at) >= calibration.threshold

    assert alarms.mean() < 0.02
    assert found.mean() > 0.95


def test_the_same_table_gives_the_same_detector() -> None:
    scores = [scored(*fitted(table(2, 0), 0.01, seed=3), table(1, 1)) for _ in range(2)]

    np.testing.assert_array_equal(scores[0], scores[1])


def test_metrics_sent_at_other_times_meet_and_stale_ones_do_not() -> None:
    minute = 60_000_000
    a = (np.array([0, 5, 10, 60]) * minute, np.array([1.0, 2.0, 3.0, 4.0]))
    b = (np.array([1, 6, 11]) * minute, np.array([10.0, 20.0, 30.0]))

    met = aligned({"a": a, "b": b})

    # at 0 b is not known yet; at 60 b is 49 minutes old, more than three of its five minutes
    assert met.times_us.tolist() == [1 * minute, 5 * minute, 6 * minute, 10 * minute, 11 * minute]
    assert met.values[:, 0].tolist() == [1.0, 2.0, 2.0, 3.0, 3.0]
    assert met.values[:, 1].tolist() == [10.0, 10.0, 20.0, 20.0, 30.0]
