"""Exports in the pages: how far they are, their file, cancel and retry."""

from __future__ import annotations

import uuid

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from features.models import FeatureExport
from omarino.authentication import Principal
from tests.factories import make_export
from tests.pages.conftest import Pages

pytestmark = pytest.mark.django_db
LIST = "/admin/features/featureexport/"


def page_of(row: FeatureExport) -> str:
    return f"{LIST}{row.pk}/change/"


def completed(row: FeatureExport) -> FeatureExport:
    FeatureExport.objects.filter(pk=row.pk).update(
        status="completed", row_count=1234, file_size_bytes=4, sha256="0" * 64
    )
    storages["exports"].save(row.storage_path, ContentFile(b"rows"))
    return row


def test_the_list_holds_the_tenants_exports_and_their_state(
    alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    make_export(alice)
    completed(make_export(alice, feature_set="anomaly_detection"))
    make_export(charlie, feature_set="forecast_advanced")

    text = pages_of(alice).get(LIST).content.decode()

    assert 'class="stage stage-pending"' in text
    assert 'class="stage stage-completed"' in text
    assert "anomaly_detection 2025-01-01 to 2025-01-08" in text
    assert "forecast_advanced 2025-01-01" not in text


def test_the_file_of_a_completed_one_is_fetched_from_its_page(alice: Principal, pages_of: Pages) -> None:
    row, client = completed(make_export(alice)), pages_of(alice)

    text = client.get(page_of(row)).content.decode()

    address = f"/ai/features/exports/{row.pk}/download"
    assert f'href="{address}"' in text
    assert "1234 rows" in text
    assert 'value="cancel"' not in text
    assert b"".join(client.get(address).streaming_content) == b"rows"  # type: ignore[attr-defined]


def test_it_is_cancelled_and_tried_again_by_a_button(alice: Principal, pages_of: Pages) -> None:
    row, client = make_export(alice), pages_of(alice)
    assert 'value="retry"' not in client.get(page_of(row)).content.decode()

    cancelled = client.post(page_of(row), {"do": "cancel"}, follow=True).content.decode()
    assert "The export is cancelled." in cancelled
    assert 'value="retry"' in cancelled
    again = client.post(page_of(row), {"do": "retry"}, follow=True).content.decode()
    assert "in the queue again" in again
    twice = client.post(page_of(row), {"do": "retry"}, follow=True).content.decode()
    assert "Only what failed or was cancelled" in twice

    assert FeatureExport.objects.get(pk=row.pk).status == "pending"
    assert client.post(page_of(row), {"do": "delete"}).status_code == 403


def test_of_another_tenant_there_is_nothing_to_see_or_press(
    alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    row, stranger = make_export(alice), pages_of(charlie)

    for answer in (stranger.get(page_of(row)), stranger.post(page_of(row), {"do": "cancel"})):
        assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")
    assert FeatureExport.objects.get(pk=row.pk).status == "pending"
    assert pages_of(alice).get(f"{LIST}{uuid.uuid4()}/change/").status_code == 302


def test_without_a_role_nothing_is_seen(alice: Principal, pages_of: Pages) -> None:
    row = make_export(alice)

    assert pages_of(alice, roles=frozenset()).get(page_of(row)).status_code == 403
