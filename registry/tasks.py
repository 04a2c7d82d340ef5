"""What Celery runs of the registry."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from omarino.errors import HubError
from registry import training
from registry.mlflow import expiry


@shared_task(name="registry.train", throws=(HubError,))
def train(run_id: str) -> None:
    training.train(run_id=run_id)


@shared_task(name="registry.expire_uploads")
def expire_uploads() -> None:
    """What MLflow clients began to upload and never finished."""
    expiry.expire(now=timezone.now())
