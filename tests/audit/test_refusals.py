"""Who was kept from something is known; who is not known has no tenant to keep it under."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from omarino.audit_models import Outcome
from omarino.authentication import Principal
from omarino.models import User
from omarino.permissions import AI_USER
from tests.audit.conftest import records_of_this_test
from tests.conftest import ClientOf
from tests.factories import make_version


def refusals(tenant_id: str) -> list[Any]:
    return list(
        records_of_this_test()
        .for_tenant(tenant_id)
        .filter(outcome=Outcome.REFUSED)
        .values_list("subject", "username", "verb", "object_id", "facts", "request_id")
    )


def test_a_missing_role_is_kept(client_of: ClientOf, bob: Principal) -> None:
    client = client_of(bob, roles=frozenset({AI_USER}))

    answer = client.put(
        "/ai/models/alpha:site-load/gates",
        {"required_metrics": ["mae"]},
        headers={"X-Request-ID": "ticket-7"},
    )

    assert answer.status_code == 403
    facts = {"status": 403, "code": "permission_denied"}
    assert refusals("alpha") == [("bob", "bob", "put", "/ai/models/alpha:site-load/gates", facts, "ticket-7")]


@pytest.mark.parametrize(
    ("address", "headers"),
    [("/ai/forecasts?tenant_id=alpha", {}), ("/ai/forecasts", {"X-Tenant-ID": "alpha"})],
)
def test_another_tenant_named_is_kept_for_the_tenant_of_the_token(
    client_of: ClientOf, charlie: Principal, address: str, headers: dict[str, str]
) -> None:
    assert client_of(charlie).get(address, headers=headers).status_code == 403

    ((subject, _, verb, path, facts, request_id),) = refusals("gamma")
    assert (subject, verb, path, facts["code"]) == ("charlie", "get", "/ai/forecasts", "tenant_mismatch")
    assert request_id
    assert refusals("alpha") == []


def test_another_tenant_named_in_a_body_is_kept(client_of: ClientOf, charlie: Principal) -> None:
    body = {
        "tenant_id": "alpha",
        "asset_id": "a",
        "readings": [{"timestamp": "2025-01-01T00:00:00Z", "value": 1}],
    }

    assert client_of(charlie).post("/ai/features/readings", body).status_code == 403
    assert len(refusals("gamma")) == 1


def test_an_id_of_another_tenant_looks_absent_and_is_kept(
    client_of: ClientOf, alice: Principal, charlie: Principal
) -> None:
    make_version(alice)

    there = client_of(charlie).get("/ai/models/alpha:site-load:v1.0.0")
    not_there = client_of(charlie).get("/ai/models/alpha:no-such-thing:v1.0.0")

    assert there.status_code == not_there.status_code == 404
    assert there.json()["detail"] == not_there.json()["detail"]
    assert [path for _, _, _, path, _, _ in refusals("gamma")] == [
        "/ai/models/alpha:no-such-thing:v1.0.0",
        "/ai/models/alpha:site-load:v1.0.0",
    ]


def test_what_is_absent_and_nobodys_is_no_refusal(client_of: ClientOf, alice: Principal) -> None:
    assert client_of(alice).get("/ai/models/alpha:no-such-thing:v1.0.0").status_code == 404
    assert client_of(alice).get("/ai/features/assets/no-such-thing").status_code == 404
    assert refusals("alpha") == []


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer x.y.z", "Basic YTpi"])
def test_whoever_is_not_known_fills_no_audit(db: None, token: str) -> None:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=token)

    assert client.get("/ai/forecasts", headers={"X-Tenant-ID": "alpha"}).status_code == 401
    assert not records_of_this_test().filter(outcome=Outcome.REFUSED).exists()


def test_a_page_refused_and_a_sign_in_are_kept(db: None) -> None:
    person = User.objects.create_user("dora", password="a long password", tenant_id="delta", is_staff=True)
    client = Client()
    client.force_login(person)

    assert client.get("/admin/omarino/user/").status_code == 403
    ((subject, username, verb, path, _, _),) = refusals("delta")
    assert (subject, username, verb, path) == (f"user:{person.pk}", "dora", "get", "/admin/omarino/user/")
    client.logout()
    client.post("/admin/login/", {"username": "dora", "password": "a long password"})
    signed_in = records_of_this_test().for_tenant("delta").filter(verb="signed_in").first()
    assert signed_in is not None
    assert signed_in.username == "dora"


def test_whoever_signs_in_where_somebody_of_another_tenant_was_is_kept_for_their_own(db: None) -> None:
    for name, tenant in (("al", "delta"), ("be", "epsilon"), ("root", "")):
        User.objects.create_user(
            name, password="a long password", tenant_id=tenant, is_staff=True, is_superuser=name == "root"
        )
    client = Client()

    for name in ("al", "be", "root", "al"):
        answer = client.post("/admin/login/", {"username": name, "password": "a long password"})
        assert answer.status_code == 302

    signed_in = records_of_this_test().filter(verb="signed_in").order_by("at")
    assert [(row.tenant_id, row.username) for row in signed_in] == [
        ("delta", "al"),
        ("epsilon", "be"),
        ("", "root"),
        ("delta", "al"),
    ]


def test_a_form_without_its_token_is_kept_where_somebody_is_signed_in(db: None) -> None:
    person = User.objects.create_user("dora", tenant_id="delta", is_staff=True)
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)

    assert client.post("/admin/features/asset/add/", {"asset_id": "x"}).status_code == 403
    ((subject, _, verb, path, facts, _),) = refusals("delta")
    assert (subject, verb, path) == (f"user:{person.pk}", "post", "/admin/features/asset/add/")
    assert facts == {"status": 403, "code": "csrf_failed"}
    assert Client(enforce_csrf_checks=True).post("/admin/login/", {}).status_code == 403  # nobody is


def test_a_wrong_password_is_in_the_log(db: None, caplog: pytest.LogCaptureFixture) -> None:
    User.objects.create_user("dora", password="a long password", tenant_id="delta", is_staff=True)

    answer = Client().post("/admin/login/", {"username": "dora", "password": "another long one"})

    assert answer.status_code == 200
    (line,) = [str(told.msg) for told in caplog.records if "sign_in_refused" in str(told.msg)]
    assert "dora" in line
    assert "another long one" not in caplog.text
