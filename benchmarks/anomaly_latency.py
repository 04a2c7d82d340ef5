"""Measure POST /ai/anomaly through the whole stack: parsing, detecting, storing, answering. See README.md beside it.

python -m benchmarks.anomaly_latency [--requests 200] [--write docs/benchmarks/anomaly.md]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np

from anomalies.detectors import DETECTORS
from benchmarks.machine import machine, yardstick_ms
from benchmarks.stack import Stack

TITLE = "## Latency through the whole stack"
START = datetime(2023, 1, 1, tzinfo=UTC)
SPIKES = 5  # so that there is something to say and to store
IDLE_S = 8
ROUNDS = 8  # in which the methods take turns, so that none gets a slow minute of the machine for itself
WARMED_BY = 3  # requests of each turn
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


@dataclass
class Asked:
    """Of one method, all turns together, milliseconds: each request, the processor time of all, the yardstick each turn."""

    took: list[float] = field(default_factory=list)
    worked: float = 0.0
    yardstick: list[float] = field(default_factory=list)

    def ask(self, client: httpx.Client, root: int, content: bytes, requests: int, idle: float) -> None:
        headers = {"Content-Type": "application/json"}
        self.yardstick.append(yardstick_ms())
        for number in range(requests + WARMED_BY):
            if number == WARMED_BY:
                before, started = worked_ms(root), time.perf_counter()
            began = time.perf_counter()
            answer = client.post("/ai/anomaly", content=content, headers=headers)
            if number >= WARMED_BY:
                self.took.append(1000 * (time.perf_counter() - began))
            answer.raise_for_status()
            assert len(answer.json()["anomalies"]) >= SPIKES
        self.worked += worked_ms(root) - before - idle * (time.perf_counter() - started)

    def row(self, size: Size, method: str) -> str:
        p50, p95 = np.percentile(self.took, [50, 95])
        told = [
            f"{size.points:,}",
            method,
            str(len(self.took)),
            f"{p50:.0f}",
            f"{p95:.0f}",
            f"{self.worked / len(self.took):.0f}",
        ]
        told.append(f"{min(self.yardstick):.0f} to {max(self.yardstick):.0f}")
        told += ["", ""] if size.goal_ms is None else [f"{size.goal_ms:,.0f}", _word(p95, size.goal_ms)]
        return f"| {' | '.join(told)} |"


def rows(requests: int, points: list[int]) -> list[str]:
    found = []
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        stack = Stack(Path(folder))
        with stack as client:
            root = stack.process.pid
            idle = idle_ms(root)
            for size in (size for size in SIZES if size.points in points):
                asked = {method: Asked() for method in DETECTORS}
                each = max(2, round(size.share * requests / ROUNDS))
                for _ in range(ROUNDS):
                    for method, so_far in asked.items():
                        so_far.ask(client, root, body(size, method), each, idle)
                found += [so_far.row(size, method) for method, so_far in asked.items()]
                print(*found[-len(asked) :], sep="\n", file=sys.stderr)
    return found


def _word(value: float, goal: float) -> str:
    return "met" if value <= goal else "**missed**"


def section(requests: int, points: list[int]) -> str:
    lines = [
        TITLE,
        "",
        f"`python -m benchmarks.anomaly_latency --requests {requests}` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, the cores "
        f"shared with the client. {machine()}. One client, "
        f"the series in the body, milliseconds, the methods in turns, {ROUNDS} rounds. The processor time of a request is "
        "that of all the product's processes, less what they take when nobody asks. The loop is the one above, before each "
        "turn: how much the machine changes.",
        "",
        "| points | method | requests | p50 | p95 | processor | loop | goal p95 | |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
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
