"""Detections: a list, and a page with the chart of what was flagged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from anomalies.actions import detect, give_feedback
from anomalies.charts import MOST_DRAWN
from anomalies.models import Detection, Feedback
from omarino.authentication import Principal
from omarino.permissions import AI_USER, ANOMALY_ANALYST
from tests.factories import make_asset, make_detection_row, make_readings
from tests.pages.conftest import Pages, Visits, make_person
from tests.pages.test_asset_pages import chart_of
from tests.pages.test_in_a_browser import drawn

LIST, PAGE = "/admin/anomalies/detection/", "/admin/anomalies/detection/{}/change/"
NOON = datetime(2025, 1, 29, 12, tzinfo=UTC)


def asked(asset: Any, **said: Any) -> dict[str, Any]:
    return {"asset": asset, "method": "z_score", "sensitivity": 2.5, "lookback_hours": 48, **said}


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


def test_a_window_of_several_years_says_the_year_of_each_point(alice: Principal, pages_of: Pages) -> None:
    pages = pages_of(alice)
    of_a_week = make_detection_row(alice)
    of_years = make_detection_row(alice, last_at=datetime(2030, 1, 1, tzinfo=UTC))

    assert ">Wed 1 Jan 00:00</th>" in pages.get(PAGE.format(of_a_week.pk)).content.decode()
    assert ">Wed 1 Jan 2025 00:00</th>" in pages.get(PAGE.format(of_years.pk)).content.decode()


def test_a_score_of_nearly_nothing_is_told_as_0(alice: Principal, pages_of: Pages) -> None:
    detection = make_detection_row(alice, scores=(), max_score=9.000000000000214e-301, mean_score=1e-302)

    page = pages_of(alice).get(PAGE.format(detection.pk)).content.decode()

    assert "<dd>0 <small>standard deviations</small></dd>" in page
    assert "e-30" not in page


def test_a_window_in_which_nothing_was_unusual_is_drawn_as_well(alice: Principal, pages_of: Pages) -> None:
    make_readings(alice, np.arange(200.0))
    detection = make_detection_row(alice, series_source="stored", scores=[])

    page = pages_of(alice).get(PAGE.format(detection.pk)).content.decode()

    assert len(chart_of(page)["readings"]["time"]) == 169
    assert chart_of(page)["flagged"]["time"] == []
    assert "Nothing was unusual." in page


def test_a_long_window_is_drawn_by_its_extremes(alice: Principal, pages_of: Pages) -> None:
    values = np.sin(np.arange(3 * MOST_DRAWN) / 100)
    values[12_345] = 500.0
    make_readings(alice, values, interval_minutes=1)
    first_at = datetime(2025, 1, 1, tzinfo=UTC)
    detection = make_detection_row(alice, series_source="stored", last_at=first_at + timedelta(days=30))

    chart = chart_of(pages_of(alice).get(PAGE.format(detection.pk)).content.decode())

    assert MOST_DRAWN / 2 <= len(chart["readings"]["time"]) <= MOST_DRAWN
    assert (max(chart["readings"]["value"]), None in chart["readings"]["value"]) == (500.0, False)


def test_a_series_that_was_sent_is_not_drawn_from_readings_of_that_name(
    alice: Principal, pages_of: Pages
) -> None:
    make_readings(alice, np.arange(24.0))
    detection = make_detection_row(alice, series_source="body")

    page = pages_of(alice).get(PAGE.format(detection.pk)).content.decode()

    chart = chart_of(page)
    assert "readings" not in chart
    assert chart["window"] == [int(at.timestamp()) for at in (detection.first_at, detection.last_at)]
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

    reader = pages_of(alice, roles=frozenset({AI_USER}))

    assert "<td>false alarm</td>" in reader.get(PAGE.format(detection.pk)).content.decode()


def test_a_form_has_stored_readings_judged_and_leads_to_the_detection(
    alice: Principal, pages_of: Pages
) -> None:
    asset = make_readings(alice, np.tile(np.arange(24.0), 30), name="Meter")
    pages = pages_of(alice, roles=frozenset({ANOMALY_ANALYST}))

    page = pages.get(f"/admin/features/asset/{asset.pk}/change/").content.decode()
    answer = pages.post(LIST + "add/", asked(asset.pk, as_of="2025-01-29T12:00"))

    assert "Look for anomalies in the last week" in page
    made = Detection.objects.get()
    assert answer.headers["Location"] == PAGE.format(made.pk)
    assert (made.method, made.sensitivity, made.total_points) == ("z_score", 2.5, 48)
    assert made.last_at == datetime(2025, 1, 29, 11, tzinfo=UTC)
    page = pages.get(f"/admin/features/asset/{asset.pk}/change/").content.decode()
    assert f"{made.pk}/change/" in page


@pytest.mark.parametrize(
    "wrong",
    [{"asset": ""}, {"method": "oracle"}, {"sensitivity": 0.5}, {"lookback_hours": 8761}, {"as_of": "noon"}],
)
def test_a_wrong_field_is_told_beside_it(alice: Principal, pages_of: Pages, wrong: dict[str, Any]) -> None:
    asset = make_asset(alice)

    page = pages_of(alice).post(LIST + "add/", asked(asset.pk) | wrong).content.decode()

    (field,) = wrong
    assert f"errors field-{field}" in page


def test_too_few_readings_are_a_sentence_in_the_page(alice: Principal, pages_of: Pages) -> None:
    asset = make_asset(alice)

    answer = pages_of(alice).post(LIST + "add/", asked(asset.pk))

    assert answer.status_code == 200
    assert "errornote" in answer.content.decode()
    assert not Detection.objects.exists()


def test_another_tenants_asset_cannot_be_chosen(
    alice: Principal, charlie: Principal, pages_of: Pages
) -> None:
    asset = make_readings(alice, np.ones(48))

    page = pages_of(charlie).post(LIST + "add/", asked(asset.pk)).content.decode()

    assert "errors field-asset" in page
    assert not Detection.objects.exists()


def test_a_button_beside_a_point_gives_the_verdict(alice: Principal, pages_of: Pages) -> None:
    detection = make_detection_row(alice)
    analyst = pages_of(alice, roles=frozenset({ANOMALY_ANALYST}))
    point = detection.anomalies[0]["timestamp"]

    answer = analyst.post(PAGE.format(detection.pk), {"verdict": f"false {point}"}, follow=True)

    assert "The verdict is kept." in answer.content.decode()
    verdict = Feedback.objects.get()
    assert (verdict.is_true, verdict.timestamp) == (False, detection.first_at)


@pytest.mark.parametrize("said", ["", "true", "maybe 2025-01-01T00:00:00Z", "true 2025-99-01", "true now"])
def test_a_verdict_that_no_button_gives_is_refused(alice: Principal, pages_of: Pages, said: str) -> None:
    detection = make_detection_row(alice)

    assert pages_of(alice).post(PAGE.format(detection.pk), {"verdict": said}).status_code == 403
    assert not Feedback.objects.exists()


def test_who_only_reads_has_no_buttons_and_gives_no_verdict(alice: Principal, pages_of: Pages) -> None:
    make_asset(alice)
    detection = make_detection_row(alice)
    reader = pages_of(alice, roles=frozenset({AI_USER}))

    answer = reader.post(PAGE.format(detection.pk), {"verdict": "true 2025-01-01T00:00:00Z"})

    assert answer.status_code == 403
    assert (
        "<button"
        not in reader.get(PAGE.format(detection.pk)).content.decode().split("Verdict")[1].split("</table>")[0]
    )


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
