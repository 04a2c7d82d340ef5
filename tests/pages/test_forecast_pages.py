"""Forecasts: asked for with a form, shown with their numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from forecasting.models import Forecast
from omarino.authentication import Principal
from tests.factories import make_asset, make_forecast_row, make_readings
from tests.pages.conftest import Pages
from tests.pages.test_asset_pages import chart_of

ADD, PAGE = "/admin/forecasting/forecast/add/", "/admin/forecasting/forecast/{}/change/"
START = datetime(2025, 1, 1, tzinfo=UTC)


def asked(**said: Any) -> dict[str, Any]:
    return {"horizon_hours": 24, "model_name": "seasonal_naive_v1", **said}


def test_what_is_left_empty_is_the_assets_own(alice: Principal, pages_of: Pages) -> None:
    asset = make_readings(
        alice, np.tile(np.arange(96.0), 30), interval_minutes=15, kind="generation", unit="kW"
    )
    asset.interval_minutes = 15
    asset.save()

    answer = pages_of(alice).post(ADD, asked(asset=asset.pk))

    made = Forecast.objects.get()
    assert answer.headers["Location"] == PAGE.format(made.pk)
    assert (made.forecast_type, made.interval_minutes, len(made.p50)) == ("generation", 15, 96)


def test_as_of_leaves_later_readings_out_and_draws_them_over_the_forecast(
    alice: Principal, pages_of: Pages
) -> None:
    values = np.tile(np.arange(24.0), 30)
    asset = make_readings(alice, values, name="Meter", kind="load", unit="kW", interval_minutes=60)
    pages = pages_of(alice)

    pages.post(ADD, asked(asset=asset.pk, as_of="2025-01-29T12:00"))

    made = Forecast.objects.get()
    assert made.first_target_at == datetime(2025, 1, 29, 12, tzinfo=UTC)
    chart = chart_of(pages.get(PAGE.format(made.pk)).content.decode())
    first = int(made.first_target_at.timestamp())
    assert chart["readings"]["time"] == list(range(first - 7 * 86400, first, 3600))
    assert chart["outcome"]["time"] == list(range(first, first + 24 * 3600, 3600))
    assert chart["outcome"]["value"] == [float((12 + hour) % 24) for hour in range(24)]
    assert (chart["forecast"]["time"], chart["forecast"]["p50"]) == (chart["outcome"]["time"], made.p50)


@pytest.mark.parametrize(
    ("readings", "words"), [(0, "There are no readings of the asset"), (1, "Send more history")]
)
def test_a_refusal_is_a_sentence_in_the_page(
    alice: Principal, pages_of: Pages, readings: int, words: str
) -> None:
    asset = make_readings(alice, np.ones(readings)) if readings else make_asset(alice)

    answer = pages_of(alice).post(ADD, asked(asset=asset.pk))

    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Forecast.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"asset": ""},
        {"horizon_hours": 169},
        {"interval_minutes": 5},
        {"model_name": "oracle"},
        {"as_of": "noon"},
    ],
)
def test_a_wrong_field_is_told_beside_it(alice: Principal, pages_of: Pages, wrong: dict[str, Any]) -> None:
    asset = make_readings(alice, np.ones(100))

    text = pages_of(alice).post(ADD, asked(asset=asset.pk) | wrong).content.decode()

    (field,) = wrong
    assert f"errors field-{field}" in text


def test_a_page_tells_numbers_in_words_and_shows_every_warning(alice: Principal, pages_of: Pages) -> None:
    row = make_forecast_row(
        alice,
        p50=[31840.6, 0.0123456, 0.0],
        unit="kW",
        mae=1234.56,
        mape=None,
        coverage=0.79,
        windows=12,
        warnings=["Readings stop <early>.", "Three were left out."],
    )

    text = pages_of(alice).get(PAGE.format(row.pk)).content.decode()

    assert "1,235 kW" in text
    assert "79\N{NO-BREAK SPACE}%" in text
    assert "Measured on 12 stretches" in text
    assert "not told: values about zero" in text
    assert "<li>Readings stop &lt;early&gt;.</li><li>Three were left out.</li>" in text
    for number in ("31,841", "0.01235"):
        assert f"<td>{number}</td>" in text
    assert "Its history came with the request" in text  # and stored readings of that name are not drawn
    assert "readings" not in chart_of(text)


def test_nothing_measured_is_said_and_not_shown_as_zero(alice: Principal, pages_of: Pages) -> None:
    row = make_forecast_row(alice, windows=0, mae=None, coverage=None)

    text = pages_of(alice).get(PAGE.format(row.pk)).content.decode()

    assert "Not measured" in text
    assert "0 %" not in text.split("How good it should be")[1].split("How it was made")[0]


def test_times_are_those_of_the_asset(alice: Principal, pages_of: Pages) -> None:
    make_asset(alice, timezone="America/New_York")
    row = make_forecast_row(alice, first_target_at=START, history_source="stored")

    text = pages_of(alice).get(PAGE.format(row.pk)).content.decode()

    assert "Tuesday 31 December 2024, 19:00 (America/New_York)" in text
    assert chart_of(text)["zone"] == "America/New_York"


def test_another_assets_readings_are_not_drawn(alice: Principal, charlie: Principal, pages_of: Pages) -> None:
    for owner, level in ((alice, 1.0), (charlie, 2.0)):
        make_readings(owner, np.full(48, level), start=START - timedelta(days=2))
    row = make_forecast_row(alice, first_target_at=START, history_source="stored")

    chart = chart_of(pages_of(alice).get(PAGE.format(row.pk)).content.decode())

    assert set(chart["readings"]["value"]) == {1.0}
