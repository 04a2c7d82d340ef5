"""Processes that live and end together: started again when one ends by itself, ended by the next start when this one
was killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO

import psutil

from omarino import embedded

FIRST_WAIT_S, MOST_WAIT_S = (
    0.5,
    30.0,
)  # before a process that ended by itself is started again; each time twice as long
SETTLED_S = 60.0  # who lived so long is no longer one that cannot start
CLIENTS_PATIENCE_S = 12.0  # web, worker and beat, asked together
SERVER_PATIENCE_S = 6.0  # each of the servers they use, one after the other


class AlreadyRunning(Exception):
    """Another `up` serves from this folder."""


@dataclass(frozen=True, slots=True)
class Session:
    """A process we started, with all its children, as the next start finds it again."""

    leader: int
    started_at: float
    command: list[str]

    def processes(self) -> list[psutil.Process]:
        """What is left of it. A number that went to another process meanwhile has another start or command."""
        members = [process for process in psutil.process_iter() if _session_of(process.pid) == self.leader]
        try:
            same = abs(psutil.Process(self.leader).create_time() - self.started_at) < 1
        except psutil.NoSuchProcess:  # its forked children may live on, and hold the port
            return [process for process in members if _command_of(process) == self.command]
        return members if same else []


Start = Callable[[], "subprocess.Popen[bytes]"]


@dataclass(slots=True)
class Member:
    """One process of ours, and how to have it again."""

    name: str
    process: subprocess.Popen[bytes]
    again: Start
    began: float
    wait_s: float = FIRST_WAIT_S
    again_at: float | None = None  # it ended by itself, and is started again then


class Supervisor:
    """Starts processes with their logs in a folder; starts again which died; ends them in the reverse order."""

    def __init__(self, data_dir: Path) -> None:
        self.logs = data_dir / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._record = data_dir / "processes.json"
        self._lock = self._take_lock(data_dir / "up.lock")
        self._servers: list[Member] = []
        self._clients: list[Member] = []
        self._sessions: list[Session] = []
        self._is_recorded = True
        self._end_leftovers()

    def adopt_server(self, name: str, again: Start) -> embedded.Adopt:
        """What takes a server under our wing; it outlives those that use it. again: starts it without waiting for it."""
        return lambda process: self._adopt(self._servers, name, process, again)

    def start(self, name: str, command: list[str], *, folder: Path) -> None:
        again = partial(self._launch, name, command, folder)
        self._adopt(self._clients, name, again(), again)

    def _launch(self, name: str, command: list[str], folder: Path) -> subprocess.Popen[bytes]:
        log = self.logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us, who end things in order
            )

    def finishes(self, command: list[str], *, unless: Callable[[], bool]) -> bool:
        """Whether a command came to a good end; it is ended when `unless()` becomes true."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        self._note(process)
        while process.poll() is None:
            if unless():
                process.terminate()
                embedded.make_stop(process, patience_s=SERVER_PATIENCE_S)
            time.sleep(0.05)
        return process.returncode == 0

    def dead(self) -> str | None:
        """The name of a process that ended by itself."""
        everyone = [*self._servers, *self._clients]
        return next((member.name for member in everyone if member.process.poll() is not None), None)

    def revive(self) -> list[tuple[str, int]]:
        """Start again who ended by itself, each after a wait that grows. Gives who was found dead just now, and how it
        ended. To be called every moment."""
        found = []
        now = time.monotonic()
        for member in [*self._servers, *self._clients]:
            if member.process.poll() is None:
                continue
            if member.again_at is None:
                found.append((member.name, member.process.returncode))
                if now - member.began > SETTLED_S:
                    member.wait_s = FIRST_WAIT_S
                member.again_at = now + member.wait_s
                member.wait_s = min(2 * member.wait_s, MOST_WAIT_S)
            elif now >= member.again_at:
                self._start_again(member)
        if not self._is_recorded:
            with suppress(OSError):  # the disk is full; the next time
                self._record_sessions()
        return found

    def _start_again(self, member: Member) -> None:
        gone = member.process.pid
        with suppress(ProcessLookupError):  # children that a killed one left would hold its port
            os.killpg(gone, signal.SIGKILL)
        try:
            member.process = member.again()
        except OSError:  # a full disk, or too many processes: the next time
            member.again_at = time.monotonic() + member.wait_s
            return
        member.began, member.again_at = time.monotonic(), None
        self._sessions = [session for session in self._sessions if session.leader != gone]
        with suppress(OSError):
            self._note(member.process)

    def log_tail(self, name: str, lines: int = 15) -> str:
        log = self.logs / f"{name}.log"
        if not log.exists():  # a server's
            log = embedded.log_of(name, self.logs.parent)
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def stop(self) -> None:
        deadline = time.monotonic() + CLIENTS_PATIENCE_S
        for member in self._clients:
            embedded.ask_to_stop(member.process)
        for member in self._clients:
            embedded.make_stop(member.process, patience_s=deadline - time.monotonic())
        for member in reversed(self._servers):
            embedded.stop(member.process, patience_s=SERVER_PATIENCE_S)
        self._clients.clear()
        self._servers.clear()
        self._record.unlink(missing_ok=True)

    def _adopt(self, group: list[Member], name: str, process: subprocess.Popen[bytes], again: Start) -> None:
        group.append(Member(name, process, again, time.monotonic()))
        self._note(process)

    def _note(self, process: subprocess.Popen[bytes]) -> None:
        try:
            started_at = psutil.Process(process.pid).create_time()
        except psutil.NoSuchProcess:
            return  # over already; `dead` will tell
        self._sessions.append(Session(process.pid, started_at, list(map(str, process.args))))  # type: ignore[arg-type]
        self._record_sessions()

    def _record_sessions(self) -> None:
        self._is_recorded = False
        embedded.replace_private(self._record, json.dumps([asdict(session) for session in self._sessions]))
        self._is_recorded = True

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
        return lock

    def _end_leftovers(self) -> None:
        """End what a killed `up` left behind, the servers after those that use them."""
        try:
            recorded = json.loads(self._record.read_text())
        except FileNotFoundError:
            return
        for entry in reversed(recorded):
            left = Session(**entry).processes()
            for process in left:
                if process.pid == entry["leader"]:
                    process.send_signal(signal.SIGINT)
            if not wait_for(partial(_ended, left), patience_s=SERVER_PATIENCE_S):
                for process in filter(_lives, left):
                    process.kill()
        self._record.unlink(missing_ok=True)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _command_of(process: psutil.Process) -> list[str] | None:
    try:
        command: list[str] = process.cmdline()
    except psutil.Error:
        return None
    return command


def _ended(processes: list[psutil.Process]) -> bool:
    return not any(map(_lives, processes))


def _lives(process: psutil.Process) -> bool:
    """Not gone, and not a zombie that a container without an init never buries."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for(answers: Callable[[], bool], *, patience_s: float) -> bool:
    """Whether `answers()` became true in time."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if answers():
            return True
        time.sleep(0.1)
    return False
