from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from omarino.authentication import KEYS
from tests.omarino.issuer import REALM, Issuer, running_issuer

Ask = Callable[..., Any]


@pytest.fixture
def issuer(settings: Any) -> Iterator[Issuer]:
    """The service configured for a Keycloak, which runs."""
    with running_issuer() as issuer:
        settings.KEYCLOAK_URL = issuer.url
        settings.DEVELOPMENT_ISSUER = False
        settings.JWT_ISSUER = f"{issuer.url}/realms/{REALM}"
        settings.JWKS_URL = f"{settings.JWT_ISSUER}/protocol/openid-connect/certs"
        KEYS.forget()
        yield issuer
    KEYS.forget()


@pytest.fixture
def ask(db: None) -> Ask:
    """Ask for a list with this token, as any client would."""

    def ask(token: str | None, **headers: str) -> Any:
        client = APIClient(raise_request_exception=False)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return client.get("/ai/forecasts", headers=headers)

    return ask
