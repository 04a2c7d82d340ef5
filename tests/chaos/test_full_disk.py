"""The disk of the folder that `up` keeps everything in is full: PostgreSQL, Valkey, files, counters and logs at once.

As root the folder is a file system of its own that is shrunk to what lies in it. Anybody else forbids the processes to
make files longer, which fails like a full disk but for what is written through mapped memory (tests/observability).
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from tests.chaos.conftest import Tell
from tests.chaos.product import Product, eventually

ROOM_MB = 1024
LEFT_BYTES = 12_582_912  # when it is full, so that some is still taken
START = datetime(2030, 1, 1, tzinfo=UTC)


class Disk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_MB}m,mode=0755", "hub-chaos", str(folder)]
        self.is_own = subprocess.run(mount, capture_output=True).returncode == 0
        self.product: Product | None = None

    def fill(self) -> None:
        if not self.is_own:
            return self._limit_files(0)
        told = os.statvfs(self.folder)
        return self._resize(f"size={(told.f_blocks - told.f_bfree) * told.f_frsize + LEFT_BYTES}")

    def free(self) -> None:
        if not self.is_own:
            return self._limit_files(resource.RLIM_INFINITY)
        return self._resize(f"size={ROOM_MB}m")

    def close(self) -> None:
        if self.is_own:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def _resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{size}", str(self.folder)], check=True, capture_output=True)

    def _limit_files(self, size: int) -> None:
        """Of all that run; who is started meanwhile inherits it from `up`."""
        assert self.product is not None
        up = psutil.Process(self.product.up.process.pid)
        for process in [up, *up.children(recursive=True)]:
            with suppress(ProcessLookupError):
                hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.fixture(autouse=True)
def room_afterwards(disk: Disk) -> Iterator[None]:
    yield
    disk.free()


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    folder = Path(tempfile.mkdtemp(prefix="hub-chaos-disk-"))
    disk = Disk(folder)
    try:
        disk.product = Product(folder, own_servers=True, WORKER_PROCESSES="1")
        yield disk
        disk.product.stop()
    finally:
        disk.close()
        shutil.rmtree(folder, ignore_errors=True)


def send_readings(product: Product, day: int) -> httpx.Response:
    """A day of seconds."""
    first = START + timedelta(days=day)
    rows = "\n".join(f"{(first + timedelta(seconds=4 * n)):%Y-%m-%dT%H:%M:%SZ},{n}" for n in range(21_600))
    return product.ask(
        "POST",
        "/ai/features/readings?asset_id=filler",
        content=f"timestamp,value\n{rows}\n",
        headers={"Content-Type": "text/csv"},
    )


def test_a_full_disk_is_answered_by_503_until_there_is_room_again(disk: Disk, tell: Tell) -> None:
    product = disk.product
    assert product is not None
    answered: list[int] = []
    with product.load(clients=3) as load:
        disk.fill()
        for day in range(40):  # until PostgreSQL has used up what it had in reserve
            answered.append(send_readings(product, day).status_code)
            if answered[-1] != 200:
                break
        victim = product.workers("granian")[0]
        victim.send_signal(signal.SIGKILL)  # whoever follows it begins on a full disk
        eventually(lambda: len({p.pid for p in product.workers("granian")} - {victim.pid}) == 2)
        followers = product.workers("granian")
        told = [httpx.get(f"{product.address}/health", timeout=60).status_code for _ in range(30)]
        scraped = httpx.get(f"{product.address}/metrics", timeout=60).status_code
        assert all(process.is_running() for process in followers)  # and does not end as it did
        disk.free()
        room = time.monotonic()
        load.until_steady(quiet_s=3)

    assert (answered[-1], set(answered[:-1]) <= {200}) == (503, True), answered
    assert set(told) == {200}
    assert scraped == 200
    assert set(load.errors) <= {"503", "cut off", "refused"}, load.errors
    assert load.unsaid == []
    assert product.up.process.poll() is None
    assert product.lost(load) == []
    kept = product.sql("SELECT count(*) FROM timeseries_data WHERE asset_id = 'filler'")[0][0]
    assert kept == 21_600 * answered.count(200)  # all that was taken, and nothing of what was not
    eventually(lambda: product.states()["workers"] == "healthy")
    assert send_readings(product, len(answered) - 1).status_code == 200
    tell("The disk is full", load, recovered_s=load.failed_for(room))


def test_servers_that_are_killed_are_started_again(disk: Disk, tell: Tell) -> None:
    product = disk.product
    assert product is not None
    with product.load(clients=3) as load:
        began = time.monotonic()
        for name in ("bin/postgres", "valkey-server", "worker"):
            for process in product.up.family()[name]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        load.wait_until(lambda: load.errors)
        load.until_steady(quiet_s=2)
        eventually(lambda: product.states()["workers"] == "healthy")
        took = time.monotonic() - began

    assert set(load.errors) == {"503"}
    assert load.unsaid == []
    assert product.lost(load) == []
    for name in ("postgres", "valkey", "worker"):
        assert f"{name} was killed by signal 9 and is started again." in product.up.said
    tell("kill -9 of PostgreSQL, Valkey and the worker that `up` started", load, recovered_s=took)
