"""Who may do what is itself a change somebody made: people, their roles, their passwords."""

from __future__ import annotations

from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import NoReverseMatch, reverse

from omarino.audit_models import AuditRecord
from omarino.models import User
from omarino.people import Standing
from omarino.permissions import ROLES

PASSWORDS = {"password1": "correct horse battery", "password2": "correct horse battery"}


def told(tenant_id: str) -> list[AuditRecord]:
    return list(AuditRecord.objects.for_tenant(tenant_id).filter(kind="person").order_by("at"))


@pytest.fixture
def pages(db: None) -> Client:
    root = User.objects.create_superuser("root", password="a long password", tenant_id="alpha")
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture
def dora(db: None) -> User:
    for role in sorted(ROLES):
        Group.objects.get_or_create(name=role)
    return User.objects.create_user("dora", password="a long password", tenant_id="delta", is_staff=True)


def form_of(person: User, **changes: Any) -> dict[str, Any]:
    said = {"username": person.username, "tenant_id": person.tenant_id, "is_active": "on", "is_staff": "on"}
    joined = {"date_joined_0": "2025-01-01", "date_joined_1": "00:00:00"}
    return said | joined | changes


def test_what_is_done_to_people_is_told_without_their_password(pages: Client) -> None:
    names = {"username": "dora", "tenant_id": "delta", "usable_password": "true"}

    pages.post("/admin/omarino/user/add/", names | PASSWORDS)
    person = User.objects.get(username="dora")
    pages.post(f"/admin/omarino/user/{person.pk}/password/", {"usable_password": "true", **PASSWORDS})
    pages.post(f"/admin/omarino/user/{person.pk}/delete/", {"post": "yes"})

    created, changed, deleted = told("delta")
    assert [(row.username, row.verb, row.object_id) for row in (created, changed, deleted)] == [
        ("root", "created", str(person.pk)),
        ("root", "changed", str(person.pk)),
        ("root", "deleted", str(person.pk)),
    ]
    assert created.after == changed.before != changed.after == deleted.before
    assert not User.objects.filter(username="dora").exists()


def test_each_change_of_roles_shows_what_they_were_and_are(pages: Client, dora: User) -> None:
    pages.post(f"/admin/omarino/user/{dora.pk}/change/", form_of(dora))  # the date it joined
    address, states = f"/admin/omarino/user/{dora.pk}/change/", [Standing.of(dora.pk).digest]
    for names in (["ai_user"], ["ai_user", "model_admin"], []):
        chosen = list(Group.objects.filter(name__in=names).values_list("pk", flat=True))
        assert pages.post(address, form_of(dora, groups=chosen)).status_code == 302
        states.append(Standing.of(dora.pk).digest)
    pages.post(address, form_of(dora))

    changes = told("delta")[1:]
    assert [(row.before, row.after) for row in changes] == list(pairwise(states))
    assert len({*states[:3]}) == 3
    assert [row.facts for row in changes] == [
        {"roles": [[], ["ai_user"]]},
        {"roles": [["ai_user"], ["ai_user", "model_admin"]]},
        {"roles": [["ai_user", "model_admin"], []]},
    ]


def test_who_is_deactivated_or_moved_is_told(pages: Client, dora: User) -> None:
    address = f"/admin/omarino/user/{dora.pk}/change/"
    pages.post(address, form_of(dora, is_active=""))
    pages.post(address, form_of(dora, is_active="", tenant_id="epsilon"))

    assert [row.facts for row in told("delta")] == [{"is_active": [True, False]}, {"moved": "away"}]
    (here,) = told("epsilon")
    assert here.facts == {"moved": "here"}


def test_ones_own_new_password_is_told(dora: User) -> None:
    client = Client()
    client.force_login(dora)
    was = Standing.of(dora.pk).digest
    new = {"new_password1": "correct horse battery", "new_password2": "correct horse battery"}

    client.post("/admin/password_change/", {"old_password": "wrong", **new})
    answer = client.post("/admin/password_change/", {"old_password": "a long password", **new})

    assert answer.status_code == 302
    _, changed = told("delta")
    assert (changed.verb, changed.username, changed.before) == ("changed", "dora", was)
    assert changed.after == Standing.of(dora.pk).digest


def test_making_a_superuser_is_told_and_so_is_its_undoing(dora: User) -> None:
    for words in ([], [], ["--undo"], ["--undo"]):
        call_command("make_superuser", "dora", *words, stdout=StringIO())

    made, undone = told("delta")
    assert made.facts == {"is_superuser": [False, True]}
    assert undone.facts == {"is_superuser": [True, False]}
    assert made.subject.startswith("command:")
    dora.refresh_from_db()
    assert not dora.is_superuser
    with pytest.raises(CommandError, match="nobody called 'nora'"):
        call_command("make_superuser", "nora")


def test_roles_are_no_page_of_their_own(pages: Client) -> None:
    assert pages.get("/admin/auth/group/").status_code == 404
    with pytest.raises(NoReverseMatch):
        reverse("admin:auth_group_changelist")


def test_the_history_of_a_person_is_that_of_the_audit(pages: Client, dora: User) -> None:
    pages.post(f"/admin/omarino/user/{dora.pk}/change/", form_of(dora, is_active=""))

    page = pages.get(f"/admin/omarino/user/{dora.pk}/history/", follow=True)

    assert page.redirect_chain == [(f"/admin/omarino/auditrecord/?object_id={dora.pk}", 302)]
    assert page.context["cl"].result_count == 1
    assert not LogEntry.objects.exists()  # which no erasure of a tenant would find
