"""Training as a long work: the apps above know how to train, this keeps the record and the rules.

An app registers its trainers in `AppConfig.ready()`, by their path: this imports none of them, and nothing that trains
is imported before it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from omarino import audit
from omarino.errors import HubError, Outage
from omarino.jobs import JobStatus, JobTaken, count_ends
from registry.models import ModelVersion
from registry.training_models import TrainingRun

OUR_FAULT = (
    "Something went wrong on our side, and was logged. Train again, and tell us if that does not help."
)
PASSING = (Outage, OperationalError, InterfaceError)
Trained = tuple[ModelVersion, int, str]  # the version, the rows learned from, and a sentence
Trainer = Callable[[TrainingRun], Trained]
TRAINERS: dict[str, str] = {}
log = structlog.get_logger(__name__)


def register_trainer(kind: str, path: str) -> None:
    """path: dotted, to a `Trainer`."""
    TRAINERS[kind] = path


def _trainer(kind: str) -> Trainer:
    trainer: Trainer = import_string(TRAINERS[kind])
    return trainer


def request_training(
    *, tenant_id: str, kind: str, subject: str, requested_by: str, **parameters: Any
) -> TrainingRun:
    """A run that waits for a worker; the one that waits or works already, when there is one for the same."""
    runs = TrainingRun.objects.for_tenant(tenant_id).filter(kind=kind, subject=subject)
    waiting = runs.filter(status__in=(JobStatus.PENDING, JobStatus.PROCESSING), parameters=parameters).first()
    if waiting is not None:
        return waiting
    run = TrainingRun(
        tenant_id=tenant_id, kind=kind, subject=subject, requested_by=requested_by, parameters=parameters
    )
    with transaction.atomic():
        run.save(force_insert=True)
        run.enqueue()
        audit.record(tenant_id, "requested", "training", run.pk, after=run, kind_of_training=kind)
    return run


def train_now(
    *, tenant_id: str, kind: str, subject: str, requested_by: str, **parameters: Any
) -> TrainingRun:
    """Train within the request, and keep the record of it. Raises what the trainer raises; then nothing is kept."""
    run = TrainingRun(
        tenant_id=tenant_id, kind=kind, subject=subject, requested_by=requested_by, parameters=parameters
    )
    began = timezone.now()
    version, samples, message = _trainer(kind)(run)
    run.status, run.progress, run.attempts = JobStatus.COMPLETED, 1.0, 1
    run.version, run.samples, run.message = version, samples, message
    run.started_at, run.completed_at = began, timezone.now()
    with transaction.atomic():
        run.save(force_insert=True)
        audit.record(tenant_id, "trained", "training", run.pk, after=run, kind_of_training=kind)
    count_ends(TrainingRun, run.status, 1)
    return run


def train(*, run_id: Any) -> None:
    """Do the work of a run, if it is free. Every ending is written on its row."""
    run = TrainingRun.objects.claim(run_id)
    if run is None:
        return
    try:
        with run.in_hand():
            version, samples, message = _trainer(run.kind)(run)
        run.complete(version=version, samples=samples, message=message)
    except JobTaken:
        log.info("training_taken_away", run_id=str(run.pk), kind=run.kind)
        return
    except HubError as refusal:
        run.fail(str(refusal))
    except PASSING as fault:
        run.release("A part the service depends on did not answer; it is tried again.")
        log.warning("training_put_off", run_id=str(run.pk), kind=run.kind, reason=type(fault).__name__)
        return
    except Exception:
        run.fail(OUR_FAULT)
        raise
    run.refresh_from_db()
    log.info(
        "training_ended",
        tenant_id=run.tenant_id,
        kind=run.kind,
        subject=run.subject,
        status=run.status,
        model_name=str(run.version or ""),
        error=run.error,
    )
