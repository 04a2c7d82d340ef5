"""Predictions through the whole stack: web server, token, tenant, database, registry, LightGBM.

Starts the product as `make up` does, registers one LightGBM model (300 trees, 20 features) by its own command,
promotes it, and asks for predictions by `production`: single rows with wrk at 8 and 32 connections, batches of
10,000 rows by row and by column, one after the other. The library alone, in this process, stands beside.

    python -m benchmarks.serving --seconds 10 --write docs/benchmarks/serving.md

wrk is a Debian package. It runs on the same machine and takes its share of the processors.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from concurrent.futures import ThreadPoolExecutor  # noqa: E402

import httpx  # noqa: E402
import lightgbm  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402

from benchmarks.stack import Stack  # noqa: E402
from registry.tables import ARROW  # noqa: E402

TREES, FEATURES, BATCH = 300, 20, 10_000
MODEL = "bench:bench"
LOAD = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from registry.formats.lightgbm_text import LightGBMPredictor, check_structure
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
content = Path(sys.argv[2]).read_bytes()
began = time.perf_counter()
check_structure(content)
checked = time.perf_counter() - began
before, began = resident(), time.perf_counter()
kept = LightGBMPredictor(content)
print(checked * 1000, (time.perf_counter() - began) * 1000, resident() - before)
"""
LUA = """
wrk.method = "POST"
wrk.body = '{body}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {token}"
function done(summary, latency, requests)
  io.write(string.format("p95_us %d\\n", latency:percentile(95)))
end
"""


def trained(trees: int = TREES, leaves: int = 31) -> lightgbm.Booster:
    rows = np.random.default_rng(3).normal(size=(20_000, FEATURES))
    target = rows[:, 0] * 2 + np.sin(rows[:, 1]) + rows[:, 2] * rows[:, 3]
    parameters = {"verbosity": -1, "num_threads": 1, "num_leaves": leaves}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, target), num_boost_round=trees)


def median_ms(ask: object, repeats: int) -> float:
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        ask()  # type: ignore[operator]
        took.append(time.perf_counter() - began)
    return float(np.median(took) * 1000)


def wrk(address: str, script: Path, connections: int, seconds: int) -> dict[str, float]:
    """Requests a second and the share of latencies, as wrk tells them."""
    said = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), address],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if bad := re.search(r"Non-2xx[^\n]*|Socket errors[^\n]*", said):
        raise RuntimeError(bad[0])
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    shares = {
        share: float(number) * units[unit]
        for share, number, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)", said)
    }
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p95 = re.search(r"p95_us (\d+)", said)
    return {
        "per_second": float(rate[1]) if rate else 0.0,
        "p50_ms": shares["50"],
        "p95_ms": int(p95[1]) / 1000 if p95 else float("nan"),
        "p99_ms": shares["99"],
    }


def measure(seconds: int) -> list[tuple[str, str]]:
    booster = trained()
    rows = np.random.default_rng(5).normal(size=(BATCH, FEATURES)).round(4)
    names = [f"f{index}" for index in range(FEATURES)]
    found: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as made:
        stack = Stack(Path(folder))
        with stack as client:
            artifact = Path(made) / "model.txt"
            booster.save_model(artifact)
            manage(
                stack,
                "register_model",
                str(artifact),
                "--tenant",
                "bench",
                "--name",
                "bench",
                "--version",
                "v1.0.0",
            )
            manage(stack, "promote_model", f"{MODEL}:v1.0.0")
            body = {"input": dict(zip(names, rows[0].tolist(), strict=True))}
            address = f"/ai/models/{MODEL}:production/predict"
            first = time.perf_counter()
            answer = client.post(address, json=body)
            first = time.perf_counter() - first
            answer.raise_for_status()
            assert answer.json()["prediction"] == booster.predict(rows[:1])[0]
            found.append(("first request of a process, the model loaded by it", f"{first * 1000:.0f} ms"))
            single = median_ms(lambda: client.post(address, json=body), 200)
            found.append(("one client, one row at a time, median", f"{single:.1f} ms"))
            script = Path(made) / "ask.lua"
            token = client.headers["Authorization"].removeprefix("Bearer ")
            script.write_text(LUA.format(body=json.dumps(body), token=token))
            for connections in (8, 32):
                got = wrk(stack.address + address, script, connections, seconds)
                found.append(
                    (
                        f"single rows, {connections} connections (wrk)",
                        f"{got['per_second']:.0f} requests/s, p50 {got['p50_ms']:.0f} ms, "
                        f"p95 {got['p95_ms']:.0f} ms, p99 {got['p99_ms']:.0f} ms",
                    )
                )
            found += batches(client, rows, names)
            found.append(
                (
                    "promotion seen by 32 new connections, over all processes",
                    f"{promoted_ms(stack, client, body):.0f} ms",
                )
            )
    found += loads()
    alone = median_ms(lambda: booster.predict(rows[:1], num_threads=1), 200)
    found.append(("the library alone, one row", f"{alone:.2f} ms"))
    alone = median_ms(lambda: booster.predict(rows, num_threads=1), 5)
    found.append((f"the library alone, {BATCH:,} rows", f"{BATCH / alone * 1000:,.0f} rows/s"))
    return found


