"""GET /health, /api/health and /health/detailed where all is well; tests/omarino/test_outages.py has the rest."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from omarino.health import LOOK_KEEPS_S, NEEDED, PROBES


@pytest.mark.parametrize("path", ["/health", "/api/health"])
def test_it_says_who_is_alive(path: str, client: Client, settings: Any) -> None:
    """Without the database mark: a query would fail this test."""
    response = client.get(path)

    body = response.json()
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    told = datetime.fromisoformat(body.pop("timestamp"))
    assert abs(datetime.now(UTC) - told) < timedelta(minutes=1)
    assert body == {
        "status": "healthy",
        "service": "ai-hub",
        "version": settings.VERSION,
        "environment": "development",
    }


def test_detailed_health_names_each_dependency(db: None, client: Client) -> None:
    response = client.get("/health/detailed")

    body = response.json()
    parts = body["dependencies"]
    assert list(parts) == ["database", "timescaledb", "cache", "broker", "workers", "storage", "identity"]
    assert set(parts) == set(PROBES)
    assert {
        name: part["status"] for name, part in parts.items() if name not in ("timescaledb", "workers")
    } == dict.fromkeys(["database", "cache", "broker", "storage", "identity"], "healthy")
    assert int(parts["database"]["version"].split(".")[0]) >= 15
    assert all(part["latency_ms"] >= 0 for part in parts.values())


def test_who_asks_again_within_a_second_is_told_the_same(db: None, client: Client) -> None:
    """No look is begun for them, so a flood of such questions asks no dependency."""
    first = client.get("/health/detailed").json()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omarino.health.LOOK_KEEPS_S", 60)  # a busy machine may take a second for twenty
        again = [client.get("/health/detailed").json() for _ in range(20)]

    assert all(answer["dependencies"] == first["dependencies"] for answer in again)  # to the last latency
    time.sleep(LOOK_KEEPS_S)
    assert client.get("/health/detailed").json()["dependencies"] != first["dependencies"]  # other latencies


def test_without_a_worker_it_is_degraded_and_still_serves(db: None, client: Client) -> None:
    response = client.get("/health/detailed")

    assert (response.status_code, response.json()["status"]) == (
        200,
        "degraded",
    )  # nobody started a worker here
    assert response.json()["dependencies"]["workers"] | {"latency_ms": 0} == {
        "status": "unavailable",
        "count": 0,
        "latency_ms": 0,
    }
    assert "workers" not in NEEDED
    assert "Retry-After" not in response.headers


def test_health_wants_no_token_and_minds_no_bad_one(db: None, client: Client) -> None:
    assert client.get("/health", headers={"Authorization": "Bearer x", "X-Tenant-ID": "y"}).status_code == 200


def test_a_probe_inside_the_cluster_is_not_sent_to_https(client: Client, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    client.handler.load_middleware()

    assert client.get("/health").status_code == 200
    assert client.get("/ai/forecasts").status_code == 301
