from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from omarino.keys import KEYS, SHARED_FOR_S
from omarino.valkey import client as valkey
from tests.omarino.issuer import REALM, Issuer, running_issuer

Ask = Callable[..., Any]


def pass_in_valkey(*, seconds: float) -> None:
    """Moves the clock of what all processes know of the issuer."""
    for name in valkey().keys("omarino:jwks:*"):
        left_ms = valkey().pttl(name) - int(seconds * 1000)
        valkey().pexpire(name, left_ms) if left_ms > 0 else valkey().delete(name)


@pytest.fixture
def issuer(settings: Any) -> Iterator[Issuer]:
    """The service configured for a Keycloak, which runs."""
    with running_issuer() as issuer:
        settings.KEYCLOAK_URL = issuer.url
        settings.DEVELOPMENT_ISSUER = False
        settings.JWT_ISSUER = f"{issuer.url}/realms/{REALM}"
        settings.JWKS_URL = f"{settings.JWT_ISSUER}/protocol/openid-connect/certs"
        pass_in_valkey(seconds=2 * SHARED_FOR_S)  # another issuer had this port, perhaps
        KEYS.forget()
        yield issuer
    KEYS.forget()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, issuer: Issuer) -> Callable[[float], None]:
    """Moves the clock of the key store forward, and that of what all processes share."""
    passed = [0.0]
    monkeypatch.setattr(KEYS, "_clock", lambda: time.monotonic() + passed[0])

    def forward(seconds: float) -> None:
        passed[0] += seconds
        pass_in_valkey(seconds=seconds)

    return forward


@pytest.fixture
def ask(db: None) -> Ask:
    """Ask for a list with this token, as any client would."""

    def ask(token: str | None, **headers: str) -> Any:
        client = APIClient(raise_request_exception=False)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return client.get("/ai/forecasts", headers=headers)

    return ask


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield int(listener.getsockname()[1])
