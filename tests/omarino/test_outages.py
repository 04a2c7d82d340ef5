"""The service whose database, cache or files are away, as a process of its own with settings that say so."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

SCRIPT = textwrap.dedent(
    """
    import json, os, sys, time
    os.environ["DJANGO_SETTINGS_MODULE"] = "omarino.settings"
    import django
    django.setup()
    from datetime import timedelta
    import omarino.urls  # a server has imported its views before it is asked
    from django.test import Client
    from omarino.authentication import development_token
    from omarino.permissions import ROLES

    token = development_token(tenant_id="alpha", roles=ROLES, ttl=timedelta(hours=1))
    answers = []
    for method, path, body, sign in json.load(sys.stdin):
        client = Client(raise_request_exception=False)
        headers = {"Authorization": f"Bearer {token}"} if sign == "token" else {}
        if sign.endswith("browser"):
            headers["Accept"] = "text/html"
        if sign.startswith("cookie"):
            client.cookies["sessionid"] = "a" * 32
        began = time.monotonic()
        answer = client.generic(method, path, body, "application/json", headers=headers)
        answers.append({
            "status": answer.status_code, "took_s": time.monotonic() - began,
            "type": answer.headers["Content-Type"], "retry_after": answer.headers.get("Retry-After"),
            "body": answer.content.decode(errors="replace"),
        })
    print(json.dumps(answers))
    """
)


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield int(listener.getsockname()[1])


CLOSED = 9  # the discard service, which nobody runs


def answers(
    data_dir: Path, variables: dict[str, str], *requests: tuple[str, str, str, str]
) -> list[dict[str, Any]]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        input=json.dumps(requests),
        env={
            **kept,
            "DATA_DIR": str(data_dir),
            "STATIC_ROOT": str(settings.STATIC_ROOT),
            "ALLOWED_HOSTS": "testserver",
            **variables,
        },
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def out(port: int) -> dict[str, str]:
    return {
        "DATABASE_URL": f"postgresql://omarino:secret-word@127.0.0.1:{port}/omarino",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(port),
    }


POINTS = [
    {"timestamp": f"2025-01-{day:02}T{hour:02}:00:00Z", "value": hour}
    for day in range(1, 15)
    for hour in range(24)
]
FORECAST = json.dumps(
    {"tenant_id": "alpha", "asset_id": "a", "forecast_type": "load", "historical_data": POINTS}
)


REQUESTS = [
    ("GET", "/health", "", ""),
    ("GET", "/health/detailed", "", ""),
    ("GET", "/ai/forecasts", "", ""),
    ("POST", "/ai/forecast", FORECAST, "token"),
    ("GET", "/admin/", "", "cookie"),
]


@pytest.fixture(scope="module", params=["closed", "silent"])
def found(
    request: pytest.FixtureRequest, silent_port: int, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The answers to `REQUESTS` where nobody listens, and where somebody does but never speaks."""
    bucket = {
        "MINIO_ENDPOINT_URL": "http://127.0.0.1:9",
        "MINIO_ACCESS_KEY": "key",
        "MINIO_SECRET_KEY": "secret-word",
    }
    return (
        answers(tmp_path_factory.mktemp("closed"), {**out(CLOSED), **bucket}, *REQUESTS)
        if request.param == "closed"
        else answers(tmp_path_factory.mktemp("silent"), out(silent_port), *REQUESTS)
    )


def test_it_is_alive_all_the_same(found: list[dict[str, Any]]) -> None:
    assert (found[0]["status"], found[0]["took_s"] < 1) == (200, True)


def test_who_brings_no_token_is_told_so_all_the_same(found: list[dict[str, Any]]) -> None:
    assert found[2]["status"] == 401


@pytest.mark.parametrize("number", [3, 4], ids=["the API", "a page"])
def test_what_needs_the_database_answers_503_soon(found: list[dict[str, Any]], number: int) -> None:
    answer = found[number]

    assert answer["status"] == 503, answer
    if number == 3:
        assert answer["type"] == "application/problem+json"
        assert json.loads(answer["body"])["code"] == "database_unavailable"
    else:
        assert answer["type"].startswith("text/html")
        assert "We will be back in a moment" in answer["body"]
    assert int(answer["retry_after"]) > 0
    assert answer["took_s"] < 10  # a hang would last a minute; a busy machine takes a few seconds
    assert "secret-word" not in answer["body"]
    assert "127.0.0.1" not in answer["body"]


def test_a_page_answers_503_where_people_sign_in_by_a_provider(tmp_path: Path) -> None:
    """The middleware that renews a sign-in looks for the session before any view is asked."""
    keycloak = {"KEYCLOAK_URL": "http://127.0.0.1:9", "KEYCLOAK_CLIENT_SECRET": "secret-word"}

    (answer,) = answers(tmp_path, {**out(CLOSED), **keycloak}, ("GET", "/admin/", "", "cookie of a browser"))

    assert (answer["status"], "We will be back in a moment" in answer["body"]) == (503, True), answer


def test_detailed_health_names_what_is_out_and_does_not_hang(found: list[dict[str, Any]]) -> None:
    health = found[1]

    body = json.loads(health["body"])
    states = {name: part["status"] for name, part in body["dependencies"].items()}
    assert (health["status"], body["status"], health["type"]) == (503, "unhealthy", "application/json")
    assert int(health["retry_after"]) > 0
    assert states.pop("storage") == (
        "healthy" if body["dependencies"]["storage"].get("kind") == "folder" else "unavailable"
    )
    assert states.pop("identity") == "healthy"
    assert set(states) == {"database", "timescaledb", "cache", "broker", "workers"}
    assert set(states.values()) == {"unavailable"}
    assert all(part["latency_ms"] >= 0 for part in body["dependencies"].values())
    assert "secret-word" not in health["body"]
    assert health["took_s"] < 9
