"""Runs and logged models that a client began and never finished: they go after a while, with what was uploaded."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from omarino import audit, metrics
from registry.errors import StorageUnavailable
from registry.mlflow import folders
from registry.models import ModelVersion, Tracked

FOLDERS = {Tracked.Kind.RUN: "runs", Tracked.Kind.MODEL: "models"}
log = structlog.get_logger(__name__)


def expire(*, now: datetime) -> int:
    """Delete what is unfinished and older than MLFLOW_UPLOAD_KEEP_DAYS. Gives the number of runs and logged models.

    Finished is what its client says is FINISHED or READY; a run from which a version was registered stays as well.
    """
    if not settings.MLFLOW_UPLOAD_KEEP_DAYS:
        return 0
    before = now - timedelta(days=settings.MLFLOW_UPLOAD_KEEP_DAYS)
    expired = 0
    for key in list(Tracked.objects.unfinished(before).values_list("pk", flat=True)):
        try:
            expired += _expire(key, before)
        except StorageUnavailable:
            log.warning("mlflow_uploads_not_expired", reason="the storage does not answer")
            break  # the next time
    return expired


@transaction.atomic
def _expire(key: str, before: datetime) -> int:
    row = Tracked.objects.unfinished(before).select_for_update(skip_locked=True).filter(pk=key).first()
    if row is None:  # finished meanwhile, or another is at it
        return 0
    if ModelVersion.objects.for_tenant(row.tenant_id).filter(metadata__mlflow_run_id=row.pk).exists():
        return 0
    files = folders.discard(row.tenant_id, f"{FOLDERS[Tracked.Kind(row.kind)]}/{row.pk}")
    audit.record(
        row.tenant_id,
        "expired",
        "run" if row.kind == Tracked.Kind.RUN else "logged model",
        row.pk,
        files=files,
    )
    row.delete()
    metrics.MLFLOW_UPLOADS_EXPIRED.labels(row.kind).inc()
    log.info("mlflow_upload_expired", tenant_id=row.tenant_id, kind=row.kind, files=files)
    return 1
