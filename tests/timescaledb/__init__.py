"""A TimescaleDB for the tests, where the machine has none."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connections

from tests.node import NODE, environment, installed

HERE = Path(__file__).parent


@contextmanager
def timescaledb() -> Iterator[dict[str, Any]]:
    """Settings of a database in a fresh TimescaleDB, which lives as long as the block."""
    place = installed(HERE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [str(NODE), str(HERE / "serve.mjs"), str(port)],
        env=environment(place),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        ours = connections["default"].settings_dict
        yield {
            **ours,
            "NAME": "postgres",
            "USER": "postgres",
            "PASSWORD": "any",
            "HOST": "127.0.0.1",
            "PORT": port,
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": False,
            "OPTIONS": {
                "sslmode": "disable",
                "connect_timeout": 30,
                "options": "-c timezone=UTC",
                "prepare_threshold": None,  # one session answers on every connection
            },
        }
    finally:
        server.kill()
        server.communicate()


@contextmanager
def as_default(settings: dict[str, Any]) -> Iterator[None]:
    """Whatever asks for the database in this thread gets that one."""
    usual = connections["default"]
    connections["default"] = type(usual)(settings, alias="default")
    try:
        yield
    finally:
        with suppress(Exception):
            connections["default"].close()
        connections["default"] = usual


def migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)
