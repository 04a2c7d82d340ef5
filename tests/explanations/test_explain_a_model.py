"""POST /ai/explain for a row of a registered model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from explanations.models import Explanation
from omarino.authentication import Principal
from omarino.permissions import AI_USER
from registry.models import Stage
from tests.conftest import ClientOf
from tests.factories import make_readings, make_version
from tests.registry import models_made

pytestmark = pytest.mark.django_db
URL = "/ai/explain"
ROW = {"a": 0.5, "b": -1.0, "c": 2.0, "d": 0.0}
VALUES = np.array([list(ROW.values())])


def ask(client: Any, **said: Any) -> Any:
    body = {"tenant_id": "alpha", "model_name": "site-load", "input_features": ROW, **said}
    return client.post(URL, {name: value for name, value in body.items() if value is not None})


def assert_adds_up(answer: dict[str, Any]) -> None:
    about = answer["metadata"]
    contributions = [part["contribution"] for part in answer["feature_importances"]]
    assert about["base_value"] + sum(contributions) == pytest.approx(about["prediction_value"], rel=1e-9)
    assert answer["waterfall_data"][-1]["cumulative_value"] == pytest.approx(
        about["prediction_value"], rel=1e-9
    )
    assert answer["summary"]["total_contribution"] == pytest.approx(sum(contributions), rel=1e-6, abs=1e-9)


def test_the_answer_is_the_contract(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text(), metadata={"unit": "kW"})

    response = ask(client_of(alice, roles=frozenset({AI_USER})))

    answer = response.json()
    assert response.status_code == 200
    assert_adds_up(answer)
    assert set(answer) >= {
        *("explanation_id", "tenant_id", "model_name", "model_version", "feature_importances", "metadata"),
        *("waterfall_data", "force_data", "summary"),
    }
    booster = models_made.lightgbm_booster()
    own = booster.predict(VALUES, pred_contrib=True)[0]
    by_name = {part["feature_name"]: part for part in answer["feature_importances"]}
    assert [by_name[name]["contribution"] for name in "abcd"] == pytest.approx(own[:4].tolist(), rel=1e-12)
    assert answer["metadata"]["base_value"] == pytest.approx(own[4], rel=1e-9)
    assert answer["metadata"]["prediction_value"] == pytest.approx(booster.predict(VALUES)[0], rel=1e-12)
    assert [part["rank"] for part in answer["feature_importances"]] == [1, 2, 3, 4]
    sizes = [part["importance"] for part in answer["feature_importances"]]
    assert sizes == sorted(sizes, reverse=True)
    assert by_name["a"] == {
        "feature_name": "a",
        "importance": abs(own[0]),
        "value": 0.5,
        "contribution": pytest.approx(own[0]),
        "rank": by_name["a"]["rank"],
    }
    first = answer["force_data"][0]
    assert first["is_positive"] == (first["shap_value"] > 0)
    assert answer["summary"]["top_3_features"] == [
        part["feature_name"] for part in answer["feature_importances"][:3]
    ]
    assert (answer["model_name"], answer["model_version"]) == ("site-load", "v1.0.0")
    assert answer["metadata"]["model_version"] == "v1.0.0"
    assert answer["metadata"]["output"] == "the prediction"
    assert "kW" in answer["summary"]["explanation"]


@pytest.mark.parametrize(
    ("artifact", "kind", "output"),
    [
        (lambda: models_made.lightgbm_text(20, "binary"), "lightgbm", "log-odds of class 1"),
        (lambda: models_made.lightgbm_text(20, "multiclass"), "lightgbm", "raw score of the predicted class"),
        (models_made.xgboost_file, "xgboost_json", "the prediction"),
        (lambda: models_made.xgboost_file("ubj"), "xgboost_ubj", "the prediction"),
        (models_made.skops_ridge, "skops", "the prediction"),
        (models_made.skops_logistic, "skops", "log-odds of class low"),
    ],
    ids=["binary", "multiclass", "xgboost json", "xgboost ubj", "ridge", "logistic"],
)
def test_every_family_adds_up(
    alice: Principal, client_of: ClientOf, artifact: Any, kind: str, output: str
) -> None:
    version = make_version(alice, artifact=artifact(), artifact_format=kind)
    row = dict(zip(version.feature_names, VALUES[0].tolist(), strict=True))

    response = ask(client_of(alice), input_features=row)

    assert response.status_code == 200, response.json()
    assert_adds_up(response.json())
    assert response.json()["metadata"]["output"] == output


def test_latest_is_the_version_in_production_else_the_newest(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, version="v1.0.0", artifact=models_made.lightgbm_text())
    make_version(alice, version="v1.1.0", artifact=models_made.lightgbm_text(21))
    assert ask(client_of(alice)).json()["model_version"] == "v1.1.0"

    make_version(alice, version="v0.9.0", stage=Stage.PRODUCTION, artifact=models_made.lightgbm_text(22))

    assert ask(client_of(alice)).json()["model_version"] == "v0.9.0"
    assert ask(client_of(alice), model_version="production").json()["model_version"] == "v0.9.0"
    assert ask(client_of(alice), model_version="v1.0.0").json()["model_version"] == "v1.0.0"


def test_the_same_question_is_answered_from_the_row_that_was_kept(
    alice: Principal, client_of: ClientOf
) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())
    client = client_of(alice)

    first, again = ask(client).json(), ask(client).json()
    other = ask(client, input_features={**ROW, "a": 0.25}).json()

    assert again == first
    assert other["explanation_id"] != first["explanation_id"]
    assert Explanation.objects.count() == 2
    assert client.get(f"{URL}/{first['explanation_id']}").json() == first


def test_a_linear_model_is_held_against_the_background_it_is_given(
    alice: Principal, client_of: ClientOf
) -> None:
    """y = 2 a + b: against a = 0.25, b = 0 the row (0.5, -1) has 2 x 0.25 = 0.5 from a and -1 from b."""
    from sklearn.linear_model import LinearRegression
    from skops.io import dumps

    make_version(
        alice,
        artifact=dumps(LinearRegression().fit(*models_made.data())),
        artifact_format="skops",
    )
    names = ["f0", "f1", "f2", "f3"]
    row = dict(zip(names, VALUES[0].tolist(), strict=True))
    around = [dict(zip(names, values, strict=True)) for values in ([0.0, 1.0, 0, 0], [0.5, -1.0, 0, 0])]

    bare = ask(client_of(alice), input_features=row).json()
    answer = ask(client_of(alice), input_features=row, background=around).json()

    by_name = {part["feature_name"]: part["contribution"] for part in answer["feature_importances"]}
    assert by_name["f0"] == pytest.approx(0.5)
    assert by_name["f1"] == pytest.approx(-1.0)
    assert answer["metadata"]["background"] == "the mean of 2 rows"
    assert answer["metadata"]["samples_used"] == 2
    assert "nought" in bare["metadata"]["background"]


def test_features_of_stored_readings_stand_for_what_is_usual(
    alice: Principal, client_of: ClientOf, settings: Any
) -> None:
    """A linear model of catalogued features is held against rows drawn from the tenant's readings."""
    from sklearn.linear_model import LinearRegression
    from skops.io import dumps

    hours = np.arange(24 * 60)
    make_readings(alice, 50 + 10 * np.sin(hours / 24 * 2 * np.pi))
    rng = np.random.default_rng(0)
    rows = rng.normal(50, 7, (200, 2))
    artifact = dumps(LinearRegression().fit(rows, rows @ [0.7, 0.3]))
    make_version(
        alice, artifact=artifact, artifact_format="skops", metadata={"feature_set": "forecast_basic"}
    )
    from registry.models import ModelVersion

    ModelVersion.objects.update(feature_names=["lag_24h", "rolling_avg_24h"])

    settings.SHAP_MAX_SAMPLES = 40
    row = {"lag_24h": 60.0, "rolling_avg_24h": 50.0}
    answer = ask(client_of(alice), input_features=row).json()
    fewer = ask(client_of(alice), input_features=row, max_samples=12).json()

    assert_adds_up(answer)
    about = answer["metadata"]
    assert (about["samples_used"], fewer["metadata"]["samples_used"]) == (40, 12)
    assert about["background_from"] == "drawn by seed 0 from stored readings of main-meter"
    assert about["base_value"] == pytest.approx(50, abs=2)  # the mean load, not the intercept
    assert answer["summary"]["explanation"].startswith("The prediction is 57.0, ")
    assert "the same hour yesterday" in answer["summary"]["explanation"]


