"""The page of a device: trained by a button, what was unusual, who may."""

from __future__ import annotations

from features.models import Asset
from omarino.authentication import Principal
from omarino.permissions import AI_USER, ANOMALY_ANALYST
from registry.models import ModelVersion
from tests.anomalies.test_devices import machine, sent
from tests.pages.conftest import Pages

PAGE = "/admin/anomalies/detection/device/{}/"


def server(owner: Principal) -> Asset:
    values = machine(4)
    values["memory_usage_percent"][-10] = 99.0
    sent(owner, values)
    return Asset.objects.get(asset_id="server-1")


def test_a_button_trains_it_and_the_page_says_what_was_unusual(alice: Principal, pages_of: Pages) -> None:
    asset = server(alice)
    pages = pages_of(alice)

    before = pages.get(PAGE.format(asset.pk)).content.decode()
    after = pages.post(PAGE.format(asset.pk), follow=True).content.decode()

    version = ModelVersion.objects.get()
    assert "It has no detector yet." in before
    assert f"/admin/registry/modelversion/{version.pk}/change/" in after
    assert "<td>memory_usage_percent" in after
    assert "stage-completed" in after
    assert PAGE.format(asset.pk) in pages.get(f"/admin/features/asset/{asset.pk}/change/").content.decode()


def test_what_cannot_be_watched_is_not_offered_to_be(alice: Principal, pages_of: Pages) -> None:
    asset = server(alice)
    pages, page = pages_of(alice), f"/admin/features/asset/{asset.pk}/change/"

    before = pages.get(page).content.decode()
    sent(alice, {"value": machine(1)["cpu_usage"]})
    after = pages.get(page).content.decode()

    assert "Watch it" not in before
    assert "Watch it" in after


def test_a_refusal_is_a_sentence_in_the_page(alice: Principal, pages_of: Pages) -> None:
    sent(alice, machine(0.2))
    asset = Asset.objects.get()

    page = pages_of(alice).post(PAGE.format(asset.pk), follow=True).content.decode()

    assert "Not enough data." in page
    assert not ModelVersion.objects.exists()


def test_roles_and_tenants_are_those_of_the_api(
    alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    asset = server(alice)
    analyst = pages_of(alice, roles=frozenset({ANOMALY_ANALYST}))
    stranger = pages_of(charlie, roles=frozenset({AI_USER}))

    assert analyst.post(PAGE.format(asset.pk)).status_code == 403
    assert "<button" not in analyst.get(PAGE.format(asset.pk)).content.decode().split("Its detector")[1]
    assert stranger.get(PAGE.format(asset.pk)).status_code == 404
    assert not ModelVersion.objects.exists()
