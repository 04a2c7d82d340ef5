"""What Celery runs of the features."""

from __future__ import annotations

from celery import shared_task

from features import export_actions
from omarino.errors import HubError


@shared_task(name="features.write_export", throws=(HubError,))
def write_export(export_id: str) -> None:
    export_actions.write_export(export_id=export_id)


@shared_task(name="features.sweep_exports")
def sweep_exports() -> None:
    """Exports kept long enough, and what dead workers left of others."""
    export_actions.sweep_exports()
