"""What Celery runs of the forecasts."""

from __future__ import annotations

import structlog
from celery import shared_task
from django.utils import timezone

from forecasting import quality_actions

log = structlog.get_logger(__name__)


@shared_task(name="forecasting.score_forecasts")
def score_forecasts() -> None:
    """Hourly. Run twice it writes the same."""
    written = quality_actions.score_recent(now=timezone.now())
    log.info("forecasts_scored", scores=written)
