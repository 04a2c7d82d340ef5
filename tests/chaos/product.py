"""The product as `manage.py up` starts it, on servers of its own that a test can stop and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import jwt
import psutil
import psycopg
import redis
from django.conf import settings

from omarino import embedded
from omarino.keys import DEVELOPMENT_KID
from omarino.permissions import ROLES
from tests.chaos.load import Load
from tests.observability.conftest import free_port
from tests.omarino.test_up import Up
from tests.registry.conftest import KEY, SECRET, _free_ports, _wait_for

LEASE_S = int(os.environ.get("JOB_LEASE_SECONDS", "12"))  # `make chaos` says what a deployment has
PATIENCE_S = 300.0 + 3 * LEASE_S  # on a busy machine


class Product:
    """One `up`, and what a caller and an operator do with it. own_servers: `up` starts PostgreSQL and Valkey."""

    def __init__(self, folder: Path, *, own_servers: bool = False, **variables: str) -> None:
        self.folder = folder
        self.clock = folder / "clock"
        path = folder / "path"
        path.mkdir(mode=0o755)
        shutil.copy(Path(__file__).with_name("clock.py"), path / "sitecustomize.py")
        variables = {
            "WEB_PROCESSES": "2",
            "WORKER_PROCESSES": "4",
            "JOB_LEASE_SECONDS": str(LEASE_S),
            "RATE_LIMIT_LIGHT": "10000000",
            "RATE_LIMIT_HEAVY": "10000000",
            "STATIC_ROOT": str(settings.STATIC_ROOT),  # collected for this run already
            "PYTHONPATH": str(path),
            "HUB_CLOCK": str(self.clock),
            **variables,
        }
        self.servers: Servers | None = None
        if not own_servers:
            self.servers = Servers(folder / "servers")
            variables |= self.servers.variables
        self.up = Up(folder, free_port(), as_nobody=False, **variables)
        try:
            self.up.wait_for("Ctrl-C stops it.", PATIENCE_S)
        except BaseException:
            self.stop()
            raise
        self.address = f"http://127.0.0.1:{self.up.port}"
        self.token = self.token_of()
        self.client = httpx.Client(base_url=self.address, timeout=60, headers=self.signed(self.token))
        eventually(lambda: self.states()["workers"] == "healthy")

    def stop(self) -> None:
        self.up.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.up.ended(60)
        if self.servers is not None:
            self.servers.stop()

    # A caller

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """On a connection of its own: an answer that ends one is no matter to the next."""
        return httpx.request(
            method,
            self.address + path,
            headers={**self.signed(self.token), **more.pop("headers", {})},
            **{"timeout": 60, **more},
        )

    def load(self, **more: Any) -> Load:
        return Load(self.address, self.token, **more)

    def states(self) -> dict[str, str]:
        told = httpx.get(f"{self.address}/health/detailed", timeout=30).json()["dependencies"]
        return {name: str(part["status"]) for name, part in told.items()}

    def token_of(self, *, issued_s_ago: float = 7200, valid_s: float = 43_200) -> str:
        """Signed by the product's own development key."""
        now = int(time.time())
        claims = {
            "iss": "urn:omarino:development",
            "aud": settings.KEYCLOAK_CLIENT_ID,
            "azp": settings.KEYCLOAK_CLIENT_ID,
            "sub": "chaos",
            "typ": "Bearer",
            "iat": int(now - issued_s_ago),
            "nbf": int(now - issued_s_ago),
            "exp": int(now + valid_s),
            "tenant_id": "demo",
            "preferred_username": "chaos",
            "realm_access": {"roles": sorted(ROLES)},
        }
        key = (self.folder / "development_issuer.pem").read_bytes()
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": DEVELOPMENT_KID})

    @staticmethod
    def signed(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    # An operator

    @property
    def database_url(self) -> str:
        folder = self.folder if self.servers is None else self.servers.folder
        return embedded.running_services(folder).database_url

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            found = connection.execute(query, parameters)
            return found.fetchall() if found.description else []

    def manage(self, *command: str) -> None:
        """A command of the product's, with its settings."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(settings.BASE_DIR / "manage.py"), *command],
            env=self.up.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def leader(self, name: str) -> psutil.Process:
        """Of `granian` or `worker`, the process that looks after the others; there is none for a moment after a kill."""
        found: list[psutil.Process] = eventually(
            lambda: [each for each in self.up.family().get(name, []) if _leads(each)]
        )
        return found[0]

    def workers(self, name: str) -> list[psutil.Process]:
        """Those that do the work."""
        return self.leader(name).children(recursive=True)

    def kill_all(self, name: str) -> None:
        """kill -9 of everybody at once, as when a machine's memory ends."""
        os.killpg(self.leader(name).pid, signal.SIGKILL)

    @contextmanager
    def holding(self, query: str, *parameters: Any) -> Iterator[None]:
        """Another session holds a lock, so that a worker stands still at a moment of our choice."""
        with psycopg.connect(self.database_url) as session:
            session.execute(query, parameters)
            try:
                yield
            finally:
                with suppress(psycopg.Error):
                    session.rollback()

    def lost(self, load: Load) -> list[str]:
        """Forecasts that somebody was given and that nobody can fetch."""
        kept = {
            str(row[0])
            for row in self.sql("SELECT id FROM forecasting_forecast WHERE id = ANY(%s)", load.forecasts)
        }
        return [forecast for forecast in load.forecasts if forecast not in kept]

    def valkey(self, database: int) -> redis.Redis:
        """0 is the cache, 1 the queue."""
        folder = self.folder if self.servers is None else self.servers.folder
        services = embedded.running_services(folder)
        return redis.Redis(port=services.redis_port, password=services.redis_password, db=database)

    def waiting_messages(self) -> int:
        """Not taken, or taken and not done."""
        with self.valkey(1) as queue:
            return int(queue.llen("celery")) + int(queue.hlen("unacked"))


def _leads(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == process.pid and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


class Servers:
    """A real PostgreSQL, a real Valkey and a real S3 service that outlive the product, or do not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755)
        self.services = embedded.running_services(folder)
        self._s3_ports = _free_ports(4)
        self.postgres = embedded.start_postgres(folder, self.services)
        self.valkey = embedded.start_valkey(folder, self.services)
        self.s3 = self.start_s3()

    @property
    def variables(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.services.database_url,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.services.redis_port),
            "REDIS_PASSWORD": self.services.redis_password,
            "MINIO_ENDPOINT_URL": f"http://127.0.0.1:{self._s3_ports[3]}",
            "MINIO_ACCESS_KEY": KEY,
            "MINIO_SECRET_KEY": SECRET,
        }

    def start_postgres(self) -> None:
        self.postgres = embedded.start_postgres(self.folder, self.services)

    def start_valkey(self, *, empty: bool = False) -> None:
        if empty:
            shutil.rmtree(self.folder / "valkey")
        self.valkey = embedded.start_valkey(self.folder, self.services)

    def start_s3(self) -> subprocess.Popen[bytes]:
        names = ("-master.port", "-volume.port", "-filer.port", "-s3.port")
        ports = [f"{name}={port}" for name, port in zip(names, self._s3_ports, strict=True)]
        data = self.folder / "s3"
        data.mkdir(exist_ok=True)
        self.s3 = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("weed")), "mini", f"-dir={data}", "-ip=127.0.0.1"),
                *("-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"),
                *("-s3.port.lance=0", "-master.telemetry=false", *ports),
            ],
            env={**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=data,
            start_new_session=True,
        )
        _wait_for(f"http://127.0.0.1:{self._s3_ports[3]}", self.s3)
        return self.s3

    @staticmethod
    def kill(server: subprocess.Popen[bytes]) -> None:
        server.kill()
        server.wait()

    def stop(self) -> None:
        for server in (self.s3, self.valkey, self.postgres):
            embedded.stop(server, patience_s=3)


def eventually(holds: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What `holds()` gives once it is true."""
    deadline = time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "It never came true."
        time.sleep(0.05)
    return found


@contextmanager
def product_in_a_folder(**more: Any) -> Iterator[Product]:
    folder = Path(tempfile.mkdtemp(prefix="hub-chaos-"))  # the database's account must get there
    product = Product(folder, **more)
    try:
        yield product
    finally:
        product.stop()
        shutil.rmtree(folder, ignore_errors=True)
