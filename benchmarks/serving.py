"""Predictions through the whole stack, beside those of `mlflow models serve` and of a bare FastAPI app, in one run.

Starts the product as `make up` does, registers one LightGBM model (300 trees, 20 features) by its own command,
promotes it, and asks for predictions by `production`: single rows with wrk at 8 and 32 connections, batches of
10,000 rows. Then the same file is served by each peer (`serving_peers.py`) and asked the same, on the same machine.

    python -m benchmarks.serving --seconds 10 --write docs/benchmarks/serving.md

wrk runs on the same machine and takes its share of the processors, for each contender the same.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import lightgbm
import numpy as np
import pyarrow as pa

from benchmarks import serving_peers
from benchmarks.machine import machine
from benchmarks.report import table
from benchmarks.serving_peers import Peer, memory_mb
from benchmarks.stack import ROOT, Stack
from registry.tables import ARROW

TREES, FEATURES, BATCH = 300, 20, 10_000
MODEL = "bench:bench"
CONNECTIONS = (8, 32)
KINDS = ("JSON", "JSON by column", "Arrow")
PROMOTION = "promotion seen by 32 new connections, over all processes"
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
{headers}
function done(summary, latency, requests)
  io.write(string.format("p95_us %d\\n", latency:percentile(95)))
end
"""


def trained(trees: int = TREES, leaves: int = 31) -> lightgbm.Booster:
    rows = np.random.default_rng(3).normal(size=(20_000, FEATURES))
    target = rows[:, 0] * 2 + np.sin(rows[:, 1]) + rows[:, 2] * rows[:, 3]
    parameters = {"verbosity": -1, "num_threads": 1, "num_leaves": leaves}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, target), num_boost_round=trees)


@dataclass
class Measured:
    """One contender. single: by connections, what wrk said; batch: rows a second by the kind of body."""

    name: str
    single: dict[int, dict[str, float]] = field(default_factory=dict)
    batch: dict[str, float] = field(default_factory=dict)
    memory_mb: float = float("nan")


def median_ms(ask: Callable[[], object], repeats: int) -> float:
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        ask()
        took.append(time.perf_counter() - began)
    return float(np.median(took) * 1000)


