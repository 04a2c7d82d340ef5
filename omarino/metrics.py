"""What is counted and timed, for Prometheus. Labels are few and bounded: never a tenant, an asset or a model's name.

With PROMETHEUS_MULTIPROC_DIR set, as `manage.py up` and the image do, each process counts into files of that folder, and
`omarino.scraping` adds them up. Without it, as in a command, a process counts for itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

if settings.METRICS_DIR:  # the library looks when it is imported, and wants the folder to be there
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = settings.METRICS_DIR
    Path(settings.METRICS_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)

from prometheus_client import Counter, Histogram

from omarino import metric_files, tracing

metric_files.install()

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MILLISECONDS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
OF_TASKS = (10, 100, 1_000, 10_000, 60_000, 300_000, 900_000, 3_300_000)

REQUESTS = Counter("ai_service_requests", "Requests answered.", ["method", "route", "status"])
REQUEST_DURATION = Histogram(
    "ai_service_request_duration_ms",
    "Milliseconds until the answer was ready to be sent.",
    ["method", "route"],
    buckets=MILLISECONDS,
)
PREDICTIONS = Counter(
    "ai_service_model_predictions",
    "Forecasts, detections, and rows predicted by registered models.",
    ["kind", "algorithm"],
)
INFERENCE_DURATION = Histogram(
    "ai_service_inference_duration_ms",
    "Milliseconds a model took: fitting and forecasting, scoring, or predicting the rows of one request.",
    ["kind", "algorithm"],
    buckets=MILLISECONDS,
)
MODEL_CACHE_HITS = Counter("ai_service_model_cache_hits", "Models asked for that were loaded already.")
MODEL_CACHE_MISSES = Counter("ai_service_model_cache_misses", "Models asked for that had to be loaded.")
FEATURE_CACHE_HITS = Counter("ai_service_feature_cache_hits", "Assets whose features came from the cache.")
FEATURE_CACHE_MISSES = Counter(
    "ai_service_feature_cache_misses", "Assets whose features the cache did not have."
)
FEATURE_CACHE_AWAY = Counter(
    "ai_service_feature_cache_away", "Assets whose features were computed because the cache did not answer."
)
RATE_LIMITED = Counter("ai_service_rate_limited", "Requests refused because a budget was spent.", ["scope"])
RATE_LIMITS_AWAY = Counter(
    "ai_service_rate_limits_away", "Requests let through because Valkey, which counts them, did not answer."
)
REFUSED = Counter(
    "ai_service_refused", "Requests answered 401, 403 or 429, by the code of the answer.", ["code"]
)
MLFLOW_UPLOADS_EXPIRED = Counter(
    "ai_service_mlflow_uploads_expired", "Runs and logged models that were never finished, deleted.", ["kind"]
)
ANOMALIES = Counter("ai_service_anomalies_detected", "Points flagged.", ["method", "severity"])
TASKS = Counter("ai_service_tasks", "Celery tasks run.", ["task", "status"])
TASK_DURATION = Histogram(
    "ai_service_task_duration_ms", "Milliseconds a Celery task took.", ["task"], buckets=OF_TASKS
)
JOBS_ENDED = Counter("ai_service_jobs_ended", "Long works that came to an end.", ["kind", "status"])
TRAINING_JOBS = Counter(
    "ai_service_model_training_jobs", "Trainings that came to an end.", ["kind", "status"]
)


@contextmanager
def inference(kind: str, algorithm: str) -> Iterator[None]:
    """Time what a model does, and trace it. `algorithm`: one of ours, or the format of a registered model."""
    began = time.perf_counter()
    with tracing.span("model inference", kind=kind, algorithm=algorithm):
        yield
    INFERENCE_DURATION.labels(kind, algorithm).observe(elapsed_ms(began))


def elapsed_ms(began: float) -> float:
    """Since a `time.perf_counter()`, to the microsecond."""
    return round((time.perf_counter() - began) * 1000, 3)


class RequestMetricsMiddleware:
    """Counts and times every request, the outermost of all, so that refusals of the others are in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = self.get_response(request)
        took = elapsed_ms(began)
        method = request.method if request.method in METHODS else "other"
        route = route_of(request)
        REQUESTS.labels(method, route, f"{response.status_code // 100}xx").inc()
        REQUEST_DURATION.labels(method, route).observe(took)
        return response


def route_of(request: HttpRequest) -> str:
    """The address as the URLconf writes it; one name for all that leads nowhere."""
    match = getattr(request, "resolver_match", None)
    if match is not None:
        return f"/{match.route}"
    return "/static/" if request.path_info.startswith(settings.STATIC_URL) else "none"
