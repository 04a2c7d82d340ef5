"""The Celery app: `celery -A omarino.celery worker`."""

import logging
import os
import time
from typing import Any

import structlog
from celery import Celery, signals
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omarino.settings")
# Processes share the cores already; the threads of numpy and LightGBM within each would fight for them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
app = Celery("omarino")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

from omarino import metrics, tracing  # noqa: E402  they read the settings

REQUEST_ID = "hub_request_id"  # the header of a message that says for which request it was sent


@signals.setup_logging.connect
def keep_our_logging(**_: object) -> None:
    """A receiver of this signal keeps Celery from replacing the loggers of settings.LOGGING."""
    logging.captureWarnings(True)  # as lines like all others


@signals.worker_process_init.connect
@signals.beat_init.connect
def begin_to_trace(**_: object) -> None:
    tracing.start()


@signals.worker_process_shutdown.connect
def send_the_last_spans(**_: object) -> None:
    tracing.stop()


@signals.worker_ready.connect
def serve_metrics(**_: object) -> None:
    """In the main process: a task that keeps its child busy holds up no scrape."""
    if settings.WORKER_METRICS_PORT:
        from omarino.scraping import serve_worker_metrics

        serve_worker_metrics(settings.WORKER_METRICS_PORT)


@signals.before_task_publish.connect
def send_the_request_id(headers: dict[str, Any] | None = None, **_: object) -> None:
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if headers is not None and request_id:
        headers[REQUEST_ID] = request_id


@signals.task_prerun.connect
def take_the_request_id(task: Any = None, task_id: str = "", **_: object) -> None:
    structlog.contextvars.clear_contextvars()  # of the task before
    request_id = getattr(task.request, REQUEST_ID, None) or (task.request.headers or {}).get(REQUEST_ID)
    structlog.contextvars.bind_contextvars(
        task=task.name, task_id=task_id, **({"request_id": request_id} if request_id else {})
    )
    task.request.began = time.perf_counter()


@signals.task_postrun.connect
def count_the_task(task: Any = None, state: str | None = None, **_: object) -> None:
    metrics.TASKS.labels(task.name, (state or "unknown").lower()).inc()
    if (began := getattr(task.request, "began", None)) is not None:
        metrics.TASK_DURATION.labels(task.name).observe(metrics.elapsed_ms(began))
    structlog.contextvars.clear_contextvars()
