"""Measure POST /ai/anomaly through the whole stack: parsing, detecting, storing, answering. See README.md beside it.

python -m benchmarks.anomaly_latency [--requests 200] [--write docs/benchmarks/anomaly.md]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np

from anomalies.detectors import DETECTORS
from benchmarks.machine import machine
from benchmarks.stack import Stack

TITLE = "## Latency through the whole stack"
START = datetime(2023, 1, 1, tzinfo=UTC)
SPIKES = 5  # so that there is something to say and to store
IDLE_S = 8
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Size:
    points: int
    minutes: int
    goal_ms: float | None
    share: float  # of the requests that the smallest size gets


SIZES = (Size(1_000, 60, 30, 1.0), Size(10_000, 15, None, 0.2), Size(100_000, 15, 1_000, 0.1))


def body(size: Size, method: str) -> bytes:
    """A wave of a day and a week with noise and a few spikes, as a client would write it."""
    rng = np.random.default_rng(4)
    hours = np.arange(size.points) * size.minutes / 60
    values = 60 + 20 * np.sin(hours / 24 * 2 * np.pi) + 8 * np.sin(hours / 168 * 2 * np.pi)
    values += rng.normal(0, 2, size.points)
    values[rng.choice(size.points, SPIKES, replace=False)] += 60
    step = timedelta(minutes=size.minutes)
    series = [
        {"timestamp": (START + index * step).isoformat(), "value": round(value, 3)}
        for index, value in enumerate(values.tolist())
    ]
    asked = {"tenant_id": "bench", "asset_id": "meter", "method": method, "time_series": series}
    return httpx.Request("POST", "http://x", json=asked).content


def worked_ms(root: int) -> float:
    """Processor time so far of a process and all below it."""
    parents, spent = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it ended meanwhile
        parents[int(folder.name)], spent[int(folder.name)] = int(told[1]), int(told[11]) + int(told[12])
    ours = {root}
    while grown := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= grown
    return 1000 * sum(spent.get(pid, 0) for pid in ours) / TICKS


def idle_ms(root: int) -> float:
    """Processor time that the product takes in a second in which nobody asks."""
    time.sleep(2)  # what the start left
    before, began = worked_ms(root), time.perf_counter()
    time.sleep(IDLE_S)
    return (worked_ms(root) - before) / (time.perf_counter() - began)


def measured(
    client: httpx.Client, root: int, content: bytes, requests: int, idle: float
) -> tuple[np.ndarray, float]:
    """Milliseconds of each request, and the processor time of one in all the product's processes."""
    headers = {"Content-Type": "application/json"}
    took = []
    for number in range(requests + 3):
        if number == 3:  # the first ones warm each process
            before = worked_ms(root)
        began = time.perf_counter()
        answer = client.post("/ai/anomaly", content=content, headers=headers)
        took.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
        assert len(answer.json()["anomalies"]) >= SPIKES
    lasted = sum(took[3:]) / 1000
    return np.array(took[3:]), (worked_ms(root) - before - idle * lasted) / requests


def rows(requests: int, points: list[int]) -> list[str]:
    found = []
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        stack = Stack(Path(folder))
        with stack as client:
            root = stack.process.pid
            idle = idle_ms(root)
            for size in (size for size in SIZES if size.points in points):
                for method in DETECTORS:
                    count = max(8, round(size.share * requests))
                    took, worked = measured(client, root, body(size, method), count, idle)
                    found.append(_row(size, method, took, worked))
                    print(found[-1], file=sys.stderr)
    return found


def _row(size: Size, method: str, took: np.ndarray, worked: float) -> str:
    p50, p95 = np.percentile(took, [50, 95])
    verdict = "| |" if size.goal_ms is None else f"| {size.goal_ms:.0f} | {_word(p95, size.goal_ms)} |"
    return f"| {size.points:,} | {method} | {p50:.0f} | {p95:.0f} | {worked:.0f} {verdict}"


def _word(value: float, goal: float) -> str:
    return "met" if value <= goal else "**missed**"


def section(requests: int, points: list[int]) -> str:
    lines = [
        TITLE,
        "",
        f"`python -m benchmarks.anomaly_latency --requests {requests}` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, the cores "
        f"shared with the client. {machine()}. One client, "
        "the series in the body, milliseconds; the processor time of a request is that of all the product's processes, "
        "less what they take when nobody asks.",
        "",
        "| points | method | p50 | p95 | processor | goal p95 | |",
        "| ---: | --- | ---: | ---: | ---: | ---: | --- |",
        *rows(requests, points),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--requests", type=int, default=200)
    arguments.add_argument("--points", type=int, nargs="+", default=[size.points for size in SIZES])
    arguments.add_argument(
        "--write", type=Path, help="put the section into this report, in place of the last one"
    )
    options = arguments.parse_args()
    text = section(options.requests, options.points)
    print(text)
    if options.write:
        before = options.write.read_text().partition(TITLE)[0].rstrip() if options.write.exists() else ""
        options.write.write_text(f"{before}\n\n{text}".lstrip())


if __name__ == "__main__":
    main()
