"""Spans of a real service, taken in by a real OTLP receiver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.observability.conftest import Hub, Receiver, Span, eventually
from tests.observability.test_logs import ASSET, request_export

RUN = "run/features.write_export"
REQUEST = "POST ai/features/export"
CALLER = "00-{trace}-b7ad6b7169203331-01"
WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry"] = None
import django
django.setup()
"""


def spans_of(receiver: Receiver, trace: str) -> dict[str, Span]:
    return {span.id: span for span in list(receiver.spans) if span.trace == trace}


def by_scope(spans: dict[str, Span], part: str) -> list[Span]:
    return [span for span in spans.values() if part in span.attributes["scope"]]


def test_a_request_is_traced_down_to_its_model_its_database_and_its_cache(
    hub: Hub, receiver: Receiver
) -> None:
    trace = "1af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": CALLER.format(trace=trace)}
    forecast = {"tenant_id": "demo", "asset_id": ASSET, "forecast_type": "load"}
    features = {"tenant_id": "demo", "asset_id": ASSET, "feature_set": "forecast_basic"}
    assert hub.ask("POST", "/ai/forecast", json=forecast, headers=headers).status_code == 200
    assert hub.ask("POST", "/ai/features/get", json=features, headers=headers).status_code == 200

    def complete() -> dict[str, Span]:
        found = spans_of(receiver, trace)
        return found if len(by_scope(found, "django")) == 2 and by_scope(found, "redis") else {}

    spans = eventually(complete)
    requests = by_scope(spans, "django")
    assert {span.name for span in requests} == {"POST ai/forecast", "POST ai/features/get"}
    assert {span.parent for span in requests} == {"b7ad6b7169203331"}
    (model,) = [span for span in spans.values() if span.name == "model inference"]
    assert (model.attributes["kind"], model.attributes["algorithm"]) == ("forecast", "auto")
    assert len(by_scope(spans, "psycopg")) >= 3
    for span in spans.values():
        assert span.parent in spans or span in requests
        assert "demo" not in " ".join(
            span.attributes.values()
        )  # what was asked of the database, not with what


def test_one_trace_leads_from_a_request_over_the_queue_to_the_worker(hub: Hub, receiver: Receiver) -> None:
    export_id = request_export(hub, "trace-me")
    eventually(lambda: hub.ask("GET", f"/ai/features/exports/{export_id}").json()["status"] == "completed")

    def run() -> list[Span]:
        return [span for span in list(receiver.spans) if span.name == RUN]

    traces = {span.trace for span in eventually(run)}

    def complete() -> dict[str, Span]:
        whole = [spans_of(receiver, trace) for trace in traces]
        ours = [spans for spans in whole if REQUEST in {span.name for span in spans.values()}]
        return ours[-1] if ours else {}

    spans = eventually(complete)
    (task,) = [span for span in spans.values() if span.name == RUN]
    sent = spans[task.parent]
    assert sent.name == "apply_async/features.write_export"
    above = [span.name for span in ancestors(spans, sent)]
    assert above[-1] == REQUEST
    below = [span for span in by_scope(spans, "psycopg") if task in ancestors(spans, span)]
    assert below, "the worker's own queries are in the trace"
    assert any(span.name == "storage" and task in ancestors(spans, span) for span in spans.values())


def ancestors(spans: dict[str, Span], span: Span) -> list[Span]:
    found = []
    while span.parent in spans:
        span = spans[span.parent]
        found.append(span)
    return found


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:4318", ""])
def test_without_the_extra_a_start_says_so_when_an_endpoint_is_set(tmp_path: Path, endpoint: str) -> None:
    kept = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA],
        env={
            **kept,
            "DJANGO_SETTINGS_MODULE": "omarino.settings",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        },
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )

    said = "the extra otel is not installed: install requirements/otel.txt"
    assert (done.returncode == 0, said in done.stderr) == (not endpoint, bool(endpoint))
