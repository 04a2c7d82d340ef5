"""Alice owns the row, Bob is her colleague, Charlie is another tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import settings as hypothesis_settings
from rest_framework.test import APIClient

from omarino.authentication import Principal, development_token
from omarino.health import LAST_LOOK
from omarino.keys import KEYS
from omarino.permissions import ROLES

ClientOf = Callable[..., APIClient]
# By Hypothesis's own settings a made-up example that takes 0.2 s is a failure: on a busy machine the first one may.
hypothesis_settings.register_profile("unhurried", deadline=None)
hypothesis_settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def static_files() -> None:
    """Pages name their files by digest, so the files must be collected as in a deployment."""
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def cold_keys() -> None:
    """Each test meets the identity provider and all other parts as a new process does."""
    KEYS.forget()
    LAST_LOOK.forget()


@pytest.fixture
def alice() -> Principal:
    return Principal("alice", "alpha", ROLES, "alice")


@pytest.fixture
def bob() -> Principal:
    return Principal("bob", "alpha", ROLES, "bob")


@pytest.fixture
def charlie() -> Principal:
    return Principal("charlie", "gamma", ROLES, "charlie")


@pytest.fixture
def client_of(db: None) -> ClientOf:
    """A client that sends a real token of this principal; `roles` replaces the principal's own."""

    def client_of(principal: Principal, *, roles: frozenset[str] | None = None) -> APIClient:
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token_of(principal, roles=roles)}")
        return client

    return client_of


def token_of(
    principal: Principal, *, roles: frozenset[str] | None = None, claims: dict[str, Any] | None = None
) -> str:
    return development_token(
        tenant_id=principal.tenant_id,
        roles=principal.roles if roles is None else roles,
        ttl=timedelta(hours=1),
        claims={"sub": principal.subject, "preferred_username": principal.username, **(claims or {})},
    )
