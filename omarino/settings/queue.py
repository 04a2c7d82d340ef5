"""The queue: a wake-up only, the rows are the truth.

A task longer than the visibility timeout would be started again, so the hard limit lies below it; the sweep of
unacknowledged messages is every 10 s.
"""

from __future__ import annotations

from typing import Any

from omarino.settings.limits import JOB_LEASE_SECONDS

CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 3300
CELERY_TASK_SOFT_TIME_LIMIT = 3240
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "retry_on_timeout": True,
}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "omarino.beat.SteadyScheduler"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep-jobs": {
        "task": "omarino.sweep_jobs",
        "schedule": JOB_LEASE_SECONDS / 4,
        "options": {"expires": JOB_LEASE_SECONDS / 4},
    },
    "anchor-audit": {"task": "omarino.anchor_audit", "schedule": 300.0, "options": {"expires": 300.0}},
    "sweep-exports": {"task": "features.sweep_exports", "schedule": 900.0, "options": {"expires": 900.0}},
    "refresh-feature-views": {
        "task": "features.refresh_views",
        "schedule": 900.0,
        "options": {"expires": 900.0},
    },
    "store-features": {"task": "features.store_features", "schedule": 3600.0, "options": {"expires": 3600.0}},
    "score-forecasts": {
        "task": "forecasting.score_forecasts",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "drop-sent-histories": {
        "task": "forecasting.drop_sent_histories",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "retrain-detectors": {
        "task": "anomalies.retrain_what_is_due",
        "schedule": 900.0,
        "options": {"expires": 900.0},
    },
    "expire-detectors": {
        "task": "anomalies.expire_detectors",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "look-at-watches": {
        "task": "anomalies.look_at_what_is_due",
        "schedule": 30.0,
        "options": {"expires": 30.0},
    },
    "forget-sessions": {
        "task": "omarino.forget_sessions",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "expire-mlflow-uploads": {
        "task": "registry.expire_uploads",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "expire-readings": {"task": "features.expire", "schedule": 3600.0, "options": {"expires": 3600.0}},
}
