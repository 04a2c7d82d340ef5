"""POST /ai/models/{id}/predict and /batch-predict."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from omarino.authentication import Principal
from omarino.permissions import AI_USER
from registry import artifacts, serving
from registry.errors import ArtifactCorrupt
from registry.models import ModelVersion, Stage
from registry.serving import CACHE, PredictorCache
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


# The models kept loaded


def versions(owner: Principal, count: int, **portrait: Any) -> list[ModelVersion]:
    made = [
        make_version(owner, version=f"v1.{index}.0", artifact=models_made.lightgbm_text(5 + index))
        for index in range(count)
    ]
    for version in made:
        version.portrait.update(portrait)
    return made


def test_the_least_used_is_let_go_by_number(alice: Principal, settings: Any) -> None:
    settings.MODEL_CACHE_SIZE = 2
    first, second, third = versions(alice, 3)
    cache = PredictorCache()

    for version in (first, second, first, third):
        cache.get(version)

    assert list(cache.sizes()) == [first.sha256, third.sha256]


def test_and_by_bytes(alice: Principal, settings: Any) -> None:
    settings.MODEL_CACHE_BYTES = 2_500_000
    first, second, third = versions(alice, 3, memory_bytes=1_000_000)
    cache = PredictorCache()

    for version in (first, second, third):
        cache.get(version)

    assert cache.sizes() == {second.sha256: 1_000_000, third.sha256: 1_000_000}


def test_and_by_time(alice: Principal, settings: Any) -> None:
    settings.MODEL_CACHE_TTL = 60
    now = [0.0]
    first, second = versions(alice, 2)
    cache = PredictorCache(clock=lambda: now[0])

    cache.get(first)
    now[0] = 61.0
    cache.get(second)

    assert list(cache.sizes()) == [second.sha256]


def test_two_threads_that_ask_at_once_load_it_once(alice: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_version(alice, artifact=models_made.lightgbm_text())
    version = ModelVersion.objects.select_related("model").get(
        pk=made.pk
    )  # other threads see no row of a test
    reads: list[ModelVersion] = []
    read = artifacts.read

    def counted(asked: ModelVersion) -> bytes:
        reads.append(asked)
        return read(asked)

    monkeypatch.setattr(artifacts, "read", counted)
    cache, found = PredictorCache(), []
    threads = [threading.Thread(target=lambda: found.append(cache.get(version))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(reads) == 1
    assert len(set(map(id, found))) == 1


def test_a_model_is_loaded_once_for_many_requests(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text())
    for _ in range(3):
        predict(client_of(alice), version)

    assert list(CACHE.sizes()) == [version.sha256]
    assert serving.predictor_of(version) is CACHE.get(version)


@pytest.mark.parametrize("word", ["production", "v1.0.0"])
def test_a_prediction_costs_one_query(word: str, alice: Principal, client_of: ClientOf) -> None:
    """Which version it is, by its stamps; of the tenant the session knows since the request before."""
    make_version(alice, artifact=models_made.lightgbm_text(), stage=Stage.PRODUCTION)
    client = client_of(alice)
    predict(client, f"alpha:site-load:{word}")

    with CaptureQueriesContext(connection) as asked:
        assert predict(client, f"alpha:site-load:{word}").status_code == 200

    assert len(asked.captured_queries) == 1, asked.captured_queries


# How far off a predicted number may be


def test_residual_quantiles_that_came_with_the_version(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(
        alice,
        artifact=models_made.lightgbm_text(),
        metadata={"residual_quantiles": {"p90": 2.0, "p10": -1.0, "p50": 0.25}},
    )

    answer = predict(client_of(alice), version, includeConfidence=True).json()
    many = batch(client_of(alice), version, inputs=[ROW, ROW], options={"includeConfidence": True}).json()

    value = answer["prediction"]
    assert answer["confidence"] is None
    assert answer["quantiles"] == {"p10": value - 1.0, "p50": value + 0.25, "p90": value + 2.0}
    assert list(answer["quantiles"]) == ["p10", "p50", "p90"]
    assert many["quantiles"]["p90"] == [value + 2.0] * 2


def test_quantile_models_never_cross(alice: Principal, client_of: ClientOf) -> None:
    five, twenty = models_made.lightgbm_booster(5), models_made.lightgbm_booster(20)
    make_version(alice, name="low", artifact=models_made.lightgbm_text(20))
    make_version(alice, name="high", artifact=models_made.lightgbm_text(5))
    version = make_version(
        alice,
        artifact=models_made.lightgbm_text(10),
        metadata={"quantile_models": {"p10": "low:v1.0.0", "p90": "high:v1.0.0"}},
    )

    answer = predict(client_of(alice), version, includeConfidence=True).json()

    both = sorted(float(booster.predict(VALUES)[0]) for booster in (five, twenty))
    assert [answer["quantiles"]["p10"], answer["quantiles"]["p90"]] == both


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "residual_quantiles"),
        (
            {"quantile_models": {"p10": "low:v1.0.0"}},
            "low:v1.0.0, is not registered, or takes other features",
        ),
        ({"quantile_models": {"p10": "site-load:v1.0.0"}}, "site-load:v1.0.0, is not registered"),
    ],
)
def test_without_them_it_says_why(
    alice: Principal, charlie: Principal, client_of: ClientOf, metadata: Any, said: str
) -> None:
    make_version(charlie, name="low", artifact=models_made.lightgbm_text())  # of another tenant
    version = make_version(alice, artifact=models_made.lightgbm_text(), metadata=metadata)

    answer = predict(client_of(alice), version, includeConfidence=True).json()

    assert answer["confidence"] is None
    assert "quantiles" not in answer
    assert said in answer["confidence_note"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"residual_quantiles": {"p90": -1, "p10": 1}},
        {"residual_quantiles": {"q10": 1}},
        {"residual_quantiles": {"p10": "1"}},
        {"residual_quantiles": {}},
        {"residual_quantiles": [1]},
        {"quantile_models": {"p10": "../x:v1.0.0"}},
        {"quantile_models": {"p10": 1}},
        {"quantile_models": {"p0": "low:v1.0.0"}},
    ],
)
def test_quantiles_that_are_none_are_refused_at_the_door(
    alice: Principal, client_of: ClientOf, metadata: Any
) -> None:
    body = {
        "tenant_id": "alpha",
        "model_name": "x",
        "version": "v1.0.0",
        "metadata": {"framework": "lightgbm", **metadata},
    }

    response = client_of(alice).post("/ai/models/register", body)

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert response.json()["errors"][0]["field"].startswith(f"metadata.{next(iter(metadata))}")
