"""Feature sets in the pages."""

from __future__ import annotations

from typing import Any

import pytest

from features.models import TenantFeatureSet
from features.set_actions import define_set
from omarino.authentication import Principal
from omarino.permissions import AI_USER
from tests.pages.conftest import Pages

pytestmark = pytest.mark.django_db
SETS = "/admin/features/tenantfeatureset/"


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def made(owner: Principal) -> TenantFeatureSet:
    row, _ = define_set(
        tenant_id=owner.tenant_id, name="small_sites", features=["lag_24h", "month"], made_by=owner.subject
    )
    return row


def test_a_set_is_put_together_by_ticking(alice: Principal, pages_of: Pages) -> None:
    pages = pages_of(alice)
    assert "lag_168h: The reading 168 hours before" in text_of(pages.get(f"{SETS}add/"))

    said = {"name": "small_sites", "features": ["lag_24h", "hour_of_day"], "description": "few readings"}
    text = text_of(pages.post(f"{SETS}add/", said, follow=True))

    row = TenantFeatureSet.objects.get()
    assert (row.tenant_id, row.version, row.made_by) == ("alpha", 1, "alice")
    assert row.features == ["lag_24h", "hour_of_day"]
    assert "few readings" in text


def test_a_change_makes_the_next_version(alice: Principal, pages_of: Pages) -> None:
    row = made(alice)
    pages = pages_of(alice)

    pages.post(f"{SETS}{row.pk}/change/", {"features": ["month"], "stored": "on"})

    versions = TenantFeatureSet.objects.order_by("version")
    assert [(each.version, each.features, each.stored) for each in versions] == [
        (1, ["lag_24h", "month"], False),
        (2, ["month"], True),
    ]
    text = text_of(pages.get(SETS))
    assert "1 feature set" in text


def test_a_name_that_is_built_in_and_no_feature_are_refused(alice: Principal, pages_of: Pages) -> None:
    pages = pages_of(alice)

    taken = text_of(pages.post(f"{SETS}add/", {"name": "forecast_basic", "features": ["month"]}))
    empty = text_of(pages.post(f"{SETS}add/", {"name": "mine"}))
    unknown = text_of(pages.post(f"{SETS}add/", {"name": "mine", "features": ["mood"]}))

    assert "forecast_basic is a built-in set" in taken
    assert "This field is required" in empty
    assert "mood is not one of the available choices" in unknown
    assert not TenantFeatureSet.objects.exists()


def test_a_set_is_removed_and_its_version_kept(alice: Principal, pages_of: Pages) -> None:
    row = made(alice)

    text_of(pages_of(alice).post(f"{SETS}{row.pk}/delete/", {"post": "yes"}, follow=True))

    row.refresh_from_db()
    assert row.removed_at


def test_others_and_who_may_only_read_change_nothing(
    alice: Principal, bob: Principal, charlie: Principal, pages_of: Pages
) -> None:
    row = made(alice)
    reader = pages_of(bob, roles=frozenset({AI_USER}))

    assert "small_sites" in text_of(reader.get(SETS))
    assert reader.get(f"{SETS}add/").status_code == 403
    assert reader.post(f"{SETS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    stranger = pages_of(charlie)
    assert "small_sites" not in text_of(stranger.get(SETS))
    assert stranger.get(f"{SETS}{row.pk}/change/").status_code == 302
    row.refresh_from_db()
    assert row.removed_at is None
