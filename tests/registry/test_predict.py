"""POST /ai/models/{id}/predict and /batch-predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from omarino.authentication import Principal
from omarino.permissions import AI_USER
from registry import artifacts
from registry.errors import ArtifactCorrupt
from registry.models import Stage
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made

pytestmark = pytest.mark.django_db
ROW = {"a": 0.5, "b": -1.0, "c": 2.0, "d": 0.0}
VALUES = [list(ROW.values())]


def predict(client: Any, version: Any, row: dict[str, Any] = ROW, **options: bool) -> Any:
    return client.post(f"/ai/models/{version}/predict", {"input": row, "options": options})


def batch(client: Any, version: Any, **body: Any) -> Any:
    return client.post(f"/ai/models/{version}/batch-predict", body)


@pytest.mark.parametrize(
    ("artifact", "kind", "expected"),
    [
        (models_made.lightgbm_text, "lightgbm", lambda: models_made.lightgbm_booster().predict(VALUES)[0]),
        (models_made.skops_ridge, "skops", lambda: models_made.ridge().predict(VALUES)[0]),
        (
            models_made.xgboost_file,
            "xgboost_json",
            lambda: models_made.xgboost_booster().inplace_predict(np.array(VALUES))[0],
        ),
        (
            lambda: models_made.xgboost_file("ubj"),
            "xgboost_ubj",
            lambda: models_made.xgboost_booster().inplace_predict(np.array(VALUES))[0],
        ),
    ],
    ids=["lightgbm", "skops", "xgboost json", "xgboost ubj"],
)
def test_the_answer_is_the_librarys_own(
    alice: Principal, client_of: ClientOf, artifact: Any, kind: str, expected: Any
) -> None:
    version = make_version(alice, artifact=artifact(), artifact_format=kind)
    names = version.feature_names
    row = dict(zip(names, VALUES[0], strict=True))

    answer = predict(client_of(alice, roles=frozenset({AI_USER})), version, row).json()

    assert answer == {"model_id": str(version), "prediction": pytest.approx(float(expected()), rel=1e-12)}


def test_onnx_computes_what_its_graph_says(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(alice, artifact=models_made.onnx_linear(), artifact_format="onnx")

    answer = predict(client_of(alice), version, {"f0": 10, "f1": 100}).json()

    assert answer["prediction"] == 213  # 1 * 10 + 2 * 100 + 3


def test_a_class_is_told_with_its_probability(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(alice, artifact=models_made.skops_logistic(), artifact_format="skops")
    row = dict(zip(version.feature_names, VALUES[0], strict=True))

    answer = predict(client_of(alice), version, row, includeConfidence=True).json()

    high, low = models_made.logistic().predict_proba(VALUES)[0].tolist()
    assert answer["prediction"] == ("high" if high > low else "low")
    assert answer["probabilities"] == {"high": high, "low": low}
    assert answer["confidence"] == max(high, low)


@pytest.mark.parametrize("objective", ["binary", "multiclass"])
def test_boosters_that_classify_tell_classes(alice: Principal, client_of: ClientOf, objective: str) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text(20, objective))

    answer = predict(client_of(alice), version, includeConfidence=True, includeFeatureImportance=True).json()

    raw = models_made.lightgbm_booster(20, objective).predict(VALUES)[0]
    table = [1 - raw, raw] if objective == "binary" else raw
    assert answer["prediction"] == int(np.argmax(table))
    assert answer["confidence"] == pytest.approx(float(np.max(table)))
    assert set(answer["feature_importance"]) == set(ROW)


@pytest.mark.parametrize(
    ("artifact", "kind", "close"),
    [(models_made.lightgbm_text, "lightgbm", 1e-9), (models_made.xgboost_file, "xgboost_json", 1e-5)],
)
def test_importance_adds_up_to_the_prediction(
    alice: Principal, client_of: ClientOf, artifact: Any, kind: str, close: float
) -> None:
    version = make_version(alice, artifact=artifact(), artifact_format=kind)
    row = dict(zip(version.feature_names, VALUES[0], strict=True))

    answer = predict(client_of(alice), version, row, includeFeatureImportance=True).json()

    parts = answer["base_value"] + sum(answer["feature_importance"].values())
    assert parts == pytest.approx(answer["prediction"], abs=close)


def test_where_importance_is_not_additive_it_is_refused(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(alice, artifact=models_made.skops_ridge(), artifact_format="skops")
    row = dict(zip(version.feature_names, VALUES[0], strict=True))

    response = predict(client_of(alice), version, row, includeFeatureImportance=True)

    assert (response.status_code, response.json()["code"]) == (422, "importance_unavailable")


@pytest.mark.parametrize(
    ("row", "facts"),
    [
        ({"a": 1, "b": 1, "c": 1}, {"missing_features": ["d"], "unknown_features": []}),
        ({**ROW, "e": 1}, {"missing_features": [], "unknown_features": ["e"]}),
        ({"a": 1, "b": 1, "c": 1, "D": 1}, {"missing_features": ["d"], "unknown_features": ["D"]}),
        ({**ROW, "a": "1"}, {"not_numbers": ["a"]}),
        ({**ROW, "a": True}, {"not_numbers": ["a"]}),
        ({**ROW, "a": [1]}, {"not_numbers": ["a"]}),
        ({**ROW, "a": 1e16}, {}),
    ],
)
def test_what_does_not_fit_is_named(
    alice: Principal, client_of: ClientOf, row: dict[str, Any], facts: dict[str, Any]
) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text())
    client = client_of(alice)

    single, many = predict(client, version, row), batch(client, version, inputs=[ROW, row])

    for response in (single, many):
        assert (response.status_code, response.json()["code"]) == (422, "input_refused")
        assert {name: response.json()[name] for name in facts} == facts
        assert all(name in response.json()["detail"] for names in facts.values() for name in names)


def test_null_is_a_missing_value_where_the_model_takes_one(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    boosted = make_version(alice, name="boosted", artifact=models_made.lightgbm_text())
    linear = make_version(alice, name="linear", artifact=models_made.skops_ridge(), artifact_format="skops")

    answer = predict(client, boosted, {**ROW, "a": None}).json()
    refused = predict(client, linear, {"f0": None, "f1": 1, "f2": 1, "f3": 1})

    assert answer["prediction"] == models_made.lightgbm_booster().predict([[np.nan, -1.0, 2.0, 0.0]])[0]
    assert (refused.status_code, "f0 of row 0 is null" in refused.json()["detail"]) == (422, True)


def test_rows_and_columns_are_answered_alike(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text())
    client, table = client_of(alice), models_made.data()[0][:50]
    rows = [dict(zip("dcba", row[::-1].tolist(), strict=True)) for row in table]  # the order of names is free
    columns = {name: table[:, index].tolist() for index, name in enumerate("abcd")}

    by_row, by_column = (
        batch(client, version, inputs=rows).json(),
        batch(client, version, columns=columns).json(),
    )

    assert by_row == by_column
    assert by_row["count"] == 50
    assert by_row["predictions"] == np.asarray(models_made.lightgbm_booster().predict(table)).tolist()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": [ROW], "columns": {name: [1] for name in ROW}},
        {"columns": {"a": [1], "b": [1], "c": [1], "d": [1, 2]}},
        {"columns": {"a": [1], "b": [1], "c": [1]}},
        {"columns": {"a": ["1"], "b": [1], "c": [1], "d": [1]}},
        {"columns": {"a": [], "b": [], "c": [], "d": []}},
    ],
)
def test_a_batch_that_makes_no_table_is_refused(
    alice: Principal, client_of: ClientOf, body: dict[str, Any]
) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text())

    assert batch(client_of(alice), version, **body).status_code == 422


def test_a_promotion_is_followed_by_the_next_request(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    make_version(alice, version="v1.0.0", artifact=models_made.lightgbm_text(5), stage=Stage.PRODUCTION)
    make_version(alice, version="v1.1.0", artifact=models_made.lightgbm_text(20))
    before = predict(client, "alpha:site-load:production").json()

    client.put("/ai/models/alpha:site-load:v1.1.0/promote", {"target_stage": "production"})
    after = predict(client, "alpha:site-load:production").json()

    assert (before["model_id"], after["model_id"]) == ("alpha:site-load:v1.0.0", "alpha:site-load:v1.1.0")
    assert after["prediction"] == models_made.lightgbm_booster(20).predict(VALUES)[0]


@pytest.mark.parametrize(
    ("reference", "code"),
    [("alpha:site-load:v1.0.0", "artifact_missing"), ("alpha:site-load:production", "no_production_version")],
)
def test_what_cannot_predict_says_why(
    alice: Principal, client_of: ClientOf, reference: str, code: str
) -> None:
    make_version(alice)

    response = predict(client_of(alice), reference)

    assert (response.status_code, response.json()["code"]) == (409, code)


def test_without_its_runtime_it_names_the_extra(
    alice: Principal, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = make_version(alice, artifact=models_made.onnx_linear(), artifact_format="onnx")
    monkeypatch.setattr("registry.formats.find_spec", lambda _: None)

    response = predict(client_of(alice), version, {"f0": 1, "f1": 1})

    assert (response.status_code, response.json()["code"], response.json()["extra"]) == (
        409,
        "runtime_missing",
        "onnx",
    )
    assert client_of(alice).get(f"/ai/models/{version}").json()["missing_extra"] == "onnx"


def test_changed_bytes_are_never_loaded(alice: Principal, client_of: ClientOf, folder: Any) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text(5))
    (folder / version.storage_path).write_bytes(models_made.lightgbm_text(20))

    response = predict(client_of(alice), version)

    assert (response.status_code, response.json()["code"]) == (409, "artifact_corrupt")
    with pytest.raises(ArtifactCorrupt):
        artifacts.read(version)
