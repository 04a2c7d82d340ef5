"""What one does with devices of several metrics: train a detector, detect, train anew when it is time."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import skops.io
import structlog
from django.conf import settings
from django.utils import timezone
from sklearn.pipeline import Pipeline

from anomalies import multivariate
from anomalies.errors import DetectorUnusable, DeviceUnknown, NoDetector, TooFewMetrics, TooFewSamples
from anomalies.multivariate import Calibration, Table
from features import history
from features.models import Asset, Reading
from omarino import metrics
from omarino.authentication import Principal
from omarino.errors import HubError
from omarino.permissions import MODEL_ADMIN
from registry import artifacts, serving
from registry.actions import promote_version, register_version
from registry.errors import VersionExists
from registry.formats.skops_file import SkopsPredictor
from registry.models import ModelType, ModelVersion, Reference, Stage
from registry.training import Trained, request_training, train_now
from registry.training_models import TrainingRun

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
DIRECTLY = 50_000  # rows of training within a request; more go to a worker
HELD_BACK = 0.2  # the newest share of the rows, on which a new detector is held against the old one
FAULTS = 0.05  # share of held-back rows that get a fault
AS_GOOD = 0.01  # a new detector may be worse by so much
SEED = 0
MOST_COLUMNS = 64
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector said of a device. table and scores: of the analysed points."""

    device: str
    version: ModelVersion
    calibration: Calibration
    table: Table
    scores: multivariate.Floats
    flagged: list[int]
    driven_by: list[list[str]]


def train_device(*, tenant_id: str, device: str, hours: int, contamination: float, by: str) -> TrainingRun:
    """Train at once, or let a worker do it when there is much to learn from.

    Raises DeviceUnknown, TooFewMetrics, TooFewSamples.
    """
    table = _table(tenant_id, device, hours)
    _check(table, device)
    asked = {"hours": hours, "contamination": contamination}
    begin = train_now if len(table.times_us) <= DIRECTLY else request_training
    return begin(tenant_id=tenant_id, kind=KIND, subject=device, requested_by=by, **asked)


def detect_on_device(*, tenant_id: str, device: str, hours: int) -> Found:
    """Score the newest `hours` by the detector in production. Raises DeviceUnknown, NoDetector, DetectorUnusable."""
    _asset(tenant_id, device)
    version = detector_of(tenant_id, device)
    pipeline, calibration = _usable(version)
    learned = tuple(version.metadata["device_metrics"])
    table = _table(tenant_id, device, hours, only=learned)
    if table.metrics != learned:
        gone = ", ".join(sorted(set(learned) - set(table.metrics)))
        raise DetectorUnusable(model_id=str(version), reason=f"the device did not send {gone} in these hours")
    with metrics.inference("anomaly", KIND):
        scores = multivariate.scored(pipeline, calibration, table)
        flagged = np.flatnonzero(scores >= calibration.threshold)
        drivers = multivariate.driven_by(pipeline, calibration, table, flagged)
    metrics.PREDICTIONS.labels("anomaly", KIND).inc()
    return Found(device, version, calibration, table, scores, flagged.tolist(), drivers)


def detector_of(tenant_id: str, device: str) -> ModelVersion:
    """The version in production. Raises NoDetector, DetectorUnusable."""
    versions = ModelVersion.objects.for_tenant(tenant_id).select_related("model")
    found = versions.filter(model__name=model_name(device)).production().first()
    if found is None:
        raise NoDetector
    if not _is_of_a_training(found):
        raise DetectorUnusable(
            model_id=str(found), reason="its metadata are not those of a training of this device"
        )
    return found


def _is_of_a_training(version: ModelVersion) -> bool:
    """Whoever may register models may register anything under a detector's name, and say that it is one."""
    told = version.metadata
    if any(not isinstance(told.get(name), kind) for name, kind in WRITTEN.items()):
        return False
    try:
        Calibration.from_dict(told["calibration"])
    except (KeyError, TypeError, ValueError):
        return False
    return version.model.name == model_name(told["device"])


