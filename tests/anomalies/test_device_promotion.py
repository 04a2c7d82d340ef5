"""Which detector of a device is in production after a training: the better one, on rows that neither has seen."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from anomalies.device_detectors import KIND, model_name
from anomalies.device_training import SCHEDULE
from anomalies.multivariate import Calibration, Table, driven_by, fitted, scored
from omarino.authentication import Principal
from registry.actions import promote_version
from registry.models import ModelVersion, Reference, Stage, Transition
from registry.serving import predictor_of
from registry.training import train_now
from tests.anomalies.test_devices import METRICS, START, machine, sent, table, train
from tests.conftest import ClientOf
from tests.factories import make_version

STORED = Path(__file__).parent / "stored"


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


def day(number: int, *, memory: float = 0.0) -> dict[str, Any]:
    """One day of the machine, its memory higher by so much."""
    values = {name: told[number * 288 : (number + 1) * 288] for name, told in machine(number + 1).items()}
    return values | {"memory_usage_percent": values["memory_usage_percent"] + memory}


def send_day(owner: Principal, number: int, **changed: float) -> None:
    sent(owner, day(number, **changed), start=START + timedelta(days=number))


def in_production() -> ModelVersion:
    return ModelVersion.objects.production().get()


def test_a_worse_detector_stays_in_staging(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(6))
    first = train(client, hours=120, contamination=0.02).json()
    send_day(alice, 6)

    blind = train(client, hours=120, contamination=0.001).json()

    assert (first["stage"], blind["stage"]) == ("production", "staging")
    assert "rows that neither had seen" in blind["message"]
    assert "worse by more than one standard error" in blind["message"]
    assert str(in_production()) == first["model_id"]


def test_a_better_detector_goes_to_production(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(6))
    train(client, hours=120, contamination=0.001)
    send_day(alice, 6)

    better = train(client, hours=120, contamination=0.02).json()

    assert better["stage"] == "production", better["message"]
    assert str(in_production()) == better["model_id"]


def test_a_device_that_changed_for_good_has_a_detector_that_knows_it_after_some_nights(
    alice: Principal,
    client: APIClient,
) -> None:
    sent(alice, machine(6))
    first = train(client, hours=120).json()
    alarms = []
    for night in (6, 7, 8):
        send_day(alice, night, memory=20.0)
        alarms.append(client.get("/ml/anomalies/detect/server-1?hours=24").json()["anomalies_detected"])
        train(client, hours=120)

    assert str(in_production()) != first["model_id"]
    assert alarms[0] > 200  # of 288: to the first detector all of it is unusual
    found = client.get("/ml/anomalies/detect/server-1?hours=24").json()
    assert found["anomalies_detected"] < 30


def test_too_few_new_rows_decide_nothing(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(3))
    first = train(client, hours=48).json()

    second = train(client, hours=48).json()

    assert second["stage"] == "staging"
    assert second["message"].startswith(f"Kept in staging: only 0 rows since {first['model_id']} was trained")
    assert str(in_production()) == first["model_id"]


def test_a_device_of_hourly_rows_is_compared_once_there_are_enough(
    alice: Principal,
    client: APIClient,
) -> None:
    hourly = {name: values[::12] for name, values in machine(12).items()}
    sent(alice, {name: values[:170] for name, values in hourly.items()}, step_us=3_600_000_000)
    train(client, hours=168)
    later = {name: values[170:280] for name, values in hourly.items()}
    sent(alice, later, start=START + timedelta(hours=170), step_us=3_600_000_000)

    second = train(client, hours=168).json()

    assert "on 100 rows that neither had seen" in second["message"]


def test_what_a_person_put_into_production_no_schedule_replaces_for_some_days(
    alice: Principal, client: APIClient, settings: Any
) -> None:
    sent(alice, machine(4))
    first = train(client, hours=72).json()
    send_day(alice, 4)
    assert train(client, hours=72, contamination=0.02).json()["stage"] == "production"
    back_to = Reference.parse(first["model_id"])
    promote_version(tenant_id="alpha", reference=back_to, target_stage=Stage.PRODUCTION, by=alice)
    asked: dict[str, Any] = {
        "tenant_id": "alpha",
        "kind": KIND,
        "subject": "server-1",
        "hours": 72,
        "contamination": 0.02,
    }

    held = train_now(**asked, requested_by=SCHEDULE)
    settings.RETRAIN_HOLD_DAYS = 0
    later = train_now(**asked, requested_by=SCHEDULE)

    assert held.message.startswith(
        f"Kept in staging: {alice.username} put {first['model_id']} into production"
    )
    assert later.message.startswith("In production: its error on")


def test_what_a_training_promoted_says_so_in_its_history(alice: Principal, client: APIClient) -> None:
    sent(alice, machine(2))
    train(client, hours=24)

    into = Transition.objects.get(to_stage=Stage.PRODUCTION)

    assert into.reason == "after training: the first detector of the device"


def test_a_detector_from_before_there_were_profiles_still_answers(
    alice: Principal,
    client: APIClient,
) -> None:
    told = json.loads((STORED / "without_profile.json").read_text())
    content = (STORED / "without_profile.skops").read_bytes()
    sent(alice, machine(1))
    metadata = {
        "kind": KIND,
        "device": "server-1",
        "device_metrics": list(METRICS),
        "calibration": told["calibration"],
        "trained_from": "2025-01-01T00:00:00Z",
        "trained_until": "2025-01-03T00:00:00Z",
        "training_samples": 576,
        "hours": 48,
        "contamination": 0.02,
    }
    version = make_version(
        alice,
        name=model_name("server-1"),
        stage=Stage.PRODUCTION,
        artifact=content,
        artifact_format="skops",
        metadata=metadata,
    )
    rows = Table(np.array(told["times_us"]), tuple(told["metrics"]), np.array(told["values"]))
    model: Any = predictor_of(version)
    calibration = Calibration.from_dict(told["calibration"])

    scores = scored(model.estimator, calibration, rows)

    np.testing.assert_allclose(scores, told["scores"], rtol=1e-9)
    flagged = np.array(told["flagged"])
    assert driven_by(model.estimator, calibration, rows, flagged) == told["driven_by"]
    assert client.get("/ml/anomalies/detect/server-1?hours=24").json()["analyzed_points"] == 288


# The arithmetic


def test_a_daytime_value_at_night_is_found_and_clean_days_alarm_as_rarely_as_asked() -> None:
    model, calibration = fitted(table(14, 0), 0.01, seed=0)
    clean = table(21, 1)
    clean = clean.rows(slice(14 * 288, None))
    night = np.arange(202, 232, 7)  # the low of the day's swing, 15 +- 4
    values = clean.values.copy()
    values[night, 0] = 64.0  # what it is at the height of the day
    faulty = Table(clean.times_us, METRICS, values)

    found = scored(model, calibration, faulty, night) >= calibration.threshold
    alarms = scored(model, calibration, clean) >= calibration.threshold

    assert found.all()
    assert all("cpu_usage" in names for names in driven_by(model, calibration, faulty, night))
    assert alarms.mean() < 0.015


def test_a_sustained_night_of_daytime_values_is_found() -> None:
    model, calibration = fitted(table(14, 0), 0.01, seed=0)
    clean = table(7, 1)
    values = clean.values.copy()
    values[200:232, 0] = 64.0

    scores = scored(model, calibration, Table(clean.times_us, METRICS, values), np.arange(200, 232))

    assert (scores >= calibration.threshold).all()
