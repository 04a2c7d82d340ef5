"""Explanations: a page of their own, and beside what they explain."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from explanations.models import Explanation
from features.models import Reading
from forecasting.actions import make_forecast
from forecasting.models import Forecast
from omarino.authentication import Principal
from omarino.permissions import AI_USER
from tests.conftest import ClientOf
from tests.explanations.test_explain_a_forecast import load
from tests.factories import (
    make_detection_row,
    make_explanation_row,
    make_forecast_row,
    make_readings,
    make_version,
)
from tests.pages.conftest import Pages, Visits, make_person
from tests.registry import models_made

START = datetime(2025, 1, 6, tzinfo=UTC)
LIST, PAGE = "/admin/explanations/explanation/", "/admin/explanations/explanation/{}/change/"
ASK = "/admin/explanations/explanation/ask/{}/{}/"
FORECAST = "/admin/forecasting/forecast/{}/change/"
SVG = "{http://www.w3.org/2000/svg}"


def forecast(owner: Principal) -> Forecast:
    make_readings(owner, load(40), start=START, unit="kW", name="Hall", timezone="Europe/Berlin")
    return make_forecast(
        tenant_id=owner.tenant_id,
        asset_id="main-meter",
        forecast_type="load",
        horizon_hours=24,
        interval_minutes=60,
        model_name="linear",
        as_of=START + timedelta(days=40),
    )


def picture_of(client: Any, path: str, **query: str) -> Any:
    response = client.get(path, query, headers={"accept": "image/svg+xml"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/svg+xml; charset=utf-8")
    return ElementTree.fromstring(response.content)  # noqa: S314  our own


def test_a_step_is_explained_from_the_page_of_its_forecast(alice: Principal, pages_of: Pages) -> None:
    made = forecast(alice)
    client = pages_of(alice, roles=frozenset({AI_USER}))
    page = client.get(FORECAST.format(made.pk)).content.decode()
    assert '<option value="23"' in page
    assert "<svg" not in page.split('id="why"')[1].split("</section>")[0]

    response = client.post(ASK.format("forecast", made.pk), {"step": "18"}, follow=True)

    said = response.content.decode()
    assert response.redirect_chain[-1][0] == PAGE.format(Explanation.objects.get().pk)
    assert said.count('<svg xmlns="http://www.w3.org/2000/svg" class="explanation ') == 2
    assert "is forecast at" in said
    assert "the hour" in said
    beside = client.get(FORECAST.format(made.pk)).content.decode().split('id="why"')[1]
    assert 'class="explanation waterfall"' in beside
    assert '<option value="18" selected' in beside


def test_a_version_and_a_detection_have_theirs(alice: Principal, pages_of: Pages) -> None:
    version = make_version(
        alice, artifact=models_made.lightgbm_text(), metadata={"feature_set": "forecast_basic"}
    )
    type(version).objects.update(feature_names=["lag_1h", "lag_24h", "hour_of_day", "is_weekend"])
    make_readings(alice, load(40))
    detection = make_detection_row(alice)
    client = pages_of(alice)

    of_model = client.post(ASK.format("model", version.pk), follow=True).content.decode()
    of_detection = client.post(
        ASK.format("detection", detection.pk), {"step": "0"}, follow=True
    ).content.decode()

    assert "explanation beeswarm" in of_model
    assert "It looks most at" in of_model
    assert "68.0 kW" in of_detection
    version_page = client.get(f"/admin/registry/modelversion/{version.pk}/change/").content.decode()
    assert "explanation beeswarm" in version_page.split('id="why"')[1]
    detection_page = client.get(f"/admin/anomalies/detection/{detection.pk}/change/").content.decode()
    assert "explanation waterfall" in detection_page.split('id="why"')[1]


def test_what_cannot_be_explained_says_why_where_it_was_asked(alice: Principal, pages_of: Pages) -> None:
    made = forecast(alice)
    Reading.objects.all().delete()

    response = pages_of(alice).post(ASK.format("forecast", made.pk), {"step": "2"}, follow=True)

    assert response.redirect_chain[-1][0] == FORECAST.format(made.pk)
    assert "no longer what the forecast" in response.content.decode()


def test_a_forecast_whose_history_was_sent_offers_none(alice: Principal, pages_of: Pages) -> None:
    made = make_forecast_row(alice, history_source="body")

    assert 'id="why"' not in pages_of(alice).get(FORECAST.format(made.pk)).content.decode()


def test_another_tenant_neither_sees_nor_asks(alice: Principal, charlie: Principal, pages_of: Pages) -> None:
    row = make_explanation_row(alice, asset_id="meter-of-alpha")
    made = make_forecast_row(alice)
    stranger = pages_of(charlie)

    assert "site-load" not in stranger.get(LIST).content.decode()
    assert stranger.get(PAGE.format(row.pk)).status_code == 302
    assert stranger.post(ASK.format("forecast", made.pk)).status_code == 404
    assert stranger.get(ASK.format("forecast", made.pk)).status_code == 405
    assert stranger.post(ASK.format("asset", made.pk)).status_code == 403
    assert Explanation.objects.count() == 1


def test_one_that_waits_and_one_that_failed_have_a_page(alice: Principal, pages_of: Pages) -> None:
    waiting = make_explanation_row(alice, status="pending", progress=0.25, answer={})
    failed = make_explanation_row(alice, status="failed", error="The model is gone.", answer={})
    client = pages_of(alice)

    assert "being worked out" in client.get(PAGE.format(waiting.pk)).content.decode()
    assert "The model is gone." in client.get(PAGE.format(failed.pk)).content.decode()
    assert client.get(LIST).status_code == 200


# The picture by itself


def test_the_api_serves_the_picture(alice: Principal, client_of: ClientOf) -> None:
    row = make_explanation_row(alice)
    client = client_of(alice)

    waterfall = picture_of(client, f"/ai/explain/{row.pk}")
    force = picture_of(client, f"/ai/explain/{row.pk}", picture="force")

    for picture in (waterfall, force):
        assert picture.tag == f"{SVG}svg"
        assert picture.get("role") == "img"
        title, described = picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")
        assert title is not None
        assert described is not None
        assert picture.get("aria-labelledby") == f"{title.get('id')} {described.get('id')}"
        assert "the hour +3.00" in (described.text or "")
        assert not [
            each for each in picture.iter() if each.tag.endswith(("script", "style", "foreignObject"))
        ]
        assert not [each for each in picture.iter() if {"style", "onload", "href"} & set(each.attrib)]
    assert len(waterfall.findall(f"{SVG}polygon")) == 2
    assert len(force.findall(f"{SVG}rect")) == 2


def test_a_picture_can_be_asked_for_with_the_question(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())
    body = {
        "tenant_id": "alpha",
        "model_name": "site-load",
        "input_features": {"a": 1, "b": 2, "c": 3, "d": 4},
    }

    response = client_of(alice).post("/ai/explain", body, headers={"accept": "image/svg+xml"})

    assert response.headers["Content-Type"].startswith("image/svg+xml")
    assert ElementTree.fromstring(response.content).tag == f"{SVG}svg"  # noqa: S314  our own


def test_a_beeswarm_has_a_dot_a_row_and_a_line_a_feature(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())
    rows, _ = models_made.data()
    dataset = [dict(zip("abcd", row, strict=True)) for row in rows[:50].tolist()]
    client = client_of(alice)
    made = client.post(
        "/ai/explain/global", {"tenant_id": "alpha", "model_name": "site-load", "dataset": dataset}
    )

    picture = picture_of(client, f"/ai/explain/{made.json()['explanation_id']}")

    assert len(picture.findall(f"{SVG}circle")) == 4 * 50


@pytest.mark.parametrize(
    ("kind", "status", "code"), [("pie", 422, "no_such_picture"), ("beeswarm", 422, "no_such_picture")]
)
def test_a_picture_there_is_none_of_is_refused(
    alice: Principal, client_of: ClientOf, kind: str, status: int, code: str
) -> None:
    row = make_explanation_row(alice)

    response = client_of(alice).get(
        f"/ai/explain/{row.pk}", {"picture": kind}, headers={"accept": "image/svg+xml"}
    )

    assert (response.status_code, response.json()["code"]) == (status, code)


def test_what_is_not_answered_yet_cannot_be_drawn(alice: Principal, client_of: ClientOf) -> None:
    row = make_explanation_row(alice, status="pending", progress=0.0, answer={})

    problem = client_of(alice).get(f"/ai/explain/{row.pk}", headers={"accept": "image/svg+xml"})

    assert (problem.status_code, problem.json()["code"]) == (409, "not_answered_yet")


def test_names_of_features_are_text_and_nothing_else(
    alice: Principal, client_of: ClientOf, pages_of: Pages
) -> None:
    """Whoever registers a model chooses the names of its features."""
    row = make_explanation_row(alice)
    hostile = '<script>alert(1)</script>"&\x01\ufffe'
    row.answer["feature_importances"][0]["feature_name"] = hostile.replace("\x01", "")
    row.answer["summary"]["explanation"] = hostile.replace("\x01", "")
    row.save()

    picture = picture_of(client_of(alice), f"/ai/explain/{row.pk}")
    page = pages_of(alice).get(PAGE.format(row.pk)).content.decode()

    assert any("<script>" in (each.text or "") for each in picture.iter(f"{SVG}text"))
    assert "<script>alert" not in page


def test_it_is_drawn_in_a_browser(alice: Principal, transactional_db: None, visit: Visits) -> None:
    made = forecast(alice)
    from explanations.actions import explain

    explained = explain(tenant_id="alpha", by="alice", prediction_id=made.pk, step=18)
    for options in ({}, {"dark": True}, {"phone": True}):
        window = visit(**options)
        window.enter(
            make_person(Principal(f"alice{len(options)}{options}", "alpha", alice.roles, f"a{options}"))
        )

        window.go(PAGE.format(explained.pk))

        assert window.page.locator("svg.explanation").count() == 2
        box = window.page.locator("svg.waterfall").bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert not window.is_too_wide()
        window.go(FORECAST.format(made.pk))
        assert window.page.locator("#why svg.waterfall").count() == 1
        assert not window.is_too_wide()


def test_numbers_of_any_size_are_drawn(alice: Principal) -> None:
    from explanations import drawing
    from explanations.answers import About, local_answer
    from explanations.attribution import Attribution, Method

    rng = np.random.default_rng(0)
    for scale in (0.0, 1e-12, 1.0, 1e15):
        for count in (0, 1, 40):
            amounts = rng.normal(0, 1, (1, count)) * scale
            base = np.array([5.0 * scale])
            about = Attribution(
                tuple(f"f{k}" for k in range(count)), amounts, base, amounts, base + amounts.sum(axis=1)
            )
            answer = local_answer(about, Method("m", "o", "b"), About("It is", "usual"))
            for draw in (drawing.waterfall, drawing.force):
                text = draw(answer, title="t")
                ElementTree.fromstring(text)  # noqa: S314  our own
                assert "nan" not in text.replace("dominant", "")
                assert "inf" not in text.replace("info", "")
