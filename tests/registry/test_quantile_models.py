"""A version that names models of its quantiles names ones that can answer with it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from omarino.authentication import Principal
from registry.models import ModelVersion
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made

pytestmark = pytest.mark.django_db
NAMED = {"p10": "low:v1.0.0"}


def register(client: Any, named: dict[str, str], *, artifact: bool = True) -> Any:
    body = {
        "tenant_id": "alpha",
        "model_name": "site-load",
        "version": "v1.0.0",
        "metadata": {"framework": "lightgbm", "quantile_models": named},
    }
    if artifact:
        body["model_file"] = base64.b64encode(models_made.lightgbm_text()).decode()
    return client.post("/ai/models/register", body)


def refused(response: Any) -> str:
    assert (response.status_code, response.json()["code"]) == (422, "quantile_model_refused"), response.json()
    assert not ModelVersion.objects.filter(model__name="site-load", sha256__gt="").exists()
    return str(response.json()["detail"])


def test_one_that_takes_the_same_features_is_taken(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, name="low", artifact=models_made.lightgbm_text())

    assert register(client_of(alice), NAMED).status_code == 201


def test_one_that_is_missing_or_another_tenants_is_refused_by_name(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    make_version(charlie, name="low", artifact=models_made.lightgbm_text())

    said = refused(register(client_of(alice), NAMED))

    assert "names low:v1.0.0 for p10, which is no version of tenant alpha" in said


def test_one_of_other_features_is_refused_with_both(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, name="low", artifact=models_made.onnx_linear(), artifact_format="onnx")

    assert "takes other features: f0, f1 instead of a, b, c, d" in refused(register(client_of(alice), NAMED))


def test_one_without_an_artifact_or_of_classes_or_itself_is_refused(
    alice: Principal, client_of: ClientOf
) -> None:
    make_version(alice, name="low")
    make_version(alice, name="class", artifact=models_made.lightgbm_text(objective="binary"))
    client = client_of(alice)

    assert "no artifact yet" in refused(register(client, NAMED))
    assert "tells classes" in refused(register(client, {"p90": "class:v1.0.0"}))
    assert "this version itself" in refused(register(client, {"p90": "site-load:v1.0.0"}))


def test_an_artifact_that_comes_later_is_held_to_them_as_well(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, name="low", artifact=models_made.onnx_linear(), artifact_format="onnx")
    client: Any = client_of(alice)
    assert register(client, NAMED, artifact=False).status_code == 201

    response = client.generic(
        "PUT",
        "/ai/models/alpha:site-load:v1.0.0/artifact",
        models_made.lightgbm_text(),
        content_type="application/octet-stream",
    )

    assert "takes other features" in refused(response)
