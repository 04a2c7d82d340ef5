"""The page of a model whose traffic two versions share."""

from __future__ import annotations

import pytest

from omarino.authentication import Principal
from registry.counting import COUNTERS
from registry.models import RegisteredModel, Stage
from registry.traffic import start
from tests.factories import make_version
from tests.pages.conftest import Pages
from tests.registry import models_made

pytestmark = pytest.mark.django_db


def test_both_variants_stand_side_by_side(alice: Principal, pages_of: Pages) -> None:
    make_version(alice, artifact=models_made.lightgbm_text(5), stage=Stage.PRODUCTION)
    make_version(alice, version="v1.1.0", artifact=models_made.lightgbm_text(6))
    model = RegisteredModel.objects.get()
    split = start(model=model, by=alice, mode="split", challenger="v1.1.0", share=0.25)
    COUNTERS.add(split.pk, "challenger", rows=1, took_ms=2.5)

    page = pages_of(alice).get(f"/admin/registry/registeredmodel/{model.pk}/change/").content.decode()

    assert "Shared traffic" in page
    assert "challenger v1.1.0" in page
    assert "production v1.0.0" in page
    assert "Too few outcomes" in page
