"""What the processes of a running `manage.py up` hold: memory, open files, connections to the database."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import psycopg

GROUPS = {  # by a word of the command that `up` started
    "web": "granian",
    "worker": "worker",
    "beat": "beat",
    "PostgreSQL": "postgres",
    "Valkey": "valkey-server",
}
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Held:
    """By a group of processes. resident, own: MiB; own leaves out what is mapped from files or shared."""

    processes: int
    resident: float
    own: float
    files: int


@dataclass(frozen=True)
class Sample:
    asked: int  # requests answered so far
    groups: dict[str, Held]
    connections: int


class Meter(threading.Thread):
    """Takes a sample every few seconds."""

    def __init__(self, up: int, database_url: str, asked: Callable[[], int], every_s: float = 3.0) -> None:
        super().__init__(daemon=True)
        self.up, self.asked, self.every_s = psutil.Process(up), asked, every_s
        self.database = psycopg.connect(database_url, autocommit=True)
        self.samples: list[Sample] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(self.every_s):
            self.sample()

    def stop(self) -> None:
        self.over.set()
        self.join()
        self.database.close()

    def sample(self) -> Sample:
        groups = {name: held(processes) for name, processes in self._groups().items()}
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        (connections,) = self.database.execute(query).fetchone() or (0,)
        taken = Sample(self.asked(), groups, int(connections))
        self.samples.append(taken)
        return taken

    def _groups(self) -> dict[str, list[psutil.Process]]:
        found: dict[str, list[psutil.Process]] = {name: [] for name in GROUPS}
        for leader in self.up.children():
            told = " ".join(leader.cmdline())
            name = next((name for name, word in GROUPS.items() if re.search(rf"\b{word}\b", told)), None)
            if name:
                found[name] += [leader, *filter(_stays, leader.children(recursive=True))]
        return found

    def question(self, query: str) -> list[tuple[object, ...]]:
        return list(self.database.execute(query).fetchall())  # type: ignore[call-overload]


def _stays(process: psutil.Process) -> bool:
    """Whether it is there for more than one file of a caller, which is opened in a process that is thrown away."""
    try:
        return "-I" not in process.cmdline()
    except psutil.Error:  # over already
        return False


def held(processes: list[psutil.Process]) -> Held:
    count, resident, own, files = 0, 0.0, 0.0, 0
    for process in processes:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            files += len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        except OSError:  # it ended meanwhile
            continue
        told = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", status, re.MULTILINE))
        resident += int(told.get("VmRSS", 0)) / 1024
        own += int(told.get("RssAnon", 0)) / 1024
        count += 1
    return Held(count, resident, own, files)


def slope(samples: list[Sample], group: str) -> float:
    """MiB of own memory for each 1,000 requests, by least squares."""
    asked = np.array([sample.asked for sample in samples]) / 1000
    own = np.array([sample.groups[group].own for sample in samples])
    return float(np.polyfit(asked, own, 1)[0]) if np.ptp(asked) else 0.0


def settled(look: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(1)
    return False
