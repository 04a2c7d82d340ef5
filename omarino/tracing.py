"""Spans by OpenTelemetry, sent by OTLP when OTEL_EXPORTER_OTLP_ENDPOINT is set. Needs the extra `otel`.

Each process starts its own after it was forked: the thread that sends does not live through a fork.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.conf import settings


@dataclass(slots=True)
class _Sender:
    process: int = 0
    tracer: Any = None
    provider: Any = None


_SENDER = _Sender()


def span(name: str, **attributes: str | int | float | bool) -> AbstractContextManager[None]:
    """A span around the block, within the one that is open; nothing where nothing is sent."""
    return nullcontext() if _SENDER.tracer is None else _span(name, attributes)


@contextmanager
def _span(name: str, attributes: dict[str, Any]) -> Iterator[None]:
    with _SENDER.tracer.start_as_current_span(name, attributes=attributes):
        yield


def trace_id() -> str | None:
    """Of the span that is open, in the 32 hexadecimal digits of W3C."""
    if _SENDER.tracer is None:
        return None
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


def start() -> None:
    """Begin to send the spans of this process, once. Where Django serves, call it before its handler is made."""
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT or _SENDER.process == os.getpid():
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _SENDER.process = os.getpid()
    resource = Resource.create(
        {
            "service.name": settings.OTEL_SERVICE_NAME,
            "service.version": settings.VERSION,
            "deployment.environment.name": settings.ENVIRONMENT,
        }
    )
    _SENDER.provider = TracerProvider(resource=resource)
    endpoint = f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    _SENDER.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(_SENDER.provider)
    _SENDER.tracer = trace.get_tracer("omarino")
    _instrument()
    atexit.register(stop)


def stop() -> None:
    """Send what is left."""
    if _SENDER.provider is not None and _SENDER.process == os.getpid():
        _SENDER.provider.shutdown()


def _instrument() -> None:
    from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    for instrumentor in (
        DjangoInstrumentor(),
        PsycopgInstrumentor(),
        RedisInstrumentor(),
        CeleryInstrumentor(),
        BotocoreInstrumentor(),
    ):
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument()
