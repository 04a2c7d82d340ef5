"""Real Celery workers on the database and the queue of the tests; one can be killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from omarino.celery import app

PATIENCE_S = 120.0  # for a start on a busy machine


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that hands out and one that works, in a group of their own."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """As the kernel does when memory is short: no time to clean up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def running_worker(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Worker]:
    """A worker with the product's settings, on the servers of the tests. Tests that use one want `transaction=True`.

    environment: settings of its own, such as MINIO_ENDPOINT_URL.
    """
    app.control.purge()  # what an earlier test asked for
    log = folder / f"worker-{time.monotonic_ns()}.log"
    command = [
        *(sys.executable, "-W", "ignore", "-m", "celery", "--quiet", "-A", "omarino.celery", "worker"),
        *("--loglevel", "info", "--concurrency", "1"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **servers(), **(environment or {})},
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    worker = Worker(process, log)
    try:
        wait_until(lambda: b"ready." in log.read_bytes() or process.poll() is not None, log=log)
        assert process.poll() is None, log.read_text()
        yield worker
    finally:
        worker.stop()


def wait_until(
    holds: Callable[[], object], *, log: Path | None = None, patience_s: float = PATIENCE_S
) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(log.read_text() if log else "It did not come to pass.")
        time.sleep(0.005)


def servers() -> dict[str, str]:
    """The settings by which another process works on the servers and files of the tests."""
    said = connection.settings_dict
    user, password = quote(said["USER"], safe=""), quote(said["PASSWORD"], safe="")
    return {
        "DJANGO_SETTINGS_MODULE": "omarino.settings",
        "DATABASE_URL": f"postgresql://{user}:{password}@{said['HOST']}:{said['PORT']}/{said['NAME']}",
        "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
        "EXPORT_STORAGE_PATH": str(settings.EXPORT_STORAGE_PATH),
        "MODEL_STORAGE_PATH": str(settings.MODEL_STORAGE_PATH),
    }
