"""GET /ai/audit: for those who manage models, of their own tenant."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from omarino import audit
from omarino.audit_models import AuditRecord
from omarino.authentication import Principal
from omarino.models import User
from omarino.permissions import MODEL_ADMIN, ROLES
from tests.conftest import ClientOf

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann() -> Principal:
    """Of a tenant of this test alone, since nothing empties the audit."""
    return Principal("ann", f"ann-{uuid.uuid4().hex[:10]}", ROLES, "ann")


@pytest.fixture
def records(ann: Principal, charlie: Principal) -> None:
    for name in ("meter-1", "meter-2", "meter-3"):
        audit.record(ann.tenant_id, "stored", "readings", name, accepted=1)
    audit.record(ann.tenant_id, "removed", "asset", "meter-3")
    audit.record(charlie.tenant_id, "stored", "readings", "not-of-ann")


def found(client: Any, query: str = "") -> list[str]:
    answer = client.get(f"/ai/audit{query}")
    assert answer.status_code == 200, answer.content
    return [f"{row['verb']} {row['object_id']}" for row in answer.json()["records"]]


@pytest.mark.usefixtures("records")
def test_it_lists_the_tenants_records_newest_first(client_of: ClientOf, ann: Principal) -> None:
    answer = client_of(ann).get("/ai/audit?limit=2").json()

    assert [row["object_id"] for row in answer["records"]] == ["meter-3", "meter-3"]
    assert (answer["total"], [row["number"] for row in answer["records"]]) == (4, [4, 3])
    row = answer["records"][1]
    assert (row["facts"], row["outcome"], len(row["digest"])) == ({"accepted": 1}, "done", 64)
    assert "salt" not in row
    assert client_of(ann).get(f"/ai/audit/{row['id']}").json() == row


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?verb=removed", ["removed meter-3"]),
        ("?object_id=meter-1", ["stored meter-1"]),
        ("?kind=asset&outcome=done", ["removed meter-3"]),
        ("?outcome=refused", []),
        ("?until=2020-01-01T00:00:00Z", []),
        ("?subject=nobody", []),
    ],
)
def test_filters_narrow_it(client_of: ClientOf, ann: Principal, query: str, expected: list[str]) -> None:
    assert found(client_of(ann), query) == expected


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("query", ["?outcome=maybe", "?since=yesterday", "?limit=0", f"?verb={'v' * 40}"])
def test_a_filter_that_makes_no_sense_is_refused(client_of: ClientOf, ann: Principal, query: str) -> None:
    assert client_of(ann).get(f"/ai/audit{query}").status_code == 422


def test_who_does_not_manage_models_is_refused_which_is_a_record(client_of: ClientOf, ann: Principal) -> None:
    assert client_of(ann, roles=ROLES - {MODEL_ADMIN}).get("/ai/audit").status_code == 403
    assert found(client_of(ann)) == ["get /ai/audit"]


@pytest.mark.usefixtures("records")
def test_the_page_shows_records_and_changes_none(ann: Principal) -> None:
    person = User.objects.create_superuser(f"p-{ann.tenant_id}", tenant_id=ann.tenant_id)
    client = Client()
    client.force_login(person)
    record = AuditRecord.objects.for_tenant(ann.tenant_id).get(verb="removed")
    page = "/admin/omarino/auditrecord/"

    shown = client.get(f"{page}?tenant_id={ann.tenant_id}").content.decode()
    assert "meter-3" in shown
    assert "not-of-ann" not in shown
    assert "meter-3" in client.get(f"{page}{record.pk}/change/").content.decode()
    assert client.post(f"{page}{record.pk}/change/", {"username": "mallory"}).status_code == 403
    assert client.get(f"{page}add/").status_code == 403
    assert client.post(f"{page}{record.pk}/delete/", {"post": "yes"}).status_code == 403


def test_people_without_the_role_do_not_find_the_page(ann: Principal) -> None:
    person = User.objects.create_user(f"q-{ann.tenant_id}", tenant_id=ann.tenant_id, is_staff=True)
    client = Client()
    client.force_login(person)

    assert client.get("/admin/omarino/auditrecord/").status_code == 403
