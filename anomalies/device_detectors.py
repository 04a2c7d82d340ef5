"""Detectors of devices as versions of the registry: which are ours, which is in production, whether it can be asked."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from sklearn.pipeline import Pipeline

from anomalies import multivariate
from anomalies.errors import DetectorUnusable, NoDetector
from anomalies.multivariate import Calibration
from registry import serving
from registry.formats.skops_file import SkopsPredictor
from registry.models import ModelVersion

KIND = "device_detector"
# By a training, into a version's metadata, beside what is everybody's.
WRITTEN: dict[str, type | tuple[type, ...]] = {
    "device": str,
    "device_metrics": list,
    "calibration": dict,
    "trained_from": str,
    "trained_until": str,
    "training_samples": int,
    "hours": int,
    "contamination": (int, float),
}


def detector_of(tenant_id: str, device: str) -> ModelVersion:
    """The version in production. Raises NoDetector, DetectorUnusable."""
    found = in_production(tenant_id, device)
    if found is None:
        raise NoDetector
    return as_detector(found)


def as_detector(version: ModelVersion) -> ModelVersion:
    """Raises DetectorUnusable."""
    if not is_of_a_training(version):
        raise DetectorUnusable(
            model_id=str(version), reason="its metadata are not those of a training of this device"
        )
    return version


def in_production(tenant_id: str, device: str) -> ModelVersion | None:
    versions = ModelVersion.objects.for_tenant(tenant_id).select_related("model")
    return versions.filter(model__name=model_name(device)).production().first()


def is_of_a_training(version: ModelVersion) -> bool:
    """Whoever may register models may register anything under a detector's name, and say that it is one."""
    told = version.metadata
    if any(not isinstance(told.get(name), kind) for name, kind in WRITTEN.items()):
        return False
    try:
        calibration = Calibration.from_dict(told["calibration"])
        learned_until(version)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    if calibration.metric_count != len(told["device_metrics"]):
        return False
    return version.model.name == model_name(told["device"])


def learned_until(version: ModelVersion) -> datetime:
    """The end of the second of the newest row it learned from; that second is all that its metadata say."""
    newest = datetime.fromisoformat(version.metadata["trained_until"]).astimezone(UTC)
    return newest + timedelta(seconds=1)


def model_name(device: str) -> str:
    """A name of the registry for a device, the same for no two of them.

    >>> model_name("inverter-7"), model_name("site:a.7")
    ('device-inverter-7', 'device-site-a-7-9af914ca')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", device)
    if plain == device and len(plain) <= 100:
        return f"device-{device}"
    return f"device-{plain[:100]}-{hashlib.sha256(device.encode()).hexdigest()[:8]}"


def usable(version: ModelVersion) -> tuple[Pipeline, Calibration]:
    """Raises DetectorUnusable: somebody may have registered whatever under this name."""
    predictor = serving.predictor_of(version)
    calibration = Calibration.from_dict(version.metadata["calibration"])
    columns = multivariate.feature_names(
        version.metadata["device_metrics"], with_profile=calibration.profile is not None
    )
    estimator = predictor.estimator if isinstance(predictor, SkopsPredictor) else None
    if not isinstance(estimator, Pipeline) or len(columns) != predictor.feature_count:
        raise DetectorUnusable(model_id=str(version), reason="it is no detector that a training made")
    return estimator, calibration
