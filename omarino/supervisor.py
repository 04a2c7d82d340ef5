"""Processes that live and end together, and are ended by the next start when this one was killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

from omarino import embedded


class AlreadyRunning(Exception):
    """Another `up` serves from this folder."""


class Supervisor:
    """Starts processes with their logs in a folder; knows which died; ends them in the reverse order."""

    def __init__(self, data_dir: Path) -> None:
        self.logs = data_dir / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._record = data_dir / "processes.json"
        self._lock = self._take_lock(data_dir / "up.lock")
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._end_leftovers()

    def adopt(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self._processes.append((name, process))
        started = [
            (one.pid, psutil.Process(one.pid).create_time())
            for _, one in self._processes
            if one.poll() is None
        ]
        self._record.write_text(json.dumps(started))

    def start(self, name: str, command: list[str]) -> None:
        log = self.logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us, who end things in order
            )
        self.adopt(name, process)

    def dead(self) -> str | None:
        """The name of a process that ended by itself."""
        return next((name for name, process in self._processes if process.poll() is not None), None)

    def log_tail(self, name: str, lines: int = 15) -> str:
        log = self.logs / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def stop(self) -> None:
        for _, process in reversed(self._processes):
            embedded.stop(process)
        self._processes.clear()
        self._record.unlink(missing_ok=True)

    @staticmethod
    def _take_lock(path: Path) -> IO[str]:
        lock = path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunning(lock.read().strip()) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        os.set_inheritable(lock.fileno(), False)  # else a child would hold it after we are gone
        return lock

    def _end_leftovers(self) -> None:
        """End what a killed `up` left behind, and only that: a reused pid has another start time."""
        try:
            recorded = json.loads(self._record.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return
        alive = []
        for pid, create_time in reversed(recorded):
            try:
                process = psutil.Process(pid)
                if abs(process.create_time() - create_time) < 1:
                    alive.extend([*process.children(recursive=True), process])
                    process.send_signal(signal.SIGINT)
            except psutil.NoSuchProcess:
                continue
        _, stubborn = psutil.wait_procs(alive, timeout=15)
        for process in stubborn:
            process.kill()
        psutil.wait_procs(stubborn, timeout=5)
        self._record.unlink(missing_ok=True)


def wait_for(answers: Callable[[], bool], *, patience_s: float) -> bool:
    """Whether `answers()` became true in time."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if answers():
            return True
        time.sleep(0.1)
    return False
