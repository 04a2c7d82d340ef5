"""Whether a long body is received at all, before a thread is given to its request."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from omarino.authentication import Principal
from omarino.edge import REFUSAL, is_wanted
from omarino.errors import BodyTooSlow
from omarino.models import User
from tests.conftest import ClientOf
from tests.omarino.issuer import Issuer

MIB = 1_048_576


def environ(path: str, length: int, **more: str) -> dict[str, Any]:
    return {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(length), **more}


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/ai/forecast", 32 * MIB),
        ("/ai/models/register", 96 * MIB),
        ("/ai/models/alpha:one:v1/artifact", 512 * MIB),
        ("/ai/mlflow/api/2.0/mlflow-artifacts/artifacts/1/model.txt", 512 * MIB),
        ("/ai/features/readings", 32 * MIB),
        ("/ai/features/get", MIB),
        ("/admin/login/", 2_621_440),
    ],
)
def test_somebody_with_a_token_sends_what_the_route_takes(path: str, most: int, issuer: Issuer) -> None:
    signed = {"HTTP_AUTHORIZATION": f"Bearer {issuer.token()}"}

    assert is_wanted(environ(path, most, **signed))
    assert not is_wanted(environ(path, most + 1, **signed))


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer abc", "Basic YTpi"])
def test_nobody_sends_a_long_body(header: str, issuer: Issuer, db: None) -> None:
    assert not is_wanted(environ("/ai/forecast", 70_000, HTTP_AUTHORIZATION=header))
    assert not is_wanted(environ("/admin/login/", 70_000, HTTP_AUTHORIZATION=header))


def test_a_token_that_is_over_sends_none(issuer: Issuer) -> None:
    over = issuer.token(exp=1)

    assert not is_wanted(environ("/ai/forecast", 70_000, HTTP_AUTHORIZATION=f"Bearer {over}"))


def test_an_address_that_leads_nowhere_takes_none(issuer: Issuer) -> None:
    assert not is_wanted(environ("/nowhere", 70_000, HTTP_AUTHORIZATION=f"Bearer {issuer.token()}"))


def test_a_person_sends_one_within_a_session(client: Client, transactional_db: None) -> None:
    client.force_login(User.objects.create_superuser("ada", password="x" * 12, tenant_id="alpha"))
    session = client.cookies["sessionid"].value
    assert is_wanted(environ("/ai/forecast", 70_000, HTTP_COOKIE=f"a=1; sessionid={session}"))
    assert not is_wanted(environ("/ai/forecast", 70_000, HTTP_COOKIE="sessionid=abc"))


def test_a_body_that_never_came_is_a_408(alice: Principal, client_of: ClientOf) -> None:
    came = {REFUSAL: BodyTooSlow(patience_s=20, least_bytes_s=500)}
    client: Any = client_of(alice)
    answer = client.generic("POST", "/ai/forecast", b"{}", "application/json", **came)

    assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")
    assert "nothing came for 20 s" in answer.json()["detail"]


def test_an_artifact_that_announces_too_much_is_refused_unread(
    alice: Principal, client_of: ClientOf, settings: Any
) -> None:
    path = "/ai/mlflow/api/2.0/mlflow-artifacts/artifacts/1/model.txt"
    client: Any = client_of(alice)
    answer = client.generic("PUT", path, b"abc", "text/plain", CONTENT_LENGTH=str(2**40))

    assert (answer.status_code, answer.json()["code"]) == (413, "artifact_too_large")
