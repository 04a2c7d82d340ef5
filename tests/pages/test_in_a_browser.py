"""The pages as a person meets them. Each test also fails on any complaint of the browser, see `visit`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from features.models import Asset
from forecasting.models import Forecast
from omarino.authentication import Principal
from tests.conftest import token_of
from tests.factories import make_asset, make_forecast_row, make_readings
from tests.pages.conftest import Visit, Visits, make_person

START = datetime(2025, 3, 1, tzinfo=UTC)
# Pixels of a color, and pixels as see-through as the band: 0.17 * 255 is 43, where nothing else is drawn.
COUNT_PIXELS = """
([name]) => {
  const { width, height } = document.querySelector("figure.chart canvas");
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(document.querySelector("figure.chart canvas"), 0, 0);
  const pixels = copy.getImageData(0, 0, width, height).data;
  const style = getComputedStyle(document.documentElement);
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = style.getPropertyValue(name).trim();
  probe.fillRect(0, 0, 1, 1);
  const wanted = probe.getImageData(0, 0, 1, 1).data;
  let count = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    if ([0, 1, 2, 3].every((part) => Math.abs(pixels[at + part] - wanted[part]) <= 2)) count += 1;
  }
  return count;
}
"""


def drawn(page: Page, name: str) -> int:
    page.wait_for_selector("figure[data-drawn]")
    page.wait_for_function(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
    )
    return int(page.evaluate(COUNT_PIXELS, [name]))


@pytest.fixture
def meter(alice: Principal, transactional_db: None) -> Asset:
    """Five weeks of hours with a day's shape, a little noise, and no weekend."""
    hours = np.arange(24 * 35)
    noise = np.random.default_rng(7).normal(0, 2, hours.size)
    return make_readings(
        alice,
        60 + 20 * np.sin(2 * np.pi * hours / 24) + noise,
        start=START,
        name="Main meter",
        kind="load",
        unit="kW",
        timezone="Europe/Berlin",
        interval_minutes=60,
    )


DRAWN_MS = 60_000  # ReDoc draws a hundred routes; on a busy machine that takes a while


