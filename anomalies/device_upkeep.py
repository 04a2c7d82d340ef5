"""Detectors of devices over time: trained anew when it is time, and deleted when nobody will go back to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings

from anomalies.device_detectors import KIND, is_of_a_training, learned_until
from anomalies.device_readings import has_sent_since
from anomalies.device_training import SCHEDULE, TO_COMPARE
from omarino.authentication import Principal
from omarino.errors import NotFound
from omarino.permissions import MODEL_ADMIN
from registry.actions import delete_version
from registry.errors import InProduction, StorageUnavailable
from registry.models import ModelVersion, Reference, RegisteredModel, Stage
from registry.training import request_training
from registry.training_models import TrainingRun

# A training is due a little before its interval is over: it would begin one look later each night, and leave the night.
SLACK = timedelta(minutes=30)
log = structlog.get_logger(__name__)


def retrain_what_is_due(now: datetime) -> list[TrainingRun]:
    """Ask for a training of every device whose detector in production is older than RETRAIN_INTERVAL_HOURS, and that
    has sent enough since for the new one to be held against it."""
    if not off_peak(now):
        return []
    due = ModelVersion.objects.filter(stage=Stage.PRODUCTION, metadata__kind=KIND).select_related("model")
    old = now - timedelta(hours=settings.RETRAIN_INTERVAL_HOURS) + SLACK
    return [
        request_training(
            tenant_id=version.tenant_id,
            kind=KIND,
            subject=version.metadata["device"],
            requested_by=SCHEDULE,
            hours=version.metadata["hours"],
            contamination=version.metadata["contamination"],
        )
        for version in filter(is_of_a_training, due)
        if _is_due(version, old)
    ]


def _is_due(version: ModelVersion, old: datetime) -> bool:
    device = version.metadata["device"]
    last = TrainingRun.objects.for_tenant(version.tenant_id).filter(kind=KIND, subject=device).first()
    if last is not None and last.requested_at > old:
        return False
    metrics, since = version.metadata["device_metrics"], learned_until(version)
    return has_sent_since(version.tenant_id, device, metrics, since, rows=TO_COMPARE)


def off_peak(now: datetime) -> bool:
    """Whether the hour (UTC) lies in RETRAIN_OFF_PEAK, from..until, which may pass midnight."""
    first, until = settings.RETRAIN_OFF_PEAK
    hour = now.astimezone(UTC).hour
    return first <= hour < until if first < until else hour >= first or hour < until


def expire(now: datetime) -> int:
    """Delete the detectors that nobody will go back to. Gives how many.

    Kept are the one in production, the DETECTOR_KEEP_PROMOTIONS before it, and whatever is younger than
    DETECTOR_KEEP_DAYS, was approved, or takes part in a traffic split; and all that no training made.
    """
    if not settings.DETECTOR_KEEP_DAYS:
        return 0
    by = Principal(SCHEDULE, "", frozenset({MODEL_ADMIN}), SCHEDULE)
    expired = 0
    for version in _over(now - timedelta(days=settings.DETECTOR_KEEP_DAYS)):
        reference = Reference(version.tenant_id, version.model.name, version.version)
        try:
            delete_version(tenant_id=version.tenant_id, reference=reference, by=by, reason="expired")
        except (InProduction, NotFound):  # a person went back to it at this moment, or deleted it
            continue
        except StorageUnavailable:
            log.warning("detectors_not_expired", reason="the storage does not answer")
            break  # the files of this one are found by check_artifacts, the others the next time
        expired += 1
    return expired


def _over(before: datetime) -> Iterator[ModelVersion]:
    trained = ModelVersion.objects.exclude(stage=Stage.PRODUCTION).filter(
        metadata__kind=KIND, uploaded_at__lt=before, approvals=None
    )
    for model in RegisteredModel.objects.filter(versions__in=trained).distinct().select_related("split"):
        kept = _last_in_production(model)
        if model.split is not None and model.split.challenger_id is not None:
            kept.append(model.split.challenger_id)
        for version in trained.filter(model=model).exclude(pk__in=kept).select_related("model"):
            if is_of_a_training(version):
                yield version


def _last_in_production(model: RegisteredModel) -> list[UUID]:
    """Versions to roll back to, the last first; they may have been in production more than once."""
    entered = model.transitions.filter(to_stage=Stage.PRODUCTION, version_id__in=model.versions.values("pk"))
    newest_first = dict.fromkeys(entered.order_by("-id").values_list("version_id", flat=True))
    there = set(model.versions.production().values_list("pk", flat=True))
    return [pk for pk in newest_first if pk not in there][: settings.DETECTOR_KEEP_PROMOTIONS]
