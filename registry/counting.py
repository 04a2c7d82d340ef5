"""Counts of a traffic: added up in each process and written every two seconds, so that none costs a request much.

A process that is killed loses what it counted since then. Outcomes are rows and are never lost.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, connection

from registry.compare import BOUNDS_MS, bucket_of

FLUSH_EVERY_S = 2.0
log = structlog.get_logger(__name__)
ADD = """
INSERT INTO registry_variantcount (split_id, variant, requests, rows, failures, dropped, latency_ms, buckets)
SELECT %s, %s, %s, %s, %s, %s, %s, %s WHERE EXISTS (SELECT FROM registry_trafficsplit WHERE id = %s)
ON CONFLICT (split_id, variant) DO UPDATE SET
    requests = registry_variantcount.requests + excluded.requests,
    rows = registry_variantcount.rows + excluded.rows,
    failures = registry_variantcount.failures + excluded.failures,
    dropped = registry_variantcount.dropped + excluded.dropped,
    latency_ms = registry_variantcount.latency_ms + excluded.latency_ms,
    buckets = ARRAY(SELECT mine + theirs FROM unnest(registry_variantcount.buckets, excluded.buckets) AS each (mine, theirs))
"""


@dataclass(slots=True)
class Count:
    requests: int = 0
    rows: int = 0
    failures: int = 0
    dropped: int = 0
    latency_ms: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))


class Counters:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[UUID, str], Count] = {}
        self._flushed_at = clock()

    def add(self, split_id: UUID, variant: str, *, rows: int, took_ms: float, failed: bool = False) -> None:
        with self._lock:
            count = self._counts.setdefault((split_id, variant), Count())
            count.requests += 1
            count.rows += rows
            count.failures += failed
            count.latency_ms += took_ms
            count.buckets[bucket_of(took_ms)] += 1
        self._flush_when_due()

    def drop(self, split_id: UUID, variant: str) -> None:
        with self._lock:
            self._counts.setdefault((split_id, variant), Count()).dropped += 1

    def flush(self) -> None:
        """Write what was counted. What the database does not take is kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, {}
            self._flushed_at = self._clock()
        try:
            with connection.cursor() as cursor:
                for split_id, variant in sorted(
                    counts
                ):  # in one order, so that two processes do not lock crosswise
                    each = counts[split_id, variant]
                    numbers: list[Any] = [
                        each.requests,
                        each.rows,
                        each.failures,
                        each.dropped,
                        each.latency_ms,
                        each.buckets,
                    ]
                    cursor.execute(ADD, [split_id, variant, *numbers, split_id])
                    del counts[split_id, variant]
        except DatabaseError as fault:
            log.warning("traffic_not_counted", reason=type(fault).__name__)
            with self._lock:
                for key, kept in counts.items():
                    self._merge(key, kept)

    def _flush_when_due(self) -> None:
        if self._clock() - self._flushed_at >= FLUSH_EVERY_S:
            self.flush()

    def _merge(self, key: tuple[UUID, str], kept: Count) -> None:
        count = self._counts.setdefault(key, Count())
        count.requests += kept.requests
        count.rows += kept.rows
        count.failures += kept.failures
        count.dropped += kept.dropped
        count.latency_ms += kept.latency_ms
        count.buckets = [mine + theirs for mine, theirs in zip(count.buckets, kept.buckets, strict=True)]


COUNTERS = Counters()
atexit.register(lambda: COUNTERS.flush() if COUNTERS._counts else None)
