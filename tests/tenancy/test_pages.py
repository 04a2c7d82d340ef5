"""The pages as somebody of another tenant meets them: every list, row, form, filter and side door of every model."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.urls import reverse

from omarino.authentication import Principal
from omarino.models import User
from tests.pages.conftest import Pages, pages_of
from tests.pages.test_every_page import SHOWN, fill

__all__ = ["pages_of"]  # a fixture

NAMES = re.compile(r"main-meter|meter-of-the-owner|site-load|of_the_owner|\balpha\b")
OF_A_ROW = ("change/", "history/", "delete/", "change/?_popup=1&_to_field=id")


def row_of(model: type[Model]) -> Any:
    found = model._default_manager.filter(tenant_id="alpha").first()
    assert found is not None
    return found


def lists(model: type[Model]) -> Iterator[str]:
    """The list as it is, searched, sorted, as a popup to choose from, and by each of its filters with a value of the
    owner's row."""
    row, page = row_of(model), admin.site._registry[model]
    asked: list[dict[str, Any]] = [{}, {"q": "e"}, {"all": "", "o": "1"}, {"_popup": 1, "_to_field": "id"}]
    named = [str(name[0] if isinstance(name, tuple) else name) for name in page.list_filter]
    asked += [{f"{name}__exact": getattr(row, name)} for name in named] + [{"tenant_id": "alpha"}]
    if page.date_hierarchy:
        asked.append({f"{page.date_hierarchy}__year": getattr(row, page.date_hierarchy).year})
    yield from (f"?{urlencode(query)}" for query in asked)


def path_of(model: type[Model], name: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


@pytest.mark.parametrize("model", SHOWN, ids=lambda model: model.__name__)
def test_nothing_of_another_tenant_is_on_any_page(
    model: type[Model], alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    fill(alice)
    pages, listed = pages_of(charlie), path_of(model, "changelist")
    page = admin.site._registry[model]

    seen = [pages.get(f"{listed}{query}", follow=True) for query in lists(model)]
    seen.append(pages.get(f"{listed}add/"))

    assert {answer.status_code for answer in seen} <= {200, 403}
    pks = [str(pk) for pk in model._default_manager.filter(tenant_id="alpha").values_list("pk", flat=True)]
    for answer in seen:
        text = answer.content.decode().partition('<div id="content"')[2] or answer.content.decode()
        told = re.sub(r'value="[^"]*"|href="[^"]*"', "", text)  # what was asked for is said again
        assert not NAMES.search(told), (answer.request, NAMES.search(told))
        assert not [pk for pk in pks if len(pk) > 8 and pk in text]
    assert not page.get_queryset(seen[0].wsgi_request).filter(tenant_id="alpha").exists()


@pytest.mark.parametrize("model", SHOWN, ids=lambda model: model.__name__)
def test_a_row_of_another_tenant_is_on_no_page_of_its_own(
    model: type[Model], alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    fill(alice)
    row, pages = row_of(model), pages_of(charlie)
    absent = uuid.uuid4() if isinstance(row.pk, uuid.UUID) else 987_654_321
    content_type = ContentType.objects.get_for_model(model).pk

    for name in OF_A_ROW:
        for method in (pages.get, pages.post):
            answers = [method(f"{path_of(model, 'changelist')}{quote(pk)}/{name}") for pk in (row.pk, absent)]
            assert {answer.status_code for answer in answers} in ({302}, {403}), name
            assert answers[0].headers.get("Location") == answers[1].headers.get("Location")
    shortcuts = [pages.get(f"/admin/r/{content_type}/{pk}/") for pk in (row.pk, absent)]
    assert [answer.status_code for answer in shortcuts] == [404, 404]
    assert shortcuts[0].content.replace(str(row.pk).encode(), b"") == shortcuts[1].content.replace(
        str(absent).encode(), b""
    )


def test_nothing_is_completed_since_no_form_of_ours_asks_for_it(alice: Principal, pages_of: Pages) -> None:
    fill(alice)
    pages = pages_of(alice)
    models: list[type[Model]] = [*SHOWN, User]
    names: list[dict[str, Any]] = [
        {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": field.name}
        for model in models
        for field in model._meta.get_fields()
    ]

    answers = [pages.get("/admin/autocomplete/", {**name, "term": ""}) for name in names]

    assert {answer.status_code for answer in answers} == {404}


@pytest.mark.parametrize("object_id", ["1", "0", "x", "987654321987654321987654321", str(uuid.UUID(int=7))])
def test_no_row_has_an_address_elsewhere(alice: Principal, pages_of: Pages, object_id: str) -> None:
    fill(alice)
    pages = pages_of(alice)
    types = [*(str(kind.pk) for kind in ContentType.objects.all()), "0", "x"]

    answers = [pages.get(f"/admin/r/{content_type}/{object_id}/") for content_type in types]

    assert {answer.status_code for answer in answers} == {404}
