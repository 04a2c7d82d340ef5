"""`manage.py token` and the issuer of its own that the service trusts in development."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from omarino.authentication import Principal, principal_of
from omarino.keys import development_key
from omarino.permissions import ROLES
from tests.conftest import token_of
from tests.omarino.conftest import Ask


def token(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("token", *arguments)
    return capsys.readouterr().out.rstrip("\n")


def manage_token(data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "token", "--tenant", "alpha"],
        env={**kept, "DATA_DIR": str(data_dir), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_prints_a_token_and_nothing_else(tmp_path: Path) -> None:
    first, second = manage_token(tmp_path), manage_token(tmp_path)

    assert (first.returncode, first.stderr) == (0, "")
    printed = first.stdout.removesuffix("\n")
    assert jwt.decode(printed, options={"verify_signature": False})["tenant_id"] == "alpha"
    assert len(printed.split()) == 1
    assert jwt.get_unverified_header(second.stdout.strip()) == jwt.get_unverified_header(printed)
    key = tmp_path / "development_issuer.pem"
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "variables",
    [
        {"KEYCLOAK_URL": "http://127.0.0.1:9"},
        {
            "ENVIRONMENT": "production",
            "KEYCLOAK_URL": "https://id.example.org",
            "SECRET_KEY": "k" * 50,
            "DATABASE_URL": "postgresql://hub@db.example.org/hub",
            "REDIS_HOST": "cache.example.org",
        },
    ],
    ids=["with Keycloak", "in production"],
)
def test_there_is_no_development_token(variables: dict[str, str], tmp_path: Path) -> None:
    refused = manage_token(tmp_path, **variables)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Fetch a token from your identity provider" in refused.stderr
    assert not (tmp_path / "development_issuer.pem").exists()


def test_a_service_with_keycloak_does_not_trust_the_development_key(settings: Any, ask: Ask) -> None:
    ours = token_of(Principal("alice", "alpha", ROLES, "alice"))
    assert ask(ours).status_code == 200
    settings.DEVELOPMENT_ISSUER = False
    settings.JWT_ISSUER = "https://id.example.org/realms/omarino"

    assert ask(ours).status_code == 401


def test_it_carries_the_tenant_and_the_roles(capsys: pytest.CaptureFixture[str]) -> None:
    asking = principal_of(token(capsys, "--tenant", "t-1", "--roles", "ai_user, forecaster"))

    assert (asking.tenant_id, asking.roles) == ("t-1", frozenset({"ai_user", "forecaster"}))


def test_all_roles_are_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert principal_of(token(capsys)).roles == ROLES


def test_claims_are_replaced_added_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    changed = json.dumps({"sub": "someone", "aud": None, "extra": [1]})

    claims = jwt.decode(
        token(capsys, "--claims", changed),
        development_key().public_key(),
        algorithms=["RS256"],
    )

    assert (claims["sub"], claims["extra"], "aud" in claims) == ("someone", [1], False)


def test_a_token_can_be_made_that_has_expired(capsys: pytest.CaptureFixture[str], ask: Ask) -> None:
    response = ask(token(capsys, "--ttl", "-60"))

    assert (response.status_code, response.json()["detail"]) == (
        401,
        "The token has expired. Fetch a new one.",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--roles", "ai_user,emperor"], "unknown role emperor"),
        (["--tenant", "a:b"], "1 to 64 letters"),
        (["--tenant", ""], "1 to 64 letters"),
        (["--claims", "{"], "not JSON"),
        (["--claims", "[1]"], "a JSON object"),
        (["--ttl", "soon"], "invalid"),
        (["--ttl", "99999999999999"], "seconds"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("token", *arguments)
