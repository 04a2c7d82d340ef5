"""How long rows are kept where an operator wants them deleted."""

from __future__ import annotations

from omarino.settings.service import env

env.group("Retention")

RETENTION = env.flag(
    "RETENTION",
    default=False,
    meaning="Delete what is older than the days below; off, everything is kept",
)
RETENTION_READINGS_DAYS = env.integer(
    "RETENTION_READINGS_DAYS",
    default=7,
    minimum=3,
    maximum=36_500,
    meaning="Readings; 8 hold every feature, 366 what forecasts learn from",
)
RETENTION_FEATURES_DAYS = env.integer(
    "RETENTION_FEATURES_DAYS", default=90, minimum=3, maximum=36_500, meaning="Rows of ai_features"
)
RETENTION_WEATHER_DAYS = env.integer(
    "RETENTION_WEATHER_DAYS", default=365, minimum=3, maximum=36_500, meaning="Weather"
)
RETENTION_HOURLY_DAYS = env.integer(
    "RETENTION_HOURLY_DAYS", default=365, minimum=3, maximum=36_500, meaning="Hours of hourly_features"
)
RETENTION_DAILY_DAYS = env.integer(
    "RETENTION_DAILY_DAYS", default=730, minimum=3, maximum=36_500, meaning="Days of daily_features"
)