def loads() -> list[tuple[str, str]]:
    """A model of about 10 MB, read and checked in a fresh process, as a web process does it; and its memory."""
    with tempfile.TemporaryDirectory() as made:
        artifact = Path(made) / "model.txt"
        trained(380, leaves=255).save_model(artifact)
        size = artifact.stat().st_size / 1e6
        said = subprocess.run(
            [sys.executable, "-c", LOAD, str(ROOT), str(artifact)], capture_output=True, text=True, check=True
        ).stdout.split()
    return [
        (f"loading a model of {size:.1f} MB: checking its structure", f"{float(said[0]):.0f} ms"),
        (f"loading a model of {size:.1f} MB: all of it", f"{float(said[1]):.0f} ms"),
        (f"memory of a loaded model of {size:.1f} MB", f"{float(said[2]):.0f} MB"),
    ]


def batches(client: httpx.Client, rows: np.ndarray, names: list[str]) -> list[tuple[str, str]]:
    address = f"/ai/models/{MODEL}:production/batch-predict"
    bodies = {
        "JSON objects": {"inputs": [dict(zip(names, row, strict=True)) for row in rows.tolist()]},
        "JSON by column": {"columns": {name: rows[:, index].tolist() for index, name in enumerate(names)}},
    }
    found = []
    contents = {kind: (json.dumps(body).encode(), "application/json") for kind, body in bodies.items()}
    contents["an Arrow stream, answered by one"] = (arrow(rows, names), ARROW)
    for kind, (content, media_type) in contents.items():
        headers = {"Content-Type": media_type, "Accept": media_type}
        took = median_ms(lambda: client.post(address, content=content, headers=headers).raise_for_status(), 7)  # noqa: B023
        found.append(
            (f"batches of {BATCH:,} rows, {kind}", f"{BATCH / took * 1000:,.0f} rows/s ({took:.0f} ms)")
        )
    return found


def arrow(rows: np.ndarray, names: list[str]) -> bytes:
    table = pa.table({name: rows[:, index] for index, name in enumerate(names)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def promoted_ms(stack: Stack, client: httpx.Client, body: dict[str, object]) -> float:
    """From the answer of the promotion until thirty-two requests at once, each on a connection of its own and so
    spread over all processes, have named the new version."""
    with tempfile.TemporaryDirectory() as made:
        artifact = Path(made) / "model.txt"
        trained(50).save_model(artifact)
        manage(
            stack,
            "register_model",
            str(artifact),
            "--tenant",
            "bench",
            "--name",
            "bench",
            "--version",
            "v1.1.0",
        )
    client.put(f"/ai/models/{MODEL}:v1.1.0/promote", json={"target_stage": "production"}).raise_for_status()
    token = client.headers["Authorization"]

    def ask(_: int) -> str:
        with httpx.Client(base_url=stack.address, headers={"Authorization": token}, timeout=30) as fresh:
            return str(fresh.post(f"/ai/models/{MODEL}:production/predict", json=body).json()["model_id"])

    began = time.perf_counter()
    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(ask, range(32)))
    took = (time.perf_counter() - began) * 1000
    if set(seen) != {f"{MODEL}:v1.1.0"}:
        raise RuntimeError(f"a request was answered by {sorted(set(seen))}")
    return took


def manage(stack: Stack, *arguments: str) -> None:
    subprocess.run([*stack.manage, *arguments], env=stack.environment, check=True, stdout=subprocess.DEVNULL)


def report(found: list[tuple[str, str]]) -> str:
    lines = [
        "# Predictions through the whole stack",
        "",
        f"LightGBM, {TREES} trees, {FEATURES} features. {platform.platform()}, {os.cpu_count()} processors, shared with the",
        "load generator and with whatever else ran. Two web processes of four threads; every request carries a token that",
        "is verified, and resolves `production` in the database.",
        "",
        "| What | Measured |",
        "|---|---|",
        *(f"| {what} | {number} |" for what, number in found),
        "",
        "Written by `make bench-serving`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=10, help="of each run of wrk")
    parser.add_argument("--write", type=Path, help="a Markdown file")
    asked = parser.parse_args()
    text = report(measure(asked.seconds))
    print(text)
    if asked.write:
        asked.write.write_text(text)


if __name__ == "__main__":
    main()
