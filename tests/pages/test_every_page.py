"""The list and the page of a row of everything that the pages show."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from omarino.admin import TenantAdmin
from omarino.authentication import Principal
from tests.factories import (
    make_asset,
    make_drift_flag,
    make_explanation_row,
    make_export,
    make_forecast_row,
    make_score_row,
    make_version,
)
from tests.pages.conftest import Pages
from tests.registry.models_made import lightgbm_text
from tests.tenancy.routes import audit_record, detection, feature_set, watch

SHOWN = [model for model, page in admin.site._registry.items() if isinstance(page, TenantAdmin)]


def fill(owner: Principal) -> None:
    make_asset(owner)
    for make in (make_forecast_row, make_score_row, make_drift_flag, make_explanation_row, make_export):
        make(owner)
    make_version(owner, artifact=lightgbm_text())
    for prepare in (detection, watch, feature_set, audit_record):
        prepare(owner)


@pytest.mark.parametrize("is_superuser", [False, True], ids=["a person of the tenant", "a superuser"])
def test_the_list_and_a_row_of_everything_open(
    alice: Principal, pages_of: Pages, *, is_superuser: bool
) -> None:
    fill(alice)
    pages = pages_of(alice, is_superuser=is_superuser)

    answered: dict[type[Model], tuple[int, int]] = {}
    for model in SHOWN:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = model._default_manager.filter(tenant_id=alice.tenant_id).first()
        assert row is not None, f"{model.__name__} has a page; make a row of it in `fill`"
        answered[model] = (
            pages.get(reverse(f"{name}_changelist"), follow=True).status_code,
            pages.get(reverse(f"{name}_change", args=[row.pk])).status_code,
        )

    assert answered == dict.fromkeys(SHOWN, (200, 200))
