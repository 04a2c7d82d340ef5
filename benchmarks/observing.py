"""What metrics and logs cost a request, and what a scrape costs: processor time, in this process, without a network.

Counts into files as a served process does. Each figure is the median of rounds; the empty loop is taken off.

    python -m benchmarks.observing --write docs/benchmarks/observing.md
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = tempfile.TemporaryDirectory(prefix="hub-observing-")
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "omarino.settings",
    "DATA_DIR": FOLDER.name,
    "PROMETHEUS_MULTIPROC_DIR": f"{FOLDER.name}/metrics",
}

import django  # noqa: E402

django.setup()

from django.http import HttpRequest, HttpResponse  # noqa: E402

from benchmarks.machine import machine  # noqa: E402
from forecasting.actions import log  # noqa: E402
from omarino import metrics, tracing  # noqa: E402
from omarino.scraping import exposition  # noqa: E402

ROUNDS = 7
ROUTES, PROCESSES = 80, 8


def microseconds(what: Callable[[], object], times: int) -> float:
    """Of processor time, for one."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            what()
        ended = time.process_time()
        for _ in range(times):
            pass
        found.append(2 * ended - began - time.process_time())
    return statistics.median(found) / times * 1e6


class Match:
    route = "ai/forecast"


def counted() -> Callable[[], object]:
    request = HttpRequest()
    request.method, request.path_info = "POST", "/ai/forecast"
    request.resolver_match = Match()  # type: ignore[assignment]
    answer = HttpResponse()
    middleware = metrics.RequestMetricsMiddleware(lambda _: answer)
    return lambda: middleware(request)


def an_inference() -> None:
    with metrics.inference("forecast", "auto"):
        pass


def a_line() -> None:
    log.info(
        "forecast_generated",
        tenant_id="demo",
        asset_id="home-electricity-illinois",
        model_name="auto",
        horizon_hours=24,
        latency_ms=1034.016,
        request_id="8bdfd5b5c01141dcb6f65d197c3fa7f2",
        forecast_id="8b85a343-6835-411c-8bb6-5398fbb5eaa4",
    )


def a_span() -> None:
    with tracing.span("model inference", kind="forecast"):
        pass


def fill() -> int:
    """As if eight processes had answered eighty routes each. The size of the files."""
    for number in range(ROUTES):
        metrics.REQUESTS.labels("POST", f"/ai/route-{number}", "2xx").inc()
        metrics.REQUEST_DURATION.labels("POST", f"/ai/route-{number}").observe(12.0)
    for number in range(1, PROCESSES):  # of processes that live: a scrape would add up the others
        child = os.fork()
        if child == 0:
            for route in range(ROUTES):
                metrics.REQUESTS.labels("POST", f"/ai/route-{route}", "2xx").inc()
                metrics.REQUEST_DURATION.labels("POST", f"/ai/route-{route}").observe(float(number))
            time.sleep(600)
            os._exit(0)
        CHILDREN.append(child)
    time.sleep(3)
    return sum(file.stat().st_size for file in Path(f"{FOLDER.name}/metrics").glob("*.db"))


CHILDREN: list[int] = []


def measure() -> list[tuple[str, str]]:
    with Path(os.devnull).open("w") as nowhere:
        for handler in logging.getLogger().handlers:
            handler.stream = nowhere  # type: ignore[attr-defined]
        found = [
            ("counting and timing a request", f"{microseconds(counted(), 20_000):.1f} µs"),
            ("timing a model", f"{microseconds(an_inference, 20_000):.1f} µs"),
            ("a log line", f"{microseconds(a_line, 5_000):.1f} µs"),
            ("a log line below LOG_LEVEL", f"{microseconds(lambda: log.debug('nothing'), 20_000):.1f} µs"),
            ("a span while nothing is traced", f"{microseconds(a_span, 100_000):.2f} µs"),
        ]
    size = fill()
    found.append(
        (
            f"a scrape of {PROCESSES} processes that answered {ROUTES} routes each ({size / 1e6:.1f} MB of files)",
            f"{microseconds(exposition, 5) / 1000:.0f} ms",
        )
    )
    for child in CHILDREN:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return found


def report(found: list[tuple[str, str]]) -> str:
    lines = [
        "# What metrics and logs cost",
        "",
        f"Processor time. {machine()}. The cores were",
        "shared with whatever else ran. A forecast is one request, one model and one line.",
        "",
        "| What | Cost |",
        "|---|---|",
        *(f"| {what} | {cost} |" for what, cost in found),
        "",
        "Written by `make bench-observing`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="a Markdown file")
    asked = parser.parse_args()
    text = report(measure())
    print(text)
    if asked.write:
        asked.write.write_text(text)


if __name__ == "__main__":
    main()
