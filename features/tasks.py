"""What Celery runs of the features."""

from __future__ import annotations

from celery import shared_task
from django.db import connection
from django.utils import timezone

from features import aggregates, export_actions, retention, stored
from omarino.errors import HubError


@shared_task(name="features.write_export", throws=(HubError,))
def write_export(export_id: str) -> None:
    export_actions.write_export(export_id=export_id)


@shared_task(name="features.sweep_exports")
def sweep_exports() -> None:
    """Exports kept long enough, and what dead workers left of others."""
    export_actions.sweep_exports()


@shared_task(name="features.refresh_views")
def refresh_views() -> None:
    """What people read in SQL, up to date with readings that came late as well."""
    aggregates.refresh_aggregates(connection, since=retention.dropped_before())
    aggregates.refresh_views(connection)


@shared_task(name="features.store_features")
def store_features() -> None:
    """The last hours of the sets that tenants want stored."""
    stored.store_wanted(now=timezone.now())


@shared_task(name="features.expire")
def expire() -> None:
    """What is older than this deployment keeps it."""
    retention.expire(now=timezone.now())
