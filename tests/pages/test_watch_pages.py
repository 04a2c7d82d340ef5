"""Watches and alerts: set up by a form, stopped by a button, and what was told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anomalies.models import Alert, Watch
from anomalies.watch_actions import set_up_watch
from features.models import Asset
from omarino.authentication import Principal
from omarino.permissions import AI_USER, ANOMALY_ANALYST
from tests.factories import make_alert, make_asset, make_detection_row, make_readings
from tests.pages.conftest import Pages, Visits, make_person

LIST, PAGE = "/admin/anomalies/watch/", "/admin/anomalies/watch/{}/change/"
ALERTS, ALERT = "/admin/anomalies/alert/", "/admin/anomalies/alert/{}/change/"
HOOK = "https://hooks.example.com/omarino"


def asked(asset: Any, **said: Any) -> dict[str, Any]:
    return {
        "asset": asset,
        "method": "z_score",
        "sensitivity": 3,
        "lookback_hours": 168,
        "every_minutes": 30,
        "minimum_severity": "high",
        "silent_after_hours": 0,
        **said,
    }


def watched(owner: Principal, **fields: Any) -> Watch:
    make_asset(owner)
    told: dict[str, Any] = {"sensitivity": 3.0, "created_by": owner.subject, **fields}
    return set_up_watch(tenant_id=owner.tenant_id, asset_id="main-meter", **told)


def test_a_form_sets_up_a_watch_and_shows_its_secret_once(alice: Principal, pages_of: Pages) -> None:
    asset = make_readings(alice, np.ones(48))
    pages = pages_of(alice, roles=frozenset({ANOMALY_ANALYST}))

    first = pages.post(LIST + "add/", asked(asset.pk, webhook_url=HOOK), follow=True).content.decode()

    watch = Watch.objects.get()
    assert (watch.method, watch.every.seconds, watch.minimum_severity) == ("z_score", 1800, "high")
    assert watch.webhook_secret in first
    assert watch.webhook_secret not in pages.get(PAGE.format(watch.pk)).content.decode()
    assert "Watched:" in pages.get(f"/admin/features/asset/{asset.pk}/change/").content.decode()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"webhook_url": "https://127.0.0.1/"}, "The webhook address is not taken"),
        ({"every_minutes": 1}, "errors field-every_minutes"),
        ({"lookback_hours": 1}, "errors field-lookback_hours"),
    ],
)
def test_what_cannot_be_is_said_in_the_page(
    alice: Principal, pages_of: Pages, wrong: dict[str, Any], words: str
) -> None:
    asset = make_asset(alice)

    assert words in pages_of(alice).post(LIST + "add/", asked(asset.pk) | wrong).content.decode()
    assert not Watch.objects.exists()


def test_buttons_pause_it_and_let_it_go_on(alice: Principal, pages_of: Pages) -> None:
    watch = watched(alice)
    pages = pages_of(alice)

    paused = pages.post(PAGE.format(watch.pk), {"do": "pause"}, follow=True).content.decode()
    assert not Watch.objects.get().is_active
    assert "state-empty" in paused

    pages.post(PAGE.format(watch.pk), {"do": "go on"})
    assert Watch.objects.get().is_active


def test_a_button_has_it_look_at_once(alice: Principal, pages_of: Pages) -> None:
    watch = watched(alice)
    assert Watch.objects.claim(watch.pk) is not None  # a look, and the next is an hour away
    assert not Watch.objects.due().exists()

    page = pages_of(alice).post(PAGE.format(watch.pk), {"do": "look"}, follow=True).content.decode()

    assert Watch.objects.due().exists()
    assert "within a minute" in page


def test_a_webhook_that_nobody_answers_is_said(alice: Principal, pages_of: Pages) -> None:
    watch = watched(alice, webhook_url="https://hooks.invalid/")

    page = pages_of(alice).post(PAGE.format(watch.pk), {"do": "try"}, follow=True).content.decode()

    assert "its host name is not known" in page


def test_a_button_removes_it_with_its_alerts(alice: Principal, pages_of: Pages) -> None:
    watch = watched(alice)
    make_alert(watch)

    answer = pages_of(alice).post(PAGE.format(watch.pk), {"do": "remove"})

    assert answer.headers["Location"] == LIST
    assert not Watch.objects.exists()
    assert not Alert.objects.exists()


def test_an_alert_leads_to_its_detection_and_says_who_was_told(alice: Principal, pages_of: Pages) -> None:
    watch = watched(alice, webhook_url=HOOK)
    detection = make_detection_row(alice)
    alert = make_alert(watch, detection=detection, sending="failed", attempts=6, last_answer="Answered 500.")
    pages = pages_of(alice, roles=frozenset({AI_USER}))

    page = pages.get(ALERT.format(alert.pk)).content.decode()

    assert f"/admin/anomalies/detection/{detection.pk}/change/" in page
    assert PAGE.format(watch.pk) in page
    assert "Answered 500." in page
    assert "Failed" in page
    assert ALERT.format(alert.pk) in pages.get(PAGE.format(watch.pk)).content.decode()
    assert "Failed" in pages.get(ALERTS).content.decode()


def test_who_only_reads_has_no_buttons(alice: Principal, pages_of: Pages) -> None:
    watch = watched(alice)
    reader = pages_of(alice, roles=frozenset({AI_USER}))

    assert 'name="do"' not in reader.get(PAGE.format(watch.pk)).content.decode()
    assert reader.post(PAGE.format(watch.pk), {"do": "remove"}).status_code == 403
    assert reader.get(LIST + "add/").status_code == 403
    assert Watch.objects.exists()


def test_another_tenants_watch_and_alert_look_absent(
    alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    watch = watched(alice)
    alert = make_alert(watch)
    stranger = pages_of(charlie)

    assert stranger.post(PAGE.format(watch.pk), {"do": "remove"}).status_code == 302  # to the overview
    assert stranger.get(ALERT.format(alert.pk)).status_code == 302
    assert "main-meter" not in stranger.get(LIST).content.decode()
    assert Watch.objects.exists()


def test_the_pages_of_anomalies_fit_a_phone(alice: Principal, transactional_db: None, visit: Visits) -> None:
    watch = watched(alice, webhook_url=HOOK + "/a-rather-long-path-for-a-narrow-screen")
    alert = make_alert(watch, detection=make_detection_row(alice))
    window = visit(phone=True)
    window.enter(make_person(alice))

    for path in (
        LIST,
        LIST + "add/",
        PAGE.format(watch.pk),
        ALERTS,
        ALERT.format(alert.pk),
        "/admin/anomalies/detection/",
        "/admin/anomalies/detection/add/",
        f"/admin/anomalies/detection/{alert.detection_id}/change/",
        f"/admin/anomalies/detection/device/{Asset.objects.get().pk}/",
    ):
        window.go(path)
        assert not window.is_too_wide(), path
