"""Detections: a list, and a page with the chart of what was flagged."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from anomalies.actions import detect, give_feedback
from anomalies.models import Detection
from omarino.authentication import Principal
from omarino.permissions import AI_USER
from tests.factories import make_asset, make_detection_row, make_readings
from tests.pages.conftest import Pages, Visits, make_person
from tests.pages.test_asset_pages import chart_of
from tests.pages.test_in_a_browser import drawn

LIST, PAGE = "/admin/anomalies/detection/", "/admin/anomalies/detection/{}/change/"
NOON = datetime(2025, 1, 29, 12, tzinfo=UTC)


def detected(owner: Principal) -> Detection:
    """A month of a wave with one reading ten times too large, at noon of its second last day."""
    hours = np.arange(30 * 24)
    values = 50 + 10 * np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(0).normal(0, 1, hours.size)
    values[28 * 24 + 12] = 500.0
    make_readings(owner, values, name="Meter", unit="kW")
    detection, _ = detect(
        tenant_id=owner.tenant_id,
        asset_id="main-meter",
        method="z_score",
        sensitivity=3.0,
        lookback_hours=72,
        as_of=datetime(2025, 2, 1, tzinfo=UTC),
    )
    return detection


def test_the_page_draws_the_window_and_says_what_was_unusual(alice: Principal, pages_of: Pages) -> None:
    detection = detected(alice)

    page = pages_of(alice).get(PAGE.format(detection.pk)).content.decode()

    chart = chart_of(page)
    assert len(chart["readings"]["time"]) == 72
    assert int(NOON.timestamp()) in chart["flagged"]["time"]
    assert 500.0 in chart["flagged"]["value"]
    assert "500.0 kW at 12:00; " in page
    assert "critical" in page


def test_a_series_that_was_sent_is_not_drawn_from_readings_of_that_name(
    alice: Principal, pages_of: Pages
) -> None:
    make_readings(alice, np.arange(24.0))
    detection = make_detection_row(alice, series_source="body")

    page = pages_of(alice).get(PAGE.format(detection.pk)).content.decode()

    assert "readings" not in chart_of(page)
    assert "was not kept" in page


def test_a_verdict_stands_beside_its_point(alice: Principal, pages_of: Pages) -> None:
    make_asset(alice)
    detection = make_detection_row(alice)
    give_feedback(
        tenant_id=alice.tenant_id,
        detection_id=detection.pk,
        timestamp=detection.first_at,
        is_true=False,
        comment="",
        given_by="alice",
    )

    assert "false alarm" in pages_of(alice).get(PAGE.format(detection.pk)).content.decode()


def test_who_may_read_sees_the_tenants_detections_and_nobody_changes_them(
    alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    detection = make_detection_row(alice, asset_id="meter-of-alpha")
    reader = pages_of(alice, roles=frozenset({AI_USER}))
    stranger = pages_of(charlie)

    assert "meter-of-alpha" in reader.get(LIST).content.decode()
    assert "meter-of-alpha" not in stranger.get(LIST).content.decode()
    assert stranger.get(PAGE.format(detection.pk)).status_code == 302  # to the overview: it is not there
    assert reader.get(LIST + "add/").status_code == 403
    assert reader.get(f"{LIST}{detection.pk}/delete/").status_code == 403


def test_a_quiet_window_says_so(alice: Principal, pages_of: Pages) -> None:
    detection = make_detection_row(alice, scores=[])

    assert "Nothing was unusual." in pages_of(alice).get(PAGE.format(detection.pk)).content.decode()


def test_flagged_points_are_dots_on_the_line(alice: Principal, transactional_db: None, visit: Visits) -> None:
    detection = detected(alice)
    window = visit()
    window.enter(make_person(alice))

    window.go(PAGE.format(detection.pk))

    assert drawn(window.page, "--chart-readings") > 100
    assert drawn(window.page, "--chart-outcome") > 10
