"""What Celery runs of the registry."""

from __future__ import annotations

from celery import shared_task

from omarino.errors import HubError
from registry import training


@shared_task(name="registry.train", throws=(HubError,))
def train(run_id: str) -> None:
    training.train(run_id=run_id)