# What is refused


def test_missing_and_unknown_features_are_named(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())

    problem = ask(client_of(alice), input_features={"a": 1, "b": 2, "c": 3, "e": 4}).json()

    assert (problem["status"], problem["code"]) == (422, "input_refused")
    assert (problem["missing_features"], problem["unknown_features"]) == (["d"], ["e"])


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"input_features": None}, 422, "nothing_to_explain"),
        ({"model_name": None}, 422, "nothing_to_explain"),
        ({"model_name": "linear", "input_features": None}, 422, "built_in_without_forecast"),
        ({"model_name": "linear_v1"}, 422, "built_in_without_forecast"),
        ({"model_name": "no-such-model"}, 404, "not_found"),
        ({"model_version": "v9.9.9"}, 404, "not_found"),
        ({"model_version": "../../etc"}, 404, "not_found"),
        ({"model_version": "production"}, 409, "no_production_version"),
        ({"input_features": {**ROW, "a": "much"}}, 422, "input_refused"),
        ({"input_features": {**ROW, "a": 1e300}}, 422, "input_refused"),
        ({"input_features": []}, 422, "validation_failed"),
        ({"max_samples": 9}, 422, "validation_failed"),
        ({"max_samples": 1001}, 422, "validation_failed"),
        ({"explanation_type": "lime"}, 422, "validation_failed"),
        ({"background": [{"a": 1}]}, 422, "input_refused"),
        ({"prediction_id": "4a8f4a9e-0000-4000-8000-000000000000"}, 422, "two_things_to_explain"),
        ({"prediction_id": "4a8f4a9e-0000-4000-8000-000000000000", "input_features": None}, 404, "not_found"),
    ],
)
def test_what_makes_no_sense_is_refused(
    alice: Principal, client_of: ClientOf, said: dict[str, Any], status: int, code: str
) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())

    response = ask(client_of(alice), **said)

    assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_version_without_an_artifact_or_its_runtime_is_a_conflict(
    alice: Principal, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version(alice, name="bare")
    assert ask(client_of(alice), model_name="bare").json()["code"] == "artifact_missing"

    make_version(alice, artifact=models_made.xgboost_file(), artifact_format="xgboost_json")
    monkeypatch.setattr("registry.formats.find_spec", lambda _: None)

    problem = ask(client_of(alice)).json()
    assert (problem["status"], problem["code"]) == (409, "runtime_missing")


def test_another_tenants_model_and_explanation_are_not_there(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())
    made = ask(client_of(alice)).json()

    assert ask(client_of(charlie), tenant_id="gamma").status_code == 404
    assert ask(client_of(charlie)).json()["code"] == "tenant_mismatch"
    assert client_of(charlie).get(f"{URL}/{made['explanation_id']}").status_code == 404


def test_a_null_is_a_missing_value_where_the_model_takes_them(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())

    answer = ask(client_of(alice), input_features={**ROW, "a": None}).json()

    assert_adds_up(answer)
    assert (
        next(part for part in answer["feature_importances"] if part["feature_name"] == "a")["value"] is None
    )


def test_what_is_kept_says_who_asked_and_when(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())

    ask(client_of(alice))

    row = Explanation.objects.get()
    assert (row.requested_by, row.status, row.progress, row.question) == ("alice", "completed", 1.0, {})
    assert row.completed_at is not None
    assert row.completed_at <= datetime.now(UTC)
