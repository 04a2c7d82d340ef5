"""POST /ai/models/register."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from omarino.authentication import Principal
from omarino.permissions import AI_USER, FORECASTER
from registry.actions import register_version
from registry.errors import VersionBusy, VersionExists
from registry.models import ModelVersion, RegisteredModel, Transition
from tests.conftest import ClientOf
from tests.registry import models_made

pytestmark = pytest.mark.django_db


def body_of(artifact: bytes | None = None, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "tenant_id": "alpha",
        "model_name": "site-load",
        "version": "v1.0.0",
        "model_type": "forecast",
        "metadata": {
            "framework": "lightgbm",
            "algorithm": "gbdt",
            "hyperparameters": {"num_leaves": 7},
            "feature_names": models_made.NAMES,
            "target_variable": "load",
            "tags": ["site"],
        },
        "metrics": {"mae": 1.5, "custom_metrics": {"peak_error": 3.0}},
        "model_file": base64.b64encode(artifact).decode() if artifact else None,
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def test_a_model_is_registered_with_its_files(alice: Principal, client_of: ClientOf, folder: Path) -> None:
    artifact = models_made.lightgbm_text()

    response = client_of(alice).post("/ai/models/register", body_of(artifact))

    answer = response.json()
    assert response.status_code == 201, answer
    assert answer["model_id"] == "alpha:site-load:v1.0.0"
    assert (answer["stage"], answer["status"]) == ("staging", "registered")
    assert answer["storage_path"] == "alpha/site-load/v1.0.0/model.txt"
    assert (folder / answer["storage_path"]).read_bytes() == artifact
    metadata = json.loads((folder / "alpha/site-load/v1.0.0/metadata.json").read_text())
    assert metadata["metadata"]["hyperparameters"] == {"num_leaves": 7}
    metrics = json.loads((folder / "alpha/site-load/v1.0.0/metrics.json").read_text())
    assert metrics == {"mae": 1.5, "custom_metrics": {"peak_error": 3.0}}


@pytest.mark.parametrize(
    ("artifact", "found", "suffix"),
    [
        (models_made.skops_ridge, "skops", "skops"),
        (models_made.xgboost_file, "xgboost_json", "json"),
        (lambda: models_made.xgboost_file("ubj"), "xgboost_ubj", "ubj"),
        (models_made.onnx_linear, "onnx", "onnx"),
    ],
    ids=["skops", "xgboost json", "xgboost ubj", "onnx"],
)
def test_the_content_decides_the_format(
    alice: Principal, client_of: ClientOf, artifact: Any, found: str, suffix: str
) -> None:
    metadata = {"framework": "whatever it says", "feature_names": []}
    client = client_of(alice)

    response = client.post("/ai/models/register", body_of(artifact(), metadata=metadata))

    assert response.status_code == 201, response.json()
    known = client.get("/ai/models/alpha:site-load:v1.0.0").json()
    assert (known["format"], known["storage_path"]) == (found, f"alpha/site-load/v1.0.0/model.{suffix}")
    assert known["feature_names"][0] in ("f0", "a")


def test_a_version_is_written_once(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    assert client.post("/ai/models/register", body_of()).status_code == 201

    response = client.post("/ai/models/register", body_of(metrics={"mae": 0.1}))

    assert (response.status_code, response.json()["code"]) == (409, "version_exists")
    assert ModelVersion.objects.get().metrics["mae"] == 1.5


def test_without_a_file_it_is_registered_and_says_that_it_cannot_predict(
    alice: Principal, client_of: ClientOf, folder: Path
) -> None:
    answer = client_of(alice).post("/ai/models/register", body_of()).json()

    assert "PUT /ai/models/alpha:site-load:v1.0.0/artifact" in answer["message"]
    assert sorted(path.name for path in (folder / "alpha/site-load/v1.0.0").iterdir()) == [
        "metadata.json",
        "metrics.json",
    ]


def test_it_may_go_straight_to_production(alice: Principal, client_of: ClientOf) -> None:
    answer = client_of(alice).post("/ai/models/register", body_of(stage="production")).json()

    assert answer["stage"] == "production"
    assert [str(row) for row in Transition.objects.all()] == [
        "v1.0.0: new to staging",
        "v1.0.0: staging to production",
    ]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model_name": "../../etc"}, "model_name"),
        ({"model_name": "a:b"}, "model_name"),
        ({"model_name": "-x"}, "model_name"),
        ({"version": "latest"}, "version"),
        ({"version": "1.0"}, "version"),
        ({"version": "v1.0.0/../../x"}, "version"),
        ({"version": "v1.0.0\n"}, "version"),
        ({"model_type": "llm"}, "model_type"),
        ({"metadata": ...}, "metadata"),
        ({"metadata": {"hyperparameters": {}}}, "metadata.framework"),
        ({"metadata": {"framework": "x", "feature_names": ["a", "a"]}}, "metadata.feature_names"),
        ({"metadata": {"framework": "x", "model_type": "anomaly"}}, "model_type"),
        ({"metrics": {"mae": "good"}}, "metrics.mae"),
        ({"stage": "live"}, "stage"),
        ({"model_file": "not base64!"}, "model_file"),
        ({"tenant_id": ...}, "tenant_id"),
    ],
)
def test_a_bad_field_is_named(
    alice: Principal, client_of: ClientOf, changes: dict[str, Any], field: str
) -> None:
    response = client_of(alice).post("/ai/models/register", body_of(**changes))

    if field == "version" and str(changes["version"]).endswith("\n"):  # surrounding space is trimmed
        assert response.status_code == 201
        return
    assert response.status_code == 422, response.json()
    assert field in [error["field"] for error in response.json()["errors"]]
    assert not RegisteredModel.objects.exists()


@pytest.mark.parametrize("version", ["v1.2.3", "1.2.3", "v20251009-120000"])
def test_versions_are_numbered_or_dated(alice: Principal, client_of: ClientOf, version: str) -> None:
    assert client_of(alice).post("/ai/models/register", body_of(version=version)).status_code == 201


@pytest.mark.parametrize(
    ("names", "said"),
    [(["a", "b"], "the model has 4"), (["b", "a", "c", "d"], "in this order, a, b, c, d")],
)
def test_feature_names_must_be_those_of_the_model(
    alice: Principal, client_of: ClientOf, folder: Path, names: list[str], said: str
) -> None:
    body = body_of(models_made.lightgbm_text(), metadata={"framework": "lightgbm", "feature_names": names})

    response = client_of(alice).post("/ai/models/register", body)

    assert (response.status_code, response.json()["code"]) == (422, "features_mismatch")
    assert said in response.json()["detail"]
    assert not ModelVersion.objects.exists()
    assert not folder.exists()


def test_another_tenant_in_the_body_is_refused(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post("/ai/models/register", body_of(tenant_id="gamma"))

    assert (response.status_code, response.json()["code"]) == (403, "tenant_mismatch")


def test_registering_needs_its_role(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice, roles=frozenset({AI_USER, FORECASTER})).post("/ai/models/register", body_of())

    assert response.status_code == 403
    assert "model_admin" in response.json()["detail"]


def test_a_storage_that_fails_leaves_neither_row_nor_file(
    alice: Principal, client_of: ClientOf, folder: Path
) -> None:
    """A folder stands where the second file should be written, so the first is written and must go again."""
    (folder / "alpha/site-load/v1.0.0/metrics.json").mkdir(parents=True)
    (folder / "alpha/site-load/v1.0.0/metrics.json/in-the-way").touch()

    response = client_of(alice).post("/ai/models/register", body_of())

    assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
    assert not ModelVersion.objects.exists()
    assert not (folder / "alpha/site-load/v1.0.0/metadata.json").exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_who_register_one_version_at_once_one_does(alice: Principal, folder: Path) -> None:
    def register(index: int) -> str:
        try:
            register_version(
                tenant_id="alpha",
                by=alice,
                model_name="site-load",
                version="v1.0.0",
                metadata={"framework": f"of {index}"},
                metrics={},
            )
        except (VersionExists, VersionBusy) as refusal:
            return refusal.code
        finally:
            connections.close_all()
        return f"of {index}"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(register, range(8)))

    (winner,) = set(answers) - {"version_exists", "version_busy"}
    assert ModelVersion.objects.get().framework == winner
    said = json.loads((folder / "alpha/site-load/v1.0.0/metadata.json").read_text())
    assert said["framework"] == winner
    assert Transition.objects.count() == 1