def model_name(device: str) -> str:
    """A name of the registry for a device, the same for no two of them.

    >>> model_name("inverter-7"), model_name("site:a.7")
    ('device-inverter-7', 'device-site-a-7-9af914ca')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", device)
    if plain == device and len(plain) <= 100:
        return f"device-{device}"
    return f"device-{plain[:100]}-{hashlib.sha256(device.encode()).hexdigest()[:8]}"


def retrain_what_is_due(now: datetime) -> list[TrainingRun]:
    """Ask for a training of every device whose detector in production is older than RETRAIN_INTERVAL_HOURS."""
    if not off_peak(now):
        return []
    old = now - timedelta(hours=settings.RETRAIN_INTERVAL_HOURS)
    due = ModelVersion.objects.filter(stage=Stage.PRODUCTION, metadata__kind=KIND).select_related("model")
    runs = []
    for version in filter(_is_of_a_training, due):
        told = version.metadata
        last = (
            TrainingRun.objects.for_tenant(version.tenant_id)
            .filter(kind=KIND, subject=told["device"])
            .first()
        )
        if last is not None and last.requested_at > old:
            continue
        asked = {"hours": told["hours"], "contamination": told["contamination"]}
        runs.append(
            request_training(
                tenant_id=version.tenant_id,
                kind=KIND,
                subject=told["device"],
                requested_by="schedule",
                **asked,
            )
        )
    return runs


def off_peak(now: datetime) -> bool:
    """Whether the hour (UTC) lies in RETRAIN_OFF_PEAK, from..until, which may pass midnight."""
    first, until = settings.RETRAIN_OFF_PEAK
    hour = now.astimezone(UTC).hour
    return first <= hour < until if first < until else hour >= first or hour < until


def train(run: TrainingRun) -> Trained:
    """Fit on the window asked for, register the detector, and promote it when it is not worse than the one there is."""
    tenant_id, device = run.tenant_id, run.subject
    hours, contamination = int(run.parameters["hours"]), float(run.parameters["contamination"])
    table = _table(tenant_id, device, hours)
    _check(table, device)
    kept = slice(int(len(table.times_us) * (1 - HELD_BACK)), None)
    quality = _judged(
        *_fit(table.rows(slice(None, kept.start)), contamination), table.rows(kept), contamination
    )
    pipeline, calibration = _fit(table, contamination)
    by = Principal(run.requested_by, tenant_id, frozenset({MODEL_ADMIN}), run.requested_by)
    version = _made_by(run) or _registered(run, table, pipeline, calibration, quality, by)
    message = _promoted_if_as_good(version, table.rows(kept), contamination, quality, by)
    version.refresh_from_db()
    return version, len(table.times_us), message


def _made_by(run: TrainingRun) -> ModelVersion | None:
    """What an earlier worker at this run registered before it died."""
    if run.token is None:  # trained within a request
        return None
    run.report(run.progress)  # whoever lost the run in the meantime registers nothing
    made = ModelVersion.objects.for_tenant(run.tenant_id).filter(metadata__training_run=str(run.pk))
    return made.select_related("model").first()


def _fit(table: Table, contamination: float) -> tuple[Pipeline, Calibration]:
    return multivariate.fitted(table, contamination, seed=SEED)


def _judged(
    pipeline: Pipeline, calibration: Calibration, held: Table, contamination: float
) -> dict[str, float]:
    """On rows it has not seen: what it finds of faults put there, and how often it cries without one."""
    faulty, hit = multivariate.with_faults(held, share=FAULTS, seed=SEED)
    found = multivariate.scored(pipeline, calibration, faulty)[hit] >= calibration.threshold
    cries = multivariate.scored(pipeline, calibration, held) >= calibration.threshold
    recall, alarms = float(found.mean()), float(cries.mean())
    return {
        "recall": recall,
        "alarm_rate": alarms,
        "detector_error": 1 - recall + max(alarms - contamination, 0.0),
    }


def _registered(
    run: TrainingRun,
    table: Table,
    pipeline: Pipeline,
    calibration: Calibration,
    quality: dict[str, float],
    by: Principal,
) -> ModelVersion:
    names = multivariate.feature_names(table.metrics)
    metadata = {
        "framework": "scikit-learn",
        "algorithm": "isolation_forest",
        "feature_names": names,
        "kind": KIND,
        "device": run.subject,
        "device_metrics": list(table.metrics),
        "calibration": calibration.as_dict(),
        "trained_from": _moment(table.times_us[0]),
        "trained_until": _moment(table.times_us[-1]),
        "training_samples": len(table.times_us),
        "description": f"Detector of the device {run.subject}, trained on {run.parameters['hours']} hours.",
        "training_run": str(run.pk),
        **run.parameters,
    }
    content = skops.io.dumps(pipeline)
    while True:
        try:
            with artifacts.received([content]) as upload:
                return register_version(
                    tenant_id=run.tenant_id,
                    by=by,
                    model_name=model_name(run.subject),
                    version=_free_version(run.tenant_id, model_name(run.subject)),
                    metadata=metadata,
                    metrics={
                        "recall": quality["recall"],
                        "custom_metrics": {n: quality[n] for n in ("alarm_rate", "detector_error")},
                    },
                    model_type=ModelType.ANOMALY,
                    upload=upload,
                )
        except VersionExists:  # another training of this device took the name since it was found free
            continue


def _free_version(tenant_id: str, name: str) -> str:
    """Dated; two trainings of a device within a second are dated a second apart."""
    taken = set(
        ModelVersion.objects.for_tenant(tenant_id).filter(model__name=name).values_list("version", flat=True)
    )
    at = timezone.now()
    while f"v{at:%Y%m%d-%H%M%S}" in taken:
        at += timedelta(seconds=1)
    return f"v{at:%Y%m%d-%H%M%S}"


def _promoted_if_as_good(
    version: ModelVersion, held: Table, contamination: float, quality: dict[str, float], by: Principal
) -> str:
    """Promote, unless the incumbent does better on the same held-back rows; a sentence that says which."""
    if version.stage == Stage.PRODUCTION:  # by a worker that died afterwards
        return "In production."
    reason = "the first detector of the device"
    try:
        incumbent = detector_of(version.tenant_id, version.metadata["device"])
        pipeline, calibration = _usable(incumbent)
        if tuple(incumbent.metadata["device_metrics"]) == held.metrics:
            theirs = _judged(pipeline, calibration, held, contamination)["detector_error"]
            if quality["detector_error"] > theirs + AS_GOOD:
                return (
                    f"Kept in staging: its error on the newest {HELD_BACK:.0%} of the data is "
                    f"{quality['detector_error']:.3f}, that of {incumbent} {theirs:.3f}."
                )
            reason = f"its error on held-back data is {quality['detector_error']:.3f}, the incumbent's {theirs:.3f}"
        else:
            reason = "the device sends other metrics than the incumbent knows"
    except (NoDetector, DetectorUnusable):
        pass
    reference = Reference(version.tenant_id, version.model.name, version.version)
    try:
        promote_version(
            tenant_id=version.tenant_id,
            reference=reference,
            target_stage=Stage.PRODUCTION,
            by=by,
            reason=reason,
        )
    except HubError as refusal:  # a gate of the model: the version stays, and says why
        return f"Kept in staging: {refusal}"
    return f"In production: {reason}."


def _usable(version: ModelVersion) -> tuple[Pipeline, Calibration]:
    """Raises DetectorUnusable: somebody may have registered whatever under this name."""
    predictor = serving.predictor_of(version)
    calibration = Calibration.from_dict(version.metadata["calibration"])
    columns = multivariate.feature_names(version.metadata["device_metrics"])
    estimator = predictor.estimator if isinstance(predictor, SkopsPredictor) else None
    if not isinstance(estimator, Pipeline) or len(columns) != predictor.feature_count:
        raise DetectorUnusable(model_id=str(version), reason="it is no detector that a training made")
    return estimator, calibration


def _asset(tenant_id: str, device: str) -> Asset:
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=device).first()
    if asset is None:
        raise DeviceUnknown
    return asset


def _table(tenant_id: str, device: str, hours: int, only: tuple[str, ...] | None = None) -> Table:
    """The newest `hours` that the device sent, every metric of it or those named. Raises DeviceUnknown.

    What bears a time ahead is not seen: one wrong clock would leave nothing else to see.
    """
    _asset(tenant_id, device)
    readings = Reading.objects.for_tenant(tenant_id).filter(asset_id=device, timestamp__lt=timezone.now())
    newest = readings.order_by("-timestamp").values_list("timestamp", flat=True).first()
    if newest is None:
        return multivariate.aligned({})
    end = newest + timedelta(microseconds=1)
    start = end - timedelta(hours=hours)
    names = only or tuple(
        readings.filter(timestamp__gte=start, timestamp__lt=end)
        .order_by("metric")
        .values_list("metric", flat=True)
        .distinct()[:MOST_COLUMNS]
    )
    series = {
        name: history.window(tenant_id=tenant_id, asset_id=device, metric=name, start=start, before=end)
        for name in names
    }
    return multivariate.aligned({name: told for name, told in series.items() if told[0].size})


def _check(table: Table, device: str) -> None:
    if len(table.metrics) < 2 and len(table.times_us):
        raise TooFewMetrics(device=device, have=len(table.metrics))
    if len(table.times_us) < settings.MIN_TRAINING_SAMPLES:
        raise TooFewSamples(need=settings.MIN_TRAINING_SAMPLES, have=len(table.times_us))


def _moment(time_us: Any) -> str:
    return f"{datetime.fromtimestamp(int(time_us) / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
