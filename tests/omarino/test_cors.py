"""Pages of other origins: none may call the API unless the operator names their origin."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

PORTAL = "https://portal.example.org"
STATIC = "/static/admin/css/base.css"


@pytest.fixture
def named(settings: Any, client: Client) -> Client:
    """As with CORS_ALLOWED_ORIGINS set."""
    settings.CORS_ALLOWED_ORIGINS = [PORTAL]
    settings.MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE]
    client.handler.load_middleware()
    return client


def preflight(client: Client, origin: str, path: str = "/ai/forecasts") -> Any:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    return client.options(path, headers=asked)


def test_by_default_no_answer_speaks_of_origins(client: Client, db: None, settings: Any) -> None:
    assert settings.CORS_ALLOWED_ORIGINS == []
    assert not any("cors" in name.lower() for name in settings.MIDDLEWARE)
    for answer in (
        preflight(client, PORTAL),
        client.get("/ai/forecasts", headers={"Origin": PORTAL}),
        client.get("/health", headers={"Origin": PORTAL}),
        client.get(STATIC, headers={"Origin": PORTAL}),
    ):
        answer.close()
        assert not any(name.startswith("Access-Control-") for name in answer.headers)


def test_a_named_origin_may_call_the_api_with_a_token_and_read_what_is_left(named: Client, db: None) -> None:
    asked = preflight(named, PORTAL)
    answer = named.get("/ai/forecasts", headers={"Origin": PORTAL})

    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == PORTAL
    assert "authorization" in asked.headers["Access-Control-Allow-Headers"]
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
    assert "RateLimit-Remaining" in answer.headers["Access-Control-Expose-Headers"]
    for told in (asked, answer):
        assert "Access-Control-Allow-Credentials" not in told.headers  # never the cookie of the pages


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "https://portal.example.org.evil.example", "http://portal.example.org", "null"],
)
def test_another_origin_is_told_nothing(origin: str, named: Client, db: None) -> None:
    for answer in (preflight(named, origin), named.get("/ai/forecasts", headers={"Origin": origin})):
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/admin/login/", "/health/detailed", "/metrics"])
def test_pages_and_probes_are_no_part_of_it(path: str, named: Client, db: None) -> None:
    answer = named.get(path, headers={"Origin": PORTAL})

    assert "Access-Control-Allow-Origin" not in answer.headers
