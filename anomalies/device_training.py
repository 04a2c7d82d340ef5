"""Training a device's detector: fitted, held against the one in production, registered, and promoted when not worse."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import skops.io
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from sklearn.pipeline import Pipeline

from anomalies import device_judging, multivariate
from anomalies.device_detectors import (
    KIND,
    as_detector,
    in_production,
    learned_until,
    model_name,
    usable,
)
from anomalies.device_judging import Faulty, Judged
from anomalies.device_readings import check_trainable, table_of
from anomalies.errors import DetectorUnusable
from anomalies.multivariate import Calibration, Table
from omarino.authentication import Principal
from omarino.epoch import from_us, to_us
from omarino.errors import HubError
from omarino.permissions import MODEL_ADMIN
from registry import artifacts
from registry.actions import model_row, promote_version, register_version
from registry.errors import ArtifactCorrupt, ArtifactMissing, RuntimeMissing, VersionExists
from registry.models import ModelType, ModelVersion, Reference, Stage
from registry.training import Trained
from registry.training_models import TrainingRun

SCHEDULE = "schedule"  # who asks for a training when nobody does
AFTER_TRAINING = "after training: "  # how reasons of promotions begin that no person decided
HELD_BACK = 0.2  # the newest share of the window, at most, on which a detector is judged
TO_COMPARE = 100  # rows that neither detector has seen; fewer decide nothing
SEED = 0
Fitted = tuple[Pipeline, Calibration]
UNUSABLE = (DetectorUnusable, ArtifactCorrupt, ArtifactMissing, RuntimeMissing)


@dataclass(frozen=True, slots=True)
class Verdict:
    """quality: of the new detector, measured on rows it has not seen."""

    is_promoted: bool
    reason: str
    quality: Judged
    replaces: ModelVersion | None


def train(run: TrainingRun) -> Trained:
    """Fit on the window asked for, register the detector, and promote it when it is not worse than the one there is."""
    tenant_id, device = run.tenant_id, run.subject
    table = table_of(tenant_id, device, int(run.parameters["hours"]))
    check_trainable(table, device)
    fitted = multivariate.fitted(table, float(run.parameters["contamination"]), seed=SEED)
    verdict = _verdict(run, table)
    by = Principal(run.requested_by, tenant_id, frozenset({MODEL_ADMIN}), run.requested_by)
    version = _made_by(run) or _registered(run, table, fitted, verdict.quality, by)
    message = _promoted(version, verdict, by)
    version.refresh_from_db()
    return version, len(table.times_us), message


def _made_by(run: TrainingRun) -> ModelVersion | None:
    """What an earlier worker at this run registered before it died."""
    if run.token is None:  # trained within a request
        return None
    run.report(run.progress)  # whoever lost the run in the meantime registers nothing
    made = ModelVersion.objects.for_tenant(run.tenant_id).filter(metadata__training_run=str(run.pk))
    return made.select_related("model").first()


def _verdict(run: TrainingRun, table: Table) -> Verdict:
    """Whether the new detector takes the place of the one in production, and how good it is."""
    replaces = in_production(run.tenant_id, run.subject)
    decided = _decided(run, table, replaces)
    if decided is None and replaces is not None:
        unseen = _unseen(table, replaces)
        rows = max(TO_COMPARE, min(unseen // 2, int(len(table.times_us) * HELD_BACK)))
        before, held = _parted(run, table, rows)
        if len(before.times_us) >= settings.MIN_TRAINING_SAMPLES // 2:
            return _compared(run, before, device_judging.with_faults(held, table, seed=SEED), replaces)
        decided = False, f"only {len(before.times_us)} rows are older than those it would be judged on."
    before, held = _parted(run, table, max(1, int(len(table.times_us) * HELD_BACK)))
    quality = _judged_anew(run, before, device_judging.with_faults(held, table, seed=SEED))
    return Verdict(*(decided or (True, "")), quality, replaces)


def _decided(run: TrainingRun, table: Table, replaces: ModelVersion | None) -> tuple[bool, str] | None:
    """Whether it is promoted and why, where that needs no comparison; None where it does."""
    if replaces is None:
        return True, "the first detector of the device"
    try:
        usable(as_detector(replaces))
    except UNUSABLE:
        return True, "what was in production cannot be asked"
    known = replaces.metadata["device_metrics"]
    if set(known) - set(table.metrics):
        return True, "the device sends other metrics than the incumbent knows"
    if run.requested_by == SCHEDULE and (refusal := _chosen_by_a_person(replaces)):
        return False, refusal
    if tuple(known) != table.metrics:
        return True, "the device sends more metrics than the incumbent knows"
    if (unseen := _unseen(table, replaces)) < TO_COMPARE:
        return False, (
            f"only {unseen} rows since {replaces} was trained, and {TO_COMPARE} are needed to hold the two "
            "against each other. Promote it yourself to use it before."
        )
    return None


def _unseen(table: Table, incumbent: ModelVersion) -> int:
    return int((table.times_us >= to_us(learned_until(incumbent))).sum())


def _parted(run: TrainingRun, table: Table, rows: int) -> tuple[Table, Table]:
    """As many hours as are trained on from before the newest `rows`, and those rows."""
    cut = len(table.times_us) - rows
    held = table.rows(slice(cut, None))
    at = from_us(int(held.times_us[0]))
    hours = int(run.parameters["hours"])
    before = table_of(run.tenant_id, run.subject, hours, only=table.metrics, before=at)
    if before.metrics != table.metrics:  # one of them has only just begun
        before = table.rows(slice(None, cut))
    return before, held


def _judged_anew(run: TrainingRun, before: Table, faulty: Faulty) -> Judged:
    """How good a detector is that is made in the same way, without the rows it is judged on."""
    contamination = float(run.parameters["contamination"])
    fitted = multivariate.fitted(before, contamination, seed=SEED)
    return device_judging.judged(*fitted, faulty, contamination)


def _compared(run: TrainingRun, before: Table, faulty: Faulty, incumbent: ModelVersion) -> Verdict:
    ours = _judged_anew(run, before, faulty)
    theirs = device_judging.judged(*usable(incumbent), faulty, float(incumbent.metadata["contamination"]))
    tolerance = device_judging.standard_error(ours, theirs)
    numbers = (
        f"its error on {ours.alarms.size} rows that neither had seen is {ours.error:.3f}, "
        f"that of {incumbent} {theirs.error:.3f}"
    )
    if ours.error - theirs.error <= tolerance:
        return Verdict(True, numbers, ours, incumbent)
    numbers += f"; that is worse by more than one standard error, {tolerance:.3f}."
    return Verdict(False, numbers, ours, incumbent)


def _chosen_by_a_person(incumbent: ModelVersion) -> str:
    """Why a scheduled training does not replace it yet; empty when it may."""
    into = incumbent.model.transitions.filter(to_stage=Stage.PRODUCTION).order_by("-id").first()
    if into is None or into.reason.startswith(AFTER_TRAINING):
        return ""
    until = into.at + timedelta(days=settings.RETRAIN_HOLD_DAYS)
    if until <= timezone.now():
        return ""
    return (
        f"{into.by_name} put {incumbent} into production at {into.at:%Y-%m-%d %H:%M} UTC, and a scheduled "
        f"training does not replace that before {until:%Y-%m-%d %H:%M}."
    )


def _registered(
    run: TrainingRun,
    table: Table,
    fitted: Fitted,
    quality: Judged,
    by: Principal,
) -> ModelVersion:
    pipeline, calibration = fitted
    metadata = {
        "framework": "scikit-learn",
        "algorithm": "isolation_forest",
        "feature_names": multivariate.feature_names(table.metrics),
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
    content = skops.io.dumps(pipeline, compression=zipfile.ZIP_DEFLATED)
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
                        "recall": quality.recall,
                        "custom_metrics": {"alarm_rate": quality.alarm_rate, "detector_error": quality.error},
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


def _promoted(version: ModelVersion, verdict: Verdict, by: Principal) -> str:
    """Do as judged, and say it in a sentence."""
    if version.stage == Stage.PRODUCTION:  # by a worker that died afterwards
        return "In production."
    if not verdict.is_promoted:
        return f"Kept in staging: {verdict.reason}"
    try:
        with transaction.atomic():
            row = model_row(version.tenant_id, version.model.name)  # nobody promotes while we look
            if row.versions.production().first() != verdict.replaces:
                return "Kept in staging: another version went to production while it was trained."
            promote_version(
                tenant_id=version.tenant_id,
                reference=Reference(version.tenant_id, version.model.name, version.version),
                target_stage=Stage.PRODUCTION,
                by=by,
                reason=AFTER_TRAINING + verdict.reason,
            )
    except HubError as refusal:  # a gate of the model: the version stays, and says why
        return f"Kept in staging: {refusal}"
    return f"In production: {verdict.reason}."


def _moment(time_us: Any) -> str:
    return f"{from_us(int(time_us)):%Y-%m-%dT%H:%M:%SZ}"
