"""What one does with devices of several metrics: have a detector trained, and detect with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomalies import multivariate
from anomalies.daily_profile import Floats
from anomalies.device_detectors import KIND, detector_of, usable
from anomalies.device_readings import check_trainable, known_device, table_of
from anomalies.errors import DetectorUnusable
from anomalies.multivariate import Calibration, Table
from omarino import metrics
from registry.models import ModelVersion
from registry.training import request_training, train_now
from registry.training_models import TrainingRun

DIRECTLY = 5_000  # rows of training within a request, some seconds; more go to a worker


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector said of a device. table and scores: of the analysed points."""

    device: str
    version: ModelVersion
    calibration: Calibration
    table: Table
    scores: Floats
    flagged: list[int]
    driven_by: list[list[str]]


def train_device(*, tenant_id: str, device: str, hours: int, contamination: float, by: str) -> TrainingRun:
    """Train at once, or let a worker do it when there is much to learn from.

    Raises DeviceUnknown, TooFewMetrics, TooFewSamples.
    """
    table = table_of(tenant_id, device, hours)
    check_trainable(table, device)
    asked = {"hours": hours, "contamination": contamination}
    begin = train_now if len(table.times_us) <= DIRECTLY else request_training
    return begin(tenant_id=tenant_id, kind=KIND, subject=device, requested_by=by, **asked)


def detect_on_device(*, tenant_id: str, device: str, hours: int) -> Found:
    """Score the newest `hours` by the detector in production. Raises DeviceUnknown, NoDetector, DetectorUnusable."""
    known_device(tenant_id, device)
    version = detector_of(tenant_id, device)
    pipeline, calibration = usable(version)
    learned = tuple(version.metadata["device_metrics"])
    table = table_of(tenant_id, device, hours, only=learned)
    if table.metrics != learned:
        gone = ", ".join(sorted(set(learned) - set(table.metrics)))
        raise DetectorUnusable(model_id=str(version), reason=f"the device did not send {gone} in these hours")
    with metrics.inference("anomaly", KIND):
        scores = multivariate.scored(pipeline, calibration, table)
        flagged = np.flatnonzero(scores >= calibration.threshold)
        drivers = multivariate.driven_by(pipeline, calibration, table, flagged)
    metrics.PREDICTIONS.labels("anomaly", KIND).inc()
    return Found(device, version, calibration, table, scores, flagged.tolist(), drivers)
