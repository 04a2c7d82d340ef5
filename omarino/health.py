"""Is it alive, and which of its parts are: for probes, dashboards and the person at 2 a.m."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import redis
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.cache import cache
from django.core.files.storage import storages
from django.db import Error, connection
from drf_spectacular.utils import extend_schema
from kombu.exceptions import OperationalError as BrokerError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from omarino.celery import app as celery_app
from omarino.errors import IdentityUnavailable
from omarino.keys import KEYS

NEEDED = frozenset({"database", "storage", "identity"})  # without the others answers are slower, or jobs wait
LOOK_KEEPS_S = 1.0
THROUGH = {"timescaledb": "database", "workers": "broker"}  # who is reached through whom, asked before
FAULTS = (Error, redis.RedisError, BrokerError, OSError, BotoCoreError, ClientError, IdentityUnavailable)


class HealthView(APIView):
    """Alive: asks no other part, so that a probe never restarts a service whose database is away."""

    authentication_classes = []
    permission_classes = [AllowAny]

    @extend_schema(responses={200: dict[str, Any]}, tags=["health"])
    def get(self, request: Request) -> Response:
        return Response(_header("healthy"))


class DetailedHealthView(APIView):
    """Each dependency with its state and latency; 503 when one that is needed is out."""

    authentication_classes = []
    permission_classes = [AllowAny]

    @extend_schema(responses={200: dict[str, Any], 503: dict[str, Any]}, tags=["health"])
    def get(self, request: Request) -> Response:
        dependencies = LAST_LOOK.dependencies()
        out = {name for name, found in dependencies.items() if found["status"] == "unavailable"}
        status = "unhealthy" if out & NEEDED else "degraded" if out else "healthy"
        headers = {"Retry-After": "5"} if status == "unhealthy" else {}
        return Response(
            {**_header(status), "dependencies": dependencies},
            status=503 if status == "unhealthy" else 200,
            headers=headers,
        )


class _LastLook:
    """What was found a moment ago, for all who ask at once: anybody may, and to look takes half a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, Any]] = {}
        self._looked_at = -LOOK_KEEPS_S

    def dependencies(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_KEEPS_S:
                self._found = _look_at_all()
                self._looked_at = time.monotonic()
            return self._found

    def forget(self) -> None:
        self._looked_at = -LOOK_KEEPS_S


LAST_LOOK = _LastLook()


def _header(status: str) -> dict[str, Any]:
    return {
        "status": status,
        "service": settings.SERVICE_NAME,
        "version": settings.VERSION,
        "timestamp": datetime.now(UTC),
        "environment": settings.ENVIRONMENT,
    }


def _look_at_all() -> dict[str, dict[str, Any]]:
    """Asks nobody through a part that is out: each such question would only wait for its timeout."""
    found: dict[str, dict[str, Any]] = {}
    for name, probe in PROBES.items():
        through = THROUGH.get(name)
        if through is not None and found[through]["status"] == "unavailable":
            found[name] = {"status": "unavailable", "error": f"{through} is out", "latency_ms": 0.0}
        else:
            found[name] = _look(probe)
    return found


def _look(probe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        found = {"status": "healthy", **probe()}
    except FAULTS as fault:
        found = {"status": "unavailable", "error": type(fault).__name__}
    return {**found, "latency_ms": round((time.perf_counter() - began) * 1000, 1)}


def _database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return {"version": cursor.fetchone()[0].split()[0]}


def _timescaledb() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        row = cursor.fetchone()
    return {"version": row[0]} if row else {"status": "not_installed"}


def _cache() -> dict[str, Any]:
    cache.get("health")
    return {}


def _broker() -> dict[str, Any]:
    # not by Celery's connection, which has patience for a worker, not for a probe
    never = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(
        settings.CELERY_BROKER_URL, socket_timeout=1, socket_connect_timeout=1, retry=never
    ) as broker:
        broker.ping()
    return {}


def _workers() -> dict[str, Any]:
    answers = celery_app.control.ping(timeout=0.5)
    return {"count": len(answers)} if answers else {"status": "unavailable", "count": 0}


def _storage() -> dict[str, Any]:
    kind = "s3" if settings.MINIO_ENDPOINT_URL else "folder"
    storages["models"].exists("health")
    return {"kind": kind}


def _identity() -> dict[str, Any]:
    KEYS.warm()
    return {"issuer": "development" if settings.DEVELOPMENT_ISSUER else "keycloak"}


PROBES: dict[str, Callable[[], dict[str, Any]]] = {
    "database": _database,
    "timescaledb": _timescaledb,
    "cache": _cache,
    "broker": _broker,
    "workers": _workers,
    "storage": _storage,
    "identity": _identity,
}
