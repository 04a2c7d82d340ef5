"""Whom the service tells: webhooks of watches, Prometheus, a receiver of traces."""

from __future__ import annotations

from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network

from omarino import logs
from omarino.env import parts
from omarino.settings.service import SERVICE_NAME, env

env.group("Webhooks")


def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(part) for part in parts(text)]
    except ValueError as fault:
        env.require(False, f"WEBHOOK_PRIVATE_NETWORKS must be networks such as 10.1.0.0/16: {fault}.")
        return []


WEBHOOK_PRIVATE_NETWORKS = _networks(
    env.text(
        "WEBHOOK_PRIVATE_NETWORKS",
        meaning="Networks of one's own that webhooks may reach, such as 10.1.0.0/16; then http:// is taken as well",
    )
)
WEBHOOK_CA_BUNDLE = env.text(
    "WEBHOOK_CA_BUNDLE", meaning="File of the authorities that receivers' certificates may come from"
)

env.group("Metrics and traces")


def tracing_is_installed() -> bool:
    """Whether all of the extra `otel` is there; the interface alone may come with another package."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


METRICS_TOKEN = env.secret(
    "METRICS_TOKEN", meaning="What `GET /metrics` wants as a bearer token; unset, it answers everybody"
)
METRICS_DIR = env.text(
    "PROMETHEUS_MULTIPROC_DIR",
    shown="DATA_DIR/metrics by `manage.py up`, /data/metrics in the image",
    meaning="Folder in which the processes of one machine count; not shared between machines or containers",
)
WORKER_METRICS_PORT = env.integer(
    "WORKER_METRICS_PORT",
    default=0,
    maximum=65535,
    meaning="Port on which a Celery worker serves its metrics, where it shares no folder with a web server; 0 for none",
)
OTEL_EXPORTER_OTLP_ENDPOINT = env.url(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    schemes=("http", "https"),
    meaning="OTLP receiver of traces, over HTTP, such as http://collector:4318; needs the extra `otel`",
)
OTEL_SERVICE_NAME = env.text(
    "OTEL_SERVICE_NAME", default=SERVICE_NAME, shown="SERVICE_NAME", meaning="Our name in traces"
)
env.require(
    not OTEL_EXPORTER_OTLP_ENDPOINT or tracing_is_installed(),
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra otel is not installed: install requirements/otel.txt, or "
    "build the image with --build-arg REQUIREMENTS=otel.txt, or leave the variable out.",
)
logs.keep_secret([METRICS_TOKEN])