def wrk(
    address: str, body: dict[str, object], headers: dict[str, str], connections: int, seconds: int
) -> dict[str, float]:
    """Requests a second and the share of latencies, as wrk tells them."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        script.write(LUA.format(body=json.dumps(body), headers=lines))
        script.flush()
        return _wrk(address, Path(script.name), connections, seconds)


def _wrk(address: str, script: Path, connections: int, seconds: int) -> dict[str, float]:
    said = subprocess.run(
        [
            "wrk",
            "-t1",
            "--timeout",
            "30s",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "-s",
            str(script),
            address,
        ],
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


def asked_single(
    found: Measured, address: str, body: dict[str, object], headers: dict[str, str], seconds: int
) -> None:
    for connections in CONNECTIONS:
        wrk(address, body, headers, connections, 1)  # to warm up
        found.single[connections] = wrk(address, body, headers, connections, seconds)


def ours(booster: lightgbm.Booster, model: Path, seconds: int) -> tuple[Measured, list[list[str]]]:
    """What the product gives, and what only it can be asked for."""
    rows, names = rows_asked()
    found, more = Measured("OMARINO AI Hub, 2 x 4 threads"), []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        stack = Stack(Path(folder))
        with stack as client:
            register(stack, model, "v1.0.0")
            manage(stack, "promote_model", f"{MODEL}:v1.0.0")
            body = {"input": dict(zip(names, rows[0].tolist(), strict=True))}
            address = f"/ai/models/{MODEL}:production/predict"
            began = time.perf_counter()
            answer = client.post(address, json=body).raise_for_status()
            more.append(
                ["first request of a process, which loads the model", ms(time.perf_counter() - began)]
            )
            assert answer.json()["prediction"] == booster.predict(rows[:1])[0]
            single = median_ms(lambda: client.post(address, json=body), 200)
            more.append(["one client, one row at a time, median", f"{single:.1f} ms"])
            headers = {"Authorization": client.headers["Authorization"]}
            asked_single(found, stack.address + address, body, headers, seconds)
            found.batch = batches(client, rows, names)
            found.memory_mb = memory_mb(stack.process.pid, "omarino.rsgi")
            promoted = promoted_ms(stack, client, body)
            more.append([PROMOTION, f"{promoted:.0f} ms"])
    return found, more


def theirs(peer: Peer, booster: lightgbm.Booster, seconds: int) -> Measured:
    rows, names = rows_asked()
    found = Measured(peer.name)
    one, many = peer.body(rows[:1], names), json.dumps(peer.body(rows, names)).encode()
    with serving_peers.serving(peer, one) as (address, process), httpx.Client(timeout=60) as client:
        said = serving_peers.first_answer(peer, address, rows, names)
        assert abs(said - booster.predict(rows[:1])[0]) < 1e-9
        asked_single(found, address + peer.route, one, {}, seconds)
        headers = {"Content-Type": "application/json"}
        took = median_ms(
            lambda: client.post(address + peer.route, content=many, headers=headers).raise_for_status(), 7
        )
        found.batch["JSON"] = BATCH / took * 1000
        found.memory_mb = memory_mb(process)
    return found


def rows_asked() -> tuple[np.ndarray, list[str]]:
    rows = np.random.default_rng(5).normal(size=(BATCH, FEATURES)).round(4)
    return rows, [f"f{index}" for index in range(FEATURES)]


def measure(seconds: int, *, with_peers: bool) -> dict:
    booster = trained()
    rows, _ = rows_asked()
    with tempfile.TemporaryDirectory() as made:
        model = Path(made) / "model.txt"
        booster.save_model(model)
        mine, more = ours(booster, model, seconds)
        peers = serving_peers.peers(model, Path(made)) if with_peers else []
        measured = [mine, *(theirs(peer, booster, seconds) for peer in peers)]
        cold = loads(Path(made), with_peers=with_peers)
    one = median_ms(lambda: booster.predict(rows[:1], num_threads=1), 200)
    many = BATCH / median_ms(lambda: booster.predict(rows, num_threads=1), 5) * 1000
    more += [
        ["the library alone, one row, one thread", f"{one:.2f} ms"],
        [f"the library alone, {BATCH:,} rows, one thread", f"{many:,.0f} rows/s"],
    ]
    return {"measured": measured, "more": more, "cold": cold}


def loads(folder: Path, *, with_peers: bool) -> dict[str, tuple[float, float]]:
    """A model of about 10 MB in a fresh process that has imported what it needs: milliseconds and megabytes."""
    model = folder / "large.txt"
    trained(380, leaves=255).save_model(model)
    said = serving_peers.run([sys.executable, "-c", LOAD, str(ROOT), str(model)]).split()
    found = {
        f"ours, {model.stat().st_size / 1e6:.1f} MB, its structure checked": (float(said[1]), float(said[2])),
        "of which the check": (float(said[0]), float("nan")),
    }
    for kind in serving_peers.LOAD_BY if with_peers else ():
        found[kind] = serving_peers.cold_load(kind, model)
    return found


def batches(client: httpx.Client, rows: np.ndarray, names: list[str]) -> dict[str, float]:
    """Rows a second, by the kind of body; the answer is of the same kind."""
    address = f"/ai/models/{MODEL}:production/batch-predict"
    objects = {"inputs": [dict(zip(names, row, strict=True)) for row in rows.tolist()]}
    columns = {"columns": {name: rows[:, index].tolist() for index, name in enumerate(names)}}
    bodies = {
        "JSON": (json.dumps(objects).encode(), "application/json"),
        "JSON by column": (json.dumps(columns).encode(), "application/json"),
        "Arrow": (arrow(rows, names), ARROW),
    }
    found = {}
    for kind, (content, media_type) in bodies.items():
        headers = {"Content-Type": media_type, "Accept": media_type}
        took = median_ms(lambda: client.post(address, content=content, headers=headers).raise_for_status(), 7)  # noqa: B023
        found[kind] = BATCH / took * 1000
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
        trained(50).save_model(Path(made) / "model.txt")
        register(stack, Path(made) / "model.txt", "v1.1.0")
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


def register(stack: Stack, model: Path, version: str) -> None:
    manage(stack, "register_model", str(model), "--tenant", "bench", "--name", "bench", "--version", version)


def manage(stack: Stack, *arguments: str) -> None:
    subprocess.run([*stack.manage, *arguments], env=stack.environment, check=True, stdout=subprocess.DEVNULL)


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def bars(results: dict) -> Iterator[tuple[str, str, bool]]:
    """What was promised, what was measured, and whether it holds."""
    mine, *others = results["measured"]
    p95 = mine.single[8]["p95_ms"]
    yield "p95 of single rows at 8 connections: < 20 ms", f"{p95:.1f} ms", p95 < 20
    for family in ("MLflow", "bare FastAPI"):
        known = [other for other in others if other.name.startswith(family)]
        for connections in CONNECTIONS if known else ():
            best = max(known, key=lambda other: other.single[connections]["per_second"])
            got, bar = (each.single[connections]["per_second"] for each in (mine, best))
            name = f"requests/s at {connections} connections: more than {family} in its best setting"
            yield name, f"{got:.0f} against {bar:.0f} ({best.name})", got > bar
        if known:
            best = max(known, key=lambda other: other.batch["JSON"])
            got, bar = mine.batch["JSON"], best.batch["JSON"]
            yield f"JSON batch rows/s: more than {family}", f"{got:,.0f} against {bar:,.0f}", got > bar
    for kind, wanted in (("JSON", 50_000), ("Arrow", 200_000)):
        got = mine.batch[kind]
        yield f"batches of {BATCH:,} rows, {kind}: >= {wanted:,} rows/s", f"{got:,.0f}", got >= wanted
    took = next(iter(results["cold"].values()))[0]
    yield "cold load of a model of about 10 MB: < 300 ms", f"{took:.0f} ms", took < 300
    seen = float(dict(results["more"])[PROMOTION].split()[0])
    yield "a promotion seen by all processes: < 1 s", f"{seen:.0f} ms", seen < 1000


def markdown(results: dict, seconds: int, with_peers: bool) -> str:
    judged = list(bars(results))
    held = sum(passed for _, _, passed in judged)
    verdicts = [[bar, got, "pass" if passed else "**miss**"] for bar, got, passed in judged]
    singles, batch = [], []
    for each in results["measured"]:
        for connections, got in each.single.items():
            cells = [f"{got[share]:.1f}" for share in ("p50_ms", "p95_ms", "p99_ms")]
            singles.append([each.name, str(connections), f"{got['per_second']:.0f}", *cells])
        rates = [f"{each.batch[kind]:,.0f}" if kind in each.batch else "" for kind in KINDS]
        batch.append([each.name, *rates, f"{each.memory_mb:.0f}"])
    cold = [
        [name, f"{took:.0f}", "" if np.isnan(mb) else f"{mb:.0f}"]
        for name, (took, mb) in results["cold"].items()
    ]
    peers = f" Peers: {serving_peers.versions()}." if with_peers else ""
    parts = [
        "# Predictions through the whole stack",
        f"`make bench-serving` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds} s each run of wrk, which shares the "
        f"cores. {machine()}. LightGBM {lightgbm.__version__}, {TREES} trees of 31 leaves, {FEATURES} features.{peers}",
        f"{held} of {len(judged)} bars held.",
        table(["bar", "measured", ""], verdicts),
        "## Single rows, JSON",
        "Ours verifies a token, finds the tenant, resolves `production` in the database and counts; the peers do none "
        "of that. MLflow and FastAPI are given their own shape of the same row.",
        table(["", "connections", "requests/s", "p50 ms", "p95 ms", "p99 ms"], singles),
    ]
    if with_peers:
        parts.append(nagle(results["measured"]))
    parts += [
        f"## Batches of {BATCH:,} rows, and memory",
        "Rows a second, one client. One thread of LightGBM per request for all. Memory is the proportional share "
        "(PSS) of all web processes after the load, interpreter and libraries in it.",
        table(["", *(f"{kind}, rows/s" for kind in KINDS), "memory, MB"], batch),
        "## Loading a model of about 10 MB",
        "In a fresh process that has imported what it needs.",
        table(["", "ms", "memory, MB"], cold),
        "## Besides",
        table(["", "measured"], results["more"]),
    ]
    return "\n\n".join(parts) + "\n"


def nagle(measured: list[Measured]) -> str:
    """What uvicorn's own way of sharing a socket costs."""
    before, after = (each.single[8] for each in measured[-2:])
    return (
        f"`uvicorn --workers 2` leaves Nagle's algorithm on, and each answer on a kept connection waits for a delayed "
        f"acknowledgement: at 8 connections p50 is {before['p50_ms']:.1f} ms with it and {after['p50_ms']:.1f} ms "
        f"without, {before['per_second']:.0f} and {after['per_second']:.0f} requests a second. `mlflow models serve -w 2` "
        "has the same; with one worker it has not. The bars compare with the best of each."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=10, help="of each run of wrk")
    parser.add_argument("--no-peers", action="store_true", help="ours only")
    parser.add_argument("--write", type=Path, help="a Markdown file")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("This benchmark loads the servers with wrk, which is not installed: apt-get install wrk")
    text = markdown(measure(asked.seconds, with_peers=not asked.no_peers), asked.seconds, not asked.no_peers)
    print(text)
    if asked.write:
        asked.write.write_text(text)


if __name__ == "__main__":
    main()
