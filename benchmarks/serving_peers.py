"""What the serving benchmark measures against: `mlflow models serve` and a bare FastAPI app, from `.venv-bench`.

Each gets the model file that ours gets, two workers (MLflow also one, its default), one thread of OpenMP per process,
and its own documented body. The better setting of each is what ours is held to.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.forecast import BENCH_PYTHON, ONE_THREAD, ROOT, prepare_peers

PACKAGES = ("mlflow", "fastapi", "uvicorn", "lightgbm")
SAVE = """
import sys, warnings
warnings.simplefilter("ignore")
import lightgbm, mlflow.lightgbm
mlflow.lightgbm.save_model(lightgbm.Booster(model_file=sys.argv[1]), sys.argv[2])
"""
LOAD_BY = {
    "MLflow": "import mlflow.pyfunc, lightgbm, mlflow.lightgbm\nload = lambda path: mlflow.pyfunc.load_model(path)",
    "bare": "import lightgbm\nload = lambda path: lightgbm.Booster(model_file=path)",
}
COLD = """
import resource, sys, time, warnings
warnings.simplefilter("ignore")
from pathlib import Path
{load}
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
before, began = resident(), time.perf_counter()
kept = load(sys.argv[1])
print((time.perf_counter() - began) * 1000, resident() - before)
"""
PATIENCE_S = 300
# uvicorn ends a worker that does not answer within 5 s, and the import of what MLflow needs may take longer.
PATIENT = {"UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60"}


@dataclass(frozen=True)
class Peer:
    """How one is started, and how it is asked."""

    name: str
    command: list[str]  # PORT stands for the port
    route: str
    shape: str  # of the body

    def body(self, rows: np.ndarray, names: list[str]) -> dict[str, object]:
        if self.shape == "split":
            return {"dataframe_split": {"columns": names, "data": rows.tolist()}}
        return {"rows": rows.tolist()}


def peers(model: Path, folder: Path) -> list[Peer]:
    """The peers, with the model saved as each wants it."""
    prepare_peers()
    saved = folder / "mlflow-model"
    run([BENCH_PYTHON, "-c", SAVE, str(model), str(saved)])
    serve = ["-m", "mlflow", "models", "serve", "-m", str(saved), "-p", "PORT", "--env-manager", "local"]
    bare = [str(ROOT / "benchmarks" / "serving_bare.py"), str(model), "PORT", "2"]
    return [
        Peer("MLflow, 1 worker", [*serve, "-w", "1"], "/invocations", "split"),
        Peer("MLflow, 2 workers", [*serve, "-w", "2"], "/invocations", "split"),
        Peer("bare FastAPI, uvicorn --workers 2", bare, "/predict", "rows"),
        Peer("bare FastAPI, the same without Nagle", [*bare, "nodelay"], "/predict", "rows"),
    ]


@contextmanager
def serving(peer: Peer, probe: dict[str, object]) -> Iterator[tuple[str, int]]:
    """Its address and process, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [str(BENCH_PYTHON), *(str(port) if part == "PORT" else part for part in peer.command)],
            env=os.environ | ONE_THREAD | PATIENT | {"PATH": f"{BENCH_PYTHON.parent}:{os.environ['PATH']}"},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            _wait(f"http://127.0.0.1:{port}{peer.route}", probe, process, said)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(address: str, probe: dict[str, object], process: subprocess.Popen[bytes], said: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            httpx.post(address, json=probe, timeout=10).raise_for_status()
        except httpx.HTTPError as fault:
            if time.monotonic() > deadline or process.poll() is not None:
                said.seek(0)  # type: ignore[attr-defined]
                raise RuntimeError(said.read().decode()[-2000:]) from fault  # type: ignore[attr-defined]
            time.sleep(0.2)
        else:
            return


def memory_mb(pid: int, marked: str = "") -> float:
    """Proportional memory of a process and all below it whose command holds `marked`."""
    root = psutil.Process(pid)
    meant = [each for each in (root, *root.children(recursive=True)) if marked in " ".join(each.cmdline())]
    assert meant, f"no process below {pid} was started with {marked}"
    return sum(part.pss for process in meant for part in process.memory_maps()) / 1e6


def cold_load(kind: str, path: Path) -> tuple[float, float]:
    """Milliseconds and megabytes of loading a model in a fresh process that has imported what it needs."""
    if kind == "MLflow":
        run([BENCH_PYTHON, "-c", SAVE, str(path), str(path.with_suffix(".mlflow"))])
        path = path.with_suffix(".mlflow")
    milliseconds, megabytes = run([BENCH_PYTHON, "-c", COLD.format(load=LOAD_BY[kind]), str(path)]).split()[
        -2:
    ]
    return float(milliseconds), float(megabytes)


def versions() -> str:
    ask = "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
    numbers = run([BENCH_PYTHON, "-c", ask, *PACKAGES]).split()
    return ", ".join(f"{name} {number}" for name, number in zip(PACKAGES, numbers, strict=True))


def run(command: list[str | Path]) -> str:
    return subprocess.run(
        command,
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout


def first_answer(peer: Peer, address: str, rows: np.ndarray, names: list[str]) -> float:
    """What it says of the first row, to be held against the library's own word."""
    said = httpx.post(address + peer.route, json=peer.body(rows[:1], names), timeout=30).json()
    return float(json.loads(json.dumps(said["predictions"]))[0])