def test_from_signing_in_to_a_drawn_forecast(alice: Principal, meter: Asset, visit: Visits) -> None:
    make_person(alice, password="correct-horse-battery")
    window = visit()
    page = window.page
    window.go("/admin/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("correct-horse-battery")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    page.get_by_role("link", name="Main meter").click()
    assert drawn(page, "--chart-readings") > 500

    page.get_by_role("button", name="Forecast the next 24 hours").click()
    expect(page.get_by_text("The forecast is made.")).to_be_visible()
    assert drawn(page, "--chart-readings") > 300
    assert drawn(page, "--chart-median") > 100
    assert drawn(page, "--chart-band") > 500
    assert drawn(page, "--chart-outcome") == 0

    expect(page.locator(".warnings li").first).to_contain_text("The last reading is")
    page.get_by_text("The numbers as a table").click()
    expect(page.locator("table.numbers tbody tr")).to_have_count(24)
    assert Forecast.objects.get().tenant_id == alice.tenant_id


def test_what_came_later_is_drawn_and_can_be_read_off(alice: Principal, meter: Asset, visit: Visits) -> None:
    window = visit()
    window.enter(make_person(alice))
    page = window.page

    window.go("/admin/forecasting/forecast/add/")
    page.get_by_label("Asset").select_option(label="Main meter (main-meter)")
    page.get_by_label("Hours ahead").fill("48")
    page.get_by_label("As if it were (UTC)").fill("2025-03-30T00:00")
    page.get_by_role("button", name="Make the forecast").click()

    assert drawn(page, "--chart-outcome") > 50
    box = page.locator(".u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] - 0.5, box["y"] + box["height"] / 2)
    # The last of 48 hours from 30 March, when Berlin's clocks went forward.
    expect(page.locator(".readout")).to_contain_text("Tue 1 Apr, 01:00 · median")
    expect(page.locator(".readout")).to_contain_text("kW")


def test_a_refusal_leaves_the_form_as_it_was(alice: Principal, visit: Visits) -> None:
    window = visit()
    make_asset(alice, asset_id="unread")
    window.enter(make_person(alice))

    window.go("/admin/forecasting/forecast/add/")
    window.page.get_by_label("Asset").select_option(label="unread")
    window.page.get_by_label("Hours ahead").fill("36")
    window.page.get_by_role("button", name="Make the forecast").click()

    expect(window.page.get_by_role("alert")).to_contain_text("There are no readings of the asset 'unread'")
    expect(window.page.get_by_label("Hours ahead")).to_have_value("36")


def test_dark_is_dark_and_the_chart_changes_with_the_switch(
    alice: Principal, meter: Asset, visit: Visits
) -> None:
    window = visit(dark=True)
    window.enter(make_person(alice))
    window.go(f"/admin/features/asset/{meter.pk}/change/")
    page = window.page

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert background() == "rgb(18, 24, 26)"
    assert drawn(page, "--chart-readings") > 500
    page.locator("button.theme-toggle").click()  # from the system's to light
    assert background() == "rgb(255, 255, 255)"
    assert drawn(page, "--chart-readings") > 500


def test_nothing_is_wider_than_a_phone(alice: Principal, meter: Asset, visit: Visits) -> None:
    window = visit(phone=True)
    forecast = make_forecast_row(
        alice, asset_id=meter.asset_id, history_source="stored", first_target_at=START
    )
    window.enter(make_person(alice, is_superuser=True))

    for path in (
        "/admin/",
        "/admin/features/asset/",
        f"/admin/features/asset/{meter.pk}/change/",
        f"/admin/features/asset/{meter.pk}/delete/",
        "/admin/features/asset/add/",
        "/admin/forecasting/forecast/",
        f"/admin/forecasting/forecast/{forecast.pk}/change/",
        "/admin/forecasting/forecast/add/",
        "/admin/omarino/user/",
        "/admin/omarino/user/add/",
        "/admin/password_change/",
        "/docs",
        "/redoc",
        "/ai/forecasts",
    ):
        window.go(path)
        assert not window.is_too_wide(), path
    window.go(f"/admin/forecasting/forecast/{forecast.pk}/change/")
    assert drawn(window.page, "--chart-median") > 20


def test_the_api_is_tried_from_its_documentation(alice: Principal, visit: Visits) -> None:
    make_forecast_row(alice)
    window = visit()
    page = window.page
    window.go("/docs")

    page.locator(".btn.authorize").click()
    page.get_by_label("auth-bearer-value").fill(token_of(alice))
    page.locator(".auth-btn-wrapper button.authorize").first.click()
    page.locator(".btn-done").first.click()
    operation = page.locator("#operations-forecasting-list_forecasts")
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()

    answer = operation.locator(".live-responses-table")
    expect(answer.locator(".response-col_status").last).to_contain_text("200")
    expect(answer).to_contain_text("main-meter")


def test_the_reference_stands_without_a_network(visit: Visits) -> None:
    window = visit()
    window.go("/redoc")

    expect(window.page.get_by_role("heading", name="OMARINO AI Hub")).to_be_visible(timeout=DRAWN_MS)
    expect(window.page.get_by_text("/ai/forecast", exact=True).first).to_be_visible(timeout=DRAWN_MS)


def test_a_person_browses_the_api_and_posts_to_it(alice: Principal, meter: Asset, visit: Visits) -> None:
    window = visit()
    page = window.page
    window.enter(make_person(alice))

    window.go("/ai/forecasts")
    expect(page.get_by_text('"forecasts": []')).to_be_visible()
    answer = page.goto(f"{window.address}/ai/forecast")
    assert answer
    assert answer.status == 405  # there is nothing to get, but a form to post
    forgive_the_status(window, 405)
    body = '{"tenant_id": "alpha", "asset_id": "main-meter", "forecast_type": "load", "horizon_hours": 2}'
    page.get_by_label("Content:").fill(body)
    page.get_by_role("button", name="POST").click()

    expect(page.get_by_text("HTTP 200 OK")).to_be_visible()
    expect(page.locator(".response-info")).to_contain_text(str(Forecast.objects.get().pk))


def test_what_is_not_there_is_told_in_a_page(alice: Principal, visit: Visits) -> None:
    window = visit()
    window.enter(make_person(alice))

    window.go("/admin/no-such-page/")

    expect(window.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    forgive_the_status(window, 404)


def forgive_the_status(window: Visit, status: int) -> None:
    """The browser logs the status of a page it was sent to; that one was meant."""
    expected: Any = [
        said for said in window.complaints if f"the server responded with a status of {status}" in said
    ]
    assert len(expected) == 1
    window.complaints.remove(expected[0])
