"""A model that holds code answers from a process of its own, which can reach neither files nor the network.

The process is started for one artifact and dies with the predictor. What it says is taken for hostile: lengths are
known beforehand, numbers are numbers, and who is late is ended.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from registry.formats.base import (
    MAX_FEATURES,
    ArtifactRefused,
    Declared,
    Limits,
    ModelBusy,
    NotConfined,
    Prediction,
    Predictor,
    Rows,
    of_classes,
)

ROOT = str(Path(__file__).resolve().parent.parent.parent)
RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from registry.formats.run_apart import main; main(*sys.argv[1:])"
ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},
    "LC_ALL": "C.UTF-8",
    "KERAS_BACKEND": "numpy",
    "JAX_PLATFORMS": "cpu",
}
START_S = 90.0  # a new process that imports what runs the model, on a busy machine
HEAD = struct.Struct("<IQ")  # bytes of JSON, bytes of numbers
MAX_JSON_BYTES = 65_536
NONSENSE = (OSError, ValueError, TypeError, RecursionError)  # what an answer of a process gone mad may raise


class RunnerPredictor(Predictor):
    """Asked by several threads, it answers them one after the other; who waits longer than an answer may take is
    told to come again. After a late answer or a death it is over, and the next load starts another."""

    def __init__(self, name: str, content: bytes, declared: Declared, limits: Limits) -> None:
        self.format = name
        self._limits, self._asking = limits, threading.Lock()
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-B", "-c", RUN, ROOT, name, json.dumps(declared.as_dict())]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(limits.seconds), str(limits.memory_mb)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
            )
        weakref.finalize(self, _end, self._process, self._channel)
        try:
            said, _ = self._exchange({}, content, START_S + limits.seconds, expected=0)
            self.feature_count = int(said.get("feature_count", 1))
        except NONSENSE:
            _end(self._process, self._channel)
            raise ArtifactRefused(reason="the process that loads it ended, or took too long.") from None
        if "not_confined" in said:
            raise NotConfined(format=name)
        if "refused" in said or not 1 <= self.feature_count <= MAX_FEATURES:
            raise ArtifactRefused(reason=str(said.get("refused"))[:500])
        self.class_labels = declared.class_labels
        self.task = "classification" if self.class_labels else "regression"

    @property
    def is_over(self) -> bool:  # type: ignore[override]
        return self._process.poll() is not None

    def predict(self, rows: Rows) -> Prediction:
        began = time.monotonic()
        if not self._asking.acquire(timeout=self._limits.seconds):
            raise ModelBusy()
        width = len(self.class_labels) or 1
        try:
            table = np.ascontiguousarray(rows, dtype="<f8")
            said, answer = self._exchange(
                {"rows": len(table)}, table.tobytes(), self._limits.seconds, expected=8 * len(table) * width
            )
        except NONSENSE:
            _end(self._process, self._channel)
            if time.monotonic() - began >= self._limits.seconds:
                raise ValueError(f"it took longer than {self._limits.seconds} s") from None
            raise ValueError("the process that runs it ended or made no sense") from None
        finally:
            self._asking.release()
        if "fault" in said:
            raise ValueError(str(said["fault"])[:300])
        values = np.frombuffer(answer, dtype="<f8").reshape(len(table), width)
        if self.class_labels:
            return of_classes(values, self.class_labels)
        return Prediction(values[:, 0])

    def _exchange(
        self, said: dict[str, Any], numbers: bytes, seconds: float, *, expected: int
    ) -> tuple[dict[str, Any], bytes]:
        """Send and receive within so many seconds: no numbers, or as many bytes of them as are expected. Raises
        OSError when it ends or is late, and others of NONSENSE for what was not asked."""
        deadline = time.monotonic() + seconds
        head = json.dumps(said).encode()
        self._channel.settimeout(seconds)
        self._channel.sendall(HEAD.pack(len(head), len(numbers)) + head)
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        self._channel.sendall(numbers)
        text_bytes, number_bytes = HEAD.unpack(self._receive(HEAD.size, deadline))
        if text_bytes > MAX_JSON_BYTES or number_bytes not in (0, expected):
            raise ValueError("an answer of that length was not asked for")
        answer = json.loads(self._receive(text_bytes, deadline))
        if not isinstance(answer, dict) or (number_bytes != expected and "fault" not in answer):
            raise ValueError("that is no answer")
        return answer, self._receive(number_bytes, deadline)

    def _receive(self, size: int, deadline: float) -> bytes:
        got = bytearray()
        while len(got) < size:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            part = self._channel.recv(min(size - len(got), 1_048_576))
            if not part:
                raise ConnectionResetError
            got += part
        return bytes(got)


def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    """Also at the end of this process, and when nobody keeps the predictor any more."""
    channel.close()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
