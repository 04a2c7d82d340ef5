"""`manage.py up` from end to end, as a process of its own: real servers, real web server, real worker."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.conf import settings

PATIENCE_S = 240.0  # for a start on a busy machine; a test has 300
STOP_S = 30.0
IS_ROOT = os.geteuid() == 0
AS_NOBODY = [  # an ordinary user who may read the project, wherever it lies
    *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


class Up:
    """One `manage.py up` and what it says."""

    def __init__(self, folder: Path, port: int, *, as_nobody: bool = False, **variables: str) -> None:
        self.folder, self.port, self.said = folder, port, ""
        kept = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        own = {"DATA_DIR": str(folder), "STATIC_ROOT": str(folder / "static"), "PORT": str(port)}
        own |= {"WEB_PROCESSES": "1", "WORKER_PROCESSES": "1"}
        self.environment = {**kept, **own, "PYTHONUNBUFFERED": "1", **variables}
        self.process = subprocess.Popen(
            [*(AS_NOBODY if as_nobody else []), sys.executable, str(settings.BASE_DIR / "manage.py"), "up"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def wait_for(self, text: str, patience_s: float = PATIENCE_S) -> Up:
        deadline = time.monotonic() + patience_s
        while text not in self.said:
            assert self.process.poll() is None, f"`up` ended:\n{self.said}"
            assert time.monotonic() < deadline, f"`up` never said {text!r}:\n{self.said}"
            time.sleep(0.02)
        return self

    def ended(self, within_s: float = STOP_S) -> int:
        code = self.process.wait(within_s)
        self._listener.join(10)  # a child of a killed `up` may hold its end of the pipe
        if self.process.stdout is not None and not self._listener.is_alive():
            self.process.stdout.close()
        return code

    def family(self) -> dict[str, list[psutil.Process]]:
        """Every process it started, by the name of its log or its binary."""
        recorded = json.loads((self.folder / "processes.json").read_text())
        leaders = {entry["leader"]: entry["command"] for entry in recorded}
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            try:
                command = " ".join(leaders.get(os.getsid(process.pid), []))
            except ProcessLookupError:
                continue
            for name in ("bin/postgres", "valkey-server", "granian", " worker ", " beat "):
                if name in command:
                    found.setdefault(name.strip(), []).append(process)
        return found

    def get(self, path: str, token: str = "") -> tuple[int, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  our own address
            return answer.status, json.load(answer)

    def states_once_its_worker_listens(self) -> dict[str, str]:
        """What detailed health says; the web server is up a little before the worker."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            parts = self.get("/health/detailed")[1]["dependencies"]
            states = {name: str(part["status"]) for name, part in parts.items()}
            if states["workers"] == "healthy" or time.monotonic() > deadline:
                return states

    def kill(self) -> None:
        """As the machine's out-of-memory killer would: nothing is tidied up."""
        self.process.kill()
        self.ended()


def lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def services(folder: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((folder / "services.json").read_text())
    return kept


def check_all_over(up: Up, family: dict[str, list[psutil.Process]]) -> None:
    assert [process for members in family.values() for process in members if lives(process)] == []
    kept = services(up.folder)
    assert [port for port in (up.port, kept["postgres_port"], kept["redis_port"]) if listens(port)] == []
    assert not (up.folder / "processes.json").exists()


def check_the_web_server(port: int, token: str) -> None:
    """Bodies of unknown length and bodies too large get an answer, whatever the web server does with the rest."""
    for body, headers, status, code in (
        (iter([b'{"tenant_id"', b': "demo"}']), {"Transfer-Encoding": "chunked"}, 411, "length_required"),
        (b" " * 33_600_000, {}, 413, "body_too_large"),
        (b'{"tenant_id": "demo"}', {}, 422, "validation_failed"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with suppress(ConnectionError):  # the answer may come before all of the body is sent
            connection.request(
                "POST",
                "/ai/forecast",
                body,
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers},
                encode_chunked="Transfer-Encoding" in headers,
            )
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["code"]) == (status, code)
        connection.close()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("up")
    for above in [made, *made.parents]:
        if above.owner() == made.owner() and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    yield made
    with_record = made / "processes.json"
    if with_record.exists():  # a test failed half way: leave nothing running
        for entry in json.loads(with_record.read_text()):
            for process in psutil.process_iter():
                try:
                    if os.getsid(process.pid) == entry["leader"]:
                        process.kill()
                except ProcessLookupError:
                    continue
    shutil.rmtree(made, ignore_errors=True)


def test_it_comes_up_for_an_ordinary_user_answers_survives_being_killed_and_stops(
    folder: Path, port: int
) -> None:
    if IS_ROOT:
        shutil.chown(folder, "nobody", "nogroup")

    # killed while it makes its database
    interrupted = Up(folder, port, as_nobody=IS_ROOT).wait_for("Starting PostgreSQL.")
    time.sleep(0.3)
    interrupted.kill()

    # comes up, and the line it prints works when pasted
    first = Up(folder, port, as_nobody=IS_ROOT).wait_for("Ctrl-C stops it.")
    assert first.get("/health")[1]["status"] == "healthy"
    token = next(line for line in first.said.splitlines() if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", line))
    line = next(line for line in first.said.splitlines() if line.startswith("curl "))
    pasted = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    forecast = json.loads(pasted.stdout)
    assert len(forecast["forecasts"]) == 24, forecast
    for step in forecast["forecasts"]:
        assert step["quantiles"]["p10"] <= step["quantiles"]["p50"] <= step["quantiles"]["p90"]
    states = first.states_once_its_worker_listens()
    assert states.pop("timescaledb") in ("healthy", "not_installed")
    assert set(states.values()) == {"healthy"}, states
    check_the_web_server(port, token)

    # a second one refuses
    second = Up(folder, port, as_nobody=IS_ROOT)
    assert second.ended() == 1
    assert f"Another `up` (process {first.process.pid}) serves from {folder}." in second.said
    assert "Traceback" not in second.said

    # killed, its PostgreSQL too, and a stranger sits on Valkey's port: the next one tidies up, moves, has the data
    left, before = first.family(), services(folder)
    assert set(left) == {"bin/postgres", "valkey-server", "granian", "worker", "beat"}
    first.kill()
    for process in [*left["bin/postgres"], *left["valkey-server"]]:
        if lives(process):
            process.kill()
    while listens(before["redis_port"]):
        time.sleep(0.02)
    with socket.create_server(("127.0.0.1", before["redis_port"])):
        again = Up(folder, port, as_nobody=IS_ROOT).wait_for("Ctrl-C stops it.")
        after = services(folder)
        assert [process for members in left.values() for process in members if lives(process)] == []
        assert after["redis_port"] != before["redis_port"]
        assert after["postgres_password"] == before["postgres_password"]
        assert "is loaded for the tenant demo" not in again.said
        status, kept = again.get(f"/ai/forecast/{forecast['forecast_id']}", token)
        assert (status, kept["forecasts"]) == (200, forecast["forecasts"])

    # stops
    family = again.family()
    users = {process.username() for members in family.values() for process in members}
    assert users == ({"nobody"} if IS_ROOT else {psutil.Process().username()})
    again.process.terminate()
    assert again.ended() == 0
    assert again.said.rstrip().endswith("Stopping.")
    check_all_over(again, family)


def test_with_servers_of_its_own_choice_it_starts_none_and_ends_with_ctrl_c(folder: Path, port: int) -> None:
    ours = settings.DATABASES["default"]
    given = psycopg.conninfo.make_conninfo(
        host=ours["HOST"], port=ours["PORT"], user=ours["USER"], password=ours["PASSWORD"], dbname="postgres"
    )
    name = f"up_{uuid.uuid4().hex}"
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    cache = settings.CELERY_BROKER_URL.rpartition("/")[0].removeprefix("redis://:")
    password, _, address = cache.rpartition("@")
    host, _, redis_port = address.rpartition(":")
    try:
        up = Up(
            folder,
            port,
            ENVIRONMENT="staging",
            STATIC_ROOT=str(settings.STATIC_ROOT),  # collected for this run already
            BEHIND_TLS_PROXY="false",
            HOST="127.0.0.1",
            SECRET_KEY="k" * 50,
            KEYCLOAK_URL="http://127.0.0.1:9",
            DATABASE_URL=f"postgresql://{ours['USER']}:{ours['PASSWORD']}@{ours['HOST']}:{ours['PORT']}/{name}",
            REDIS_HOST=host,
            REDIS_PORT=redis_port,
            REDIS_PASSWORD=password,
            REDIS_DB="7",
        ).wait_for("Ctrl-C stops it.")
        family = up.family()
        environment = up.get("/health")[1]["environment"]
        os.killpg(up.process.pid, signal.SIGINT)  # Ctrl-C reaches all of the terminal's foreground group
        code = up.ended()
    finally:
        with psycopg.connect(given, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    assert (code, environment) == (0, "staging")
    assert "Traceback" not in up.said
    assert set(family) == {"granian", "worker", "beat"}
    assert not (folder / "services.json").exists()
    assert "token" not in up.said
    assert [process for members in family.values() for process in members if lives(process)] == []


def test_a_port_that_is_taken_is_named_before_anything_starts(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = int(stranger.getsockname()[1])
        up = Up(folder, taken)
        assert up.ended(60) == 1

    assert f"Port {taken} of 127.0.0.1 cannot be used" in up.said
    assert "set PORT" in up.said
    assert "Traceback" not in up.said
    assert not (folder / "postgres").exists()
