"""What Celery runs of the forecasts."""

from __future__ import annotations

import structlog
from celery import shared_task
from django.utils import timezone

from forecasting import quality_actions, sent_histories

log = structlog.get_logger(__name__)


@shared_task(name="forecasting.score_forecasts")
def score_forecasts() -> None:
    """Hourly. Run twice it writes the same."""
    written = quality_actions.score_recent(now=timezone.now())
    log.info("forecasts_scored", scores=written)


@shared_task(name="forecasting.drop_sent_histories")
def drop_sent_histories() -> None:
    """Histories of requests that were kept long enough."""
    log.info("sent_histories_dropped", histories=sent_histories.drop_old(now=timezone.now()))
