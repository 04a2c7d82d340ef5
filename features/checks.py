"""Is enough kept for what is computed from it? `manage.py check` and every start ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

from features.catalog import FEATURES, HOUR

TRAINING_WANTS = timedelta(days=365)  # of readings: a forecast of the year's course is learned from a year


@register()
def enough_is_kept(**_: Any) -> list[CheckMessage]:
    if not settings.RETENTION:
        return []
    kept = timedelta(days=settings.RETENTION_READINGS_DAYS)
    found: list[CheckMessage] = []
    # A lag is the reading in whose interval it lies, so one interval more is looked at: an hour, usually.
    short = [name for name, feature in FEATURES.items() if feature.looks_back + HOUR > kept]
    if short:
        found.append(
            Warning(
                f"Readings are kept for {kept.days} days, which is too short for {', '.join(short)}.",
                hint="Set RETENTION_READINGS_DAYS higher; 8 days hold every feature.",
                id="features.W001",
            )
        )
    if kept < TRAINING_WANTS:
        found.append(
            Warning(
                f"Forecasts learn from up to a year of readings; kept are {kept.days} days.",
                hint="Set RETENTION_READINGS_DAYS to 366, or send the history with the request.",
                id="features.W002",
            )
        )
    return found
