"""Logs: one JSON object a line, ours and the libraries'."""

from __future__ import annotations

import structlog

from omarino import logs, tracing
from omarino.settings.service import LOG_LEVEL

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *(step for step in logs.fields(logs.with_trace(tracing.trace_id)) if step is not logs.FOREIGN_ONLY),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": logs.formatter, "more": [logs.with_trace(tracing.trace_id)]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.request": {"level": "ERROR"},  # a refused request is the caller's business, not an operator's
        "django.security": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # scanners try names all day
        "celery.worker.strategy": {"level": "WARNING"},  # a line for each message; works tell themselves
        "celery.app.trace": {"level": "WARNING"},
        **{name: {"level": "INFO" if LOG_LEVEL == "DEBUG" else LOG_LEVEL} for name in logs.CHATTERS},
    },
}
