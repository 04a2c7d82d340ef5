"""A forecast through the whole stack: web server, token, database, features, forecaster, answer.

Starts the product as `make up` does, in a folder of its own, stores a year of hourly and of quarter-hourly
readings, and asks one client's questions one after the other. The time of the forecaster alone, measured in
this process on the same history, stands beside each row: the rest is what the stack costs.

    python benchmarks/stack.py --requests 100 --write docs/benchmarks/stack.md
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import httpx  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.machine import machine  # noqa: E402
from forecasting.forecasters import FORECASTERS  # noqa: E402
from forecasting.forecasters.base import Problem  # noqa: E402
from forecasting.horizon import regular_series  # noqa: E402

START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    name: str
    minutes: int
    horizon_hours: int
    stored: bool
    goal_ms: float

    @property
    def points(self) -> int:
        return 365 * 24 * 60 // self.minutes


CASES = [
    Case("8,760 hours, stored, 24 h", 60, 24, True, 200),
    Case("8,760 hours, stored, 168 h", 60, 168, True, 200),
    Case("8,760 hours, in the body, 24 h", 60, 24, False, 250),
    Case("8,760 hours, in the body, 168 h", 60, 168, False, 250),
    Case("35,040 quarter-hours, stored, 24 h", 15, 24, True, 500),
]


def readings_of(minutes: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(3)
    count = 365 * 24 * 60 // minutes
    hours = np.arange(count) * minutes / 60
    values = (
        60
        + 20 * np.sin(hours / 24 * 2 * np.pi)
        + 8 * np.sin(hours / 168 * 2 * np.pi)
        + rng.normal(0, 3, count)
    )
    return [
        {
            "timestamp": (START + index * timedelta(minutes=minutes)).isoformat(),
            "value": round(float(value), 3),
        }
        for index, value in enumerate(values)
    ]


def alone_ms(case: Case, repeats: int = 7) -> float:
    """Median time of grid and forecaster in this process."""
    points = readings_of(case.minutes)
    times = np.array([point["timestamp"][:-6] for point in points], dtype="datetime64[us]").astype(np.int64)
    values = np.array([point["value"] for point in points])
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        series, _ = regular_series(times, values, case.minutes)
        FORECASTERS["auto"].forecast(Problem(series=series, steps=case.horizon_hours * 60 // case.minutes))
        took.append(time.perf_counter() - began)
    return float(np.median(took) * 1000)


class Stack:
    """The product, started by its own command."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.environment = {**os.environ, "DATA_DIR": str(folder), "PORT": str(port), "LOG_LEVEL": "WARNING"}
        self.environment |= {
            "RATE_LIMIT_LIGHT": "10000000",
            "RATE_LIMIT_HEAVY": "10000000",
        }  # counted, not met
        self.manage = [sys.executable, str(ROOT / "manage.py")]

    def __enter__(self) -> httpx.Client:
        self.process = subprocess.Popen(
            [*self.manage, "up"], env=self.environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            return self._answering()
        except BaseException:
            self.__exit__()
            raise

    def _answering(self) -> httpx.Client:
        """A client, once the product answers."""
        client = httpx.Client(base_url=self.address, timeout=60)
        deadline = time.monotonic() + 240
        while True:
            try:
                if client.get("/health").status_code == 200:
                    break
            except httpx.TransportError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
            time.sleep(0.2)
        token = subprocess.run(
            [*self.manage, "token", "--tenant", "bench"],
            env=self.environment,
            capture_output=True,
            check=True,
        )
        client.headers["Authorization"] = f"Bearer {token.stdout.decode().strip()}"
        return client

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def latencies_ms(client: httpx.Client, case: Case, requests: int) -> np.ndarray:
    asset_id = f"meter-{case.minutes}"
    body: dict[str, object] = {
        "tenant_id": "bench",
        "asset_id": asset_id,
        "forecast_type": "load",
        "horizon_hours": case.horizon_hours,
        "interval_minutes": case.minutes,
    }
    points = readings_of(case.minutes)
    if case.stored:
        for first in range(0, len(points), 10_000):
            part = {"tenant_id": "bench", "asset_id": asset_id, "readings": points[first : first + 10_000]}
            client.post("/ai/features/readings", json=part).raise_for_status()
    else:
        body["historical_data"] = points
    content = httpx.Request("POST", "http://x", json=body).content
    took = []
    for _ in range(requests + 5):  # the first ones warm each process
        began = time.perf_counter()
        answer = client.post("/ai/forecast", content=content, headers={"Content-Type": "application/json"})
        took.append(time.perf_counter() - began)
        answer.raise_for_status()
        assert len(answer.json()["forecasts"]) == case.horizon_hours * 60 // case.minutes
    return np.array(took[5:]) * 1000


def table(rows: list[tuple[Case, np.ndarray, float]]) -> str:
    lines = [
        "| request | p50 ms | p95 ms | goal p95 | | forecaster alone, ms |",
        "|---|---|---|---|---|---|",
    ]
    for case, took, alone in rows:
        p50, p95 = np.percentile(took, [50, 95])
        verdict = "met" if p95 <= case.goal_ms else "missed"
        lines.append(
            f"| {case.name} | {p50:.0f} | {p95:.0f} | {case.goal_ms:.0f} | {verdict} | {alone:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder, Stack(Path(folder)) as client:
        rows = [(case, latencies_ms(client, case, options.requests), alone_ms(case)) for case in CASES]
    text = (
        "# A forecast through the whole stack\n\n"
        f"`make bench-stack`, {datetime.now(UTC):%Y-%m-%d}, the cores shared with the client. {machine()}. "
        f"One client, {options.requests} requests a row, after five to warm up.\n\n{table(rows)}\n\n"
        "The goals: 200 ms with a year of hours stored, 250 ms with it in the body, whatever the horizon, and "
        "500 ms for a year of quarter-hours.\n"
    )
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
