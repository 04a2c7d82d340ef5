"""Detectors over time: trained anew in the same hour of the night, deleted when nobody goes back to them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from anomalies.device_detectors import KIND, model_name
from anomalies.device_upkeep import expire, retrain_what_is_due
from anomalies.multivariate import TAILS
from omarino.audit_models import AuditRecord
from omarino.authentication import Principal
from omarino.jobs import JobStatus
from registry.actions import promote_version
from registry.models import ModelVersion, Reference, Stage, TrainingRun
from tests.anomalies.test_devices import machine, sent
from tests.factories import make_version

BEAT = timedelta(minutes=15)


def detector(owner: Principal, number: int, **metadata: object) -> ModelVersion:
    tails = [0.0] * len(TAILS)
    told = {
        "kind": KIND,
        "device": "server-1",
        "device_metrics": ["cpu_usage"],
        "calibration": {"metrics": [tails], "reach": tails, "isolation": tails, "threshold": 2.5},
        "trained_from": "2025-02-01T00:00:00Z",
        "trained_until": "2025-02-08T00:00:00Z",
        "training_samples": 2016,
        "hours": 168,
        "contamination": 0.01,
        **metadata,
    }
    return make_version(owner, name=model_name("server-1"), version=f"v1.{number}.0", metadata=told)


def promoted(by: Principal, version: ModelVersion) -> ModelVersion:
    reference = Reference(version.tenant_id, version.model.name, version.version)
    promote_version(tenant_id=by.tenant_id, reference=reference, target_stage=Stage.PRODUCTION, by=by)
    return version


def remaining() -> set[str]:
    return set(ModelVersion.objects.values_list("version", flat=True))


@pytest.mark.django_db
def test_a_training_stays_in_its_hour_of_the_night(alice: Principal) -> None:
    promoted(alice, detector(alice, 0))
    sent(alice, {"cpu_usage": machine(1)["cpu_usage"]})
    beat, nights = datetime(2030, 1, 1, 22, 7, tzinfo=UTC), []

    for _ in range(60):
        while not (asked := retrain_what_is_due(beat)):
            beat += BEAT + timedelta(seconds=20)  # a beat is never early
        TrainingRun.objects.filter(pk=asked[0].pk).update(requested_at=beat, status=JobStatus.COMPLETED)
        nights.append(beat)
        beat += timedelta(hours=22)

    assert {(later - sooner).days for sooner, later in itertools.pairwise(nights)} <= {0, 1}
    assert (nights[-1].date() - nights[0].date()).days == 59
    assert {night.hour for night in nights} == {22}


@pytest.mark.django_db
def test_a_device_that_sent_too_little_since_waits(alice: Principal) -> None:
    promoted(alice, detector(alice, 0))
    sent(alice, {"cpu_usage": machine(1)["cpu_usage"][:99]})

    assert retrain_what_is_due(datetime(2030, 1, 1, 23, tzinfo=UTC)) == []


@pytest.mark.django_db
def test_detectors_nobody_goes_back_to_are_deleted(alice: Principal, settings: Any) -> None:
    settings.DETECTOR_KEEP_PROMOTIONS = 2
    served = [promoted(alice, detector(alice, number)) for number in range(5)]
    promoted(alice, served[0])  # a rollback to the oldest: in production again
    detector(alice, 5)
    approved = detector(alice, 6)
    approved.approvals.create(by="bob", by_name="bob")
    ours = detector(alice, 7, hours="of a person's own, not of a training")
    now = timezone.now()

    assert expire(now) == 0  # all are young
    assert expire(now + timedelta(days=15)) == 3

    # in production, the two before it, what was approved, and what no training made
    assert remaining() == {"v1.0.0", "v1.4.0", "v1.3.0", approved.version, ours.version}
    kept = AuditRecord.objects.filter(verb="deleted", kind="model version")
    assert {record.object_id for record in kept} == {
        f"alpha:{model_name('server-1')}:v1.{number}.0" for number in (1, 2, 5)
    }


@pytest.mark.django_db
def test_nothing_is_deleted_where_all_is_to_be_kept(alice: Principal, settings: Any) -> None:
    settings.DETECTOR_KEEP_DAYS = 0
    detector(alice, 0)

    assert expire(timezone.now() + timedelta(days=400)) == 0
