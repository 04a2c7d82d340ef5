"""One real service for these tests: two web processes, two of the worker, at LOG_LEVEL=DEBUG, traced."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import psutil
import pytest
from django.conf import settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from omarino.permissions import ROLES
from tests.omarino.test_up import Up

METRICS_TOKEN = "metrics-token-of-this-test"
Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Span:
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str]


@dataclass(slots=True)
class Receiver:
    """What speaks OTLP over HTTP in protobuf, as a collector does."""

    port: int = 0
    spans: list[Span] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    told = {pair.key: _plain(pair.value) for pair in span.attributes}
                    self.spans.append(
                        Span(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            told | {"scope": scope.scope.name},
                        )
                    )


def _plain(value: Any) -> str:
    return str(getattr(value, value.WhichOneof("value")))


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    collected = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                collected.take(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Not onto the screen."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collected.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield collected
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass(slots=True)
class Hub:
    """The running service as its callers and its operator see it."""

    up: Up
    worker_port: int
    token: str = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.up.port}"

    def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        headers |= more.pop("headers", {})
        return httpx.request(method, self.address + path, headers=headers, timeout=60, **more)

    def scrape(self) -> dict[str, list[tuple[Labels, float]]]:
        answer = self.ask("GET", "/metrics", token=METRICS_TOKEN)
        assert answer.status_code == 200, answer.text
        return parsed(answer.text)

    def total(self, name: str, **labels: str) -> float:
        return total(self.scrape(), name, **labels)

    def logged(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines(name) if line.startswith("{")]

    def lines(self, name: str) -> list[str]:
        return (self.up.folder / "logs" / f"{name}.log").read_text().splitlines()

    def processes(self, name: str) -> list[psutil.Process]:
        """Of `granian` or `worker`, those that work; the first of each only looks after them."""
        (leader,) = [each for each in self.up.family()[name] if os.getsid(each.pid) == each.pid]
        return leader.children(recursive=True)


def parsed(text: str) -> dict[str, list[tuple[Labels, float]]]:
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), float(sample.value)))
    return found


def total(samples: dict[str, list[tuple[Labels, float]]], name: str, **labels: str) -> float:
    return sum(value for told, value in samples.get(name, []) if labels.items() <= told.items())


def eventually(holds: Callable[[], Any], patience_s: float = 30.0) -> Any:
    """What `holds()` gives once it is true."""
    deadline = time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.2)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def hub(receiver: Receiver) -> Iterator[Hub]:
    folder = Path(tempfile.mkdtemp(prefix="hub-observed-"))  # the database's account must get there
    worker_port = free_port()
    up = Up(
        folder,
        free_port(),
        WEB_PROCESSES="2",
        WORKER_PROCESSES="2",
        LOG_LEVEL="DEBUG",
        METRICS_TOKEN=METRICS_TOKEN,
        WORKER_METRICS_PORT=str(worker_port),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.port}",
        OTEL_BSP_SCHEDULE_DELAY="200",
    )
    try:
        up.wait_for("Ctrl-C stops it.")
        running = Hub(up, worker_port)
        running.token = token_of(up)
        eventually(lambda: "ready." in (folder / "logs" / "worker.log").read_text())
        yield running
    finally:  # also of one that came up too late, which would go on beside the other tests
        up.process.terminate()
        up.ended()
        shutil.rmtree(folder, ignore_errors=True)


def token_of(up: Up, tenant_id: str = "demo") -> str:
    """Signed by the running service's own development key."""
    now = int(time.time())
    return jwt.encode(
        {
            "iss": "urn:omarino:development",
            "aud": settings.KEYCLOAK_CLIENT_ID,
            "azp": settings.KEYCLOAK_CLIENT_ID,
            "sub": "observer",
            "typ": "Bearer",
            "iat": now,
            "nbf": now,
            "exp": now + 43_200,  # one token for a whole run
            "tenant_id": tenant_id,
            "preferred_username": "observer",
            "realm_access": {"roles": sorted(ROLES)},
        },
        (up.folder / "development_issuer.pem").read_bytes(),
        algorithm="RS256",
        headers={"kid": "development"},
    )
