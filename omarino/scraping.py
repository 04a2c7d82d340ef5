"""`GET /metrics`: what the processes of this machine counted, and how long the works and the queue are."""

from __future__ import annotations

import fcntl
import hmac
import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import redis
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, DurationField, ExpressionWrapper, Min
from django.db.models.functions import Extract, Now
from django.http import HttpRequest, HttpResponse
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, start_wsgi_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from omarino import jobs
from omarino.health import FAULTS, PROBES
from omarino.metric_files import ReservedDict

QUEUE = "celery"  # Celery's own name of its one queue
FRESH_S = 5.0  # several scrapers, or an impatient one, ask the database no oftener
PATIENCE_S = 2.0
DEAD = "0"  # stands for a process's number where the files of those that are gone are added up
log = structlog.get_logger(__name__)
OF_APPS: list[Collector] = []  # what the apps above have to tell; each adds its own when it is ready
ValueT = TypeVar("ValueT")
OpenWorks = list[tuple[str, str, int, float]]  # kind, status, how many, age of the oldest in seconds


# The door


class MayScrape(BasePermission):
    """Whoever reaches the address, or only who brings METRICS_TOKEN when that is set."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not settings.METRICS_TOKEN:
            return True
        brought = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(brought.encode(), settings.METRICS_TOKEN.encode()):
            return True
        raise NotAuthenticated("Bring the METRICS_TOKEN of this service as a bearer token.")


class MetricsView(APIView):
    """Prometheus' text. It is answered while the database or the queue is away, without what they alone know."""

    authentication_classes = []
    permission_classes = [MayScrape]
    schema = None  # no part of the API: its reader knows the format

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        return super().perform_content_negotiation(request, force=True)  # a scraper asks for its own types

    def get_authenticate_header(self, request: Request) -> str:
        return f'Bearer realm="{settings.SERVICE_NAME} metrics"'

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(exposition(Waiting(), *OF_APPS), content_type=CONTENT_TYPE_LATEST)


def exposition(*more: Collector) -> bytes:
    """What all processes counted, and what `more` reads now."""
    registry = CollectorRegistry()
    for collector in (Counted(), *more):
        registry.register(collector)
    return generate_latest(registry)


def serve_worker_metrics(port: int) -> None:
    """The same for a machine that runs workers alone: a small server within Celery's main process.

    Queue and works are the web server's to tell: one place asks the database.
    """
    registry = CollectorRegistry()
    registry.register(Counted())
    start_wsgi_server(port, addr=settings.HOST, registry=registry)


class Counted(Collector):
    """Of every process that counts into our folder, else of this one."""

    def describe(self) -> list[Metric]:
        return []  # nothing is read to be registered

    def collect(self) -> list[Metric]:
        if not settings.METRICS_DIR:
            return list(REGISTRY.collect())
        folder = Path(settings.METRICS_DIR)
        sweep(folder)
        with _locked(folder, fcntl.LOCK_SH):
            return list(MultiProcessCollector(None, path=str(folder)).collect())


# Processes that are gone


def sweep(folder: Path) -> int:
    """Add the files of processes that no longer live into one, so that counters never fall and files never pile up.

    Gives the number of files that went. Nothing is read meanwhile; somebody who reads puts it off until the next time.
    """
    gone = _files_of_the_dead(folder)
    if not gone:
        return 0
    with suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):  # held, or the disk is full
        gone = _files_of_the_dead(folder)  # somebody else may have been quicker
        for kind, files in gone.items():
            _add_up(folder / f"{kind}_{DEAD}.db", files)
        return sum(map(len, gone.values()))
    return 0


def _files_of_the_dead(folder: Path) -> dict[str, list[Path]]:
    """By kind, "counter" or "histogram"."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(folder.glob("*.db")):
        kind, _, process = file.stem.rpartition("_")
        if process != DEAD and not _lives(int(process)):
            found[kind].append(file)
    return found


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _add_up(total: Path, files: list[Path]) -> None:
    """Killed half way it leaves less counted, which Prometheus takes for a restart; never the same counted twice."""
    sums: dict[str, float] = defaultdict(float)
    for file in [total, *files]:
        if file.exists() and file.stat().st_size:  # a process may end before it wrote its first word
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):
                sums[key] += value
    aside = total.with_suffix(".new")
    aside.unlink(missing_ok=True)
    written = ReservedDict(str(aside))
    for key, value in sums.items():
        written.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]
    for file in files:
        file.unlink()
    aside.replace(total)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield


# What waits


class Reading(Generic[ValueT]):
    """A value read at most every few seconds, by a thread that may hang without holding up anybody for long.

    `latest` is None while the part that knows it is away.
    """

    def __init__(self, read: Callable[[], ValueT], *, fresh_s: float = FRESH_S) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._value: ValueT | None = None
        self._began_at = self._tried_at = -math.inf
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Read it anew unless it is fresh, or somebody is at it."""
        with self._lock:
            is_read = self._thread is not None and self._thread.is_alive()
            if not is_read and time.monotonic() - self._tried_at >= self._fresh_s:
                self._began_at = time.monotonic()
                self._thread = threading.Thread(target=self._refresh, daemon=True)
                self._thread.start()

    def latest(self) -> ValueT | None:
        self.begin()
        thread = self._thread
        if thread is None:
            return self._value
        thread.join(max(self._began_at + PATIENCE_S - time.monotonic(), 0))  # who hangs is waited for once
        return None if thread.is_alive() else self._value

    def _refresh(self) -> None:
        try:
            self._value = self._read()
        except FAULTS as fault:
            if self._value is not None:
                log.warning("metrics_not_read", error=type(fault).__name__)
            self._value = None
        finally:
            self._tried_at = time.monotonic()


@contextmanager
def own_connection() -> Iterator[None]:
    """Of this thread alone, new each time, so that a dead one is never waited for; and for short questions."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 1500")
            yield
    finally:
        connection.close()


def _open_works() -> OpenWorks:
    with own_connection():
        return [
            (kind._meta.label_lower, status, *_how_many(kind, status))
            for kind in jobs.kinds()
            for status in (jobs.JobStatus.PENDING, jobs.JobStatus.PROCESSING)
        ]


def _how_many(kind: type[jobs.Job], status: str) -> tuple[int, float]:
    column = "requested_at" if status == jobs.JobStatus.PENDING else "started_at"
    age = ExpressionWrapper(Now() - Min(column), output_field=DurationField())
    found = kind._default_manager.filter(status=status).aggregate(
        count=Count("pk"), age=Extract(age, "epoch")
    )
    return found["count"], float(found["age"] or 0.0)


def _queue_depth() -> int:
    never = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(
        settings.CELERY_BROKER_URL, socket_timeout=1, socket_connect_timeout=1, retry=never
    ) as broker:
        return int(broker.llen(QUEUE))


OPEN_WORKS = Reading(_open_works)
QUEUE_DEPTH = Reading(_queue_depth)
PARTS: dict[str, Reading[Any]] = {
    "database": OPEN_WORKS,
    "queue": QUEUE_DEPTH,
    **{name: Reading(PROBES[name]) for name in ("storage", "identity")},
}


class Waiting(Collector):
    """Messages in the queue; works pending and in hand, and the age of the oldest of each kind."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for reading in PARTS.values():
            reading.begin()  # all at once: however many hang, a scrape waits once
        found = {name: reading.latest() for name, reading in PARTS.items()}
        works, depth = found["database"], found["queue"]
        up = GaugeMetricFamily("ai_service_dependency_up", "1 when it answered this scrape.", labels=["part"])
        for name, value in found.items():
            up.add_metric([name], float(value is not None))
        yield up
        if depth is not None:
            queue = GaugeMetricFamily(
                "ai_service_queue_depth", "Messages no worker took yet.", labels=["queue"]
            )
            queue.add_metric([QUEUE], depth)
            yield queue
        if works is None:
            return
        count = GaugeMetricFamily("ai_service_jobs", "Long works by state.", labels=["kind", "status"])
        age = GaugeMetricFamily(
            "ai_service_job_age_seconds",
            "Age of the oldest long work in a state: since it was asked for, or since somebody began it.",
            labels=["kind", "status"],
        )
        for kind, status, number, oldest_s in works:
            count.add_metric([kind, status], number)
            age.add_metric([kind, status], oldest_s)
        yield from (count, age)
