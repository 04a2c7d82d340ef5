"""PUT and GET /ai/models/{id}/artifact, on a folder and on a real S3."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from omarino.authentication import Principal
from omarino.permissions import AI_USER
from registry.models import ModelVersion, Stage
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made
from tests.registry.test_register import body_of

pytestmark = pytest.mark.django_db


def put(client: Any, version: Any, content: bytes) -> Any:
    return client.generic("PUT", f"/ai/models/{version}/artifact", content, "application/octet-stream")


def test_an_artifact_follows_its_version(alice: Principal, client_of: ClientOf, folder: Path) -> None:
    client, artifact = client_of(alice), models_made.lightgbm_text()
    version = make_version(alice)

    response = put(client, version, artifact)

    assert response.status_code == 200, response.json()
    assert response.json()["storage_path"] == "alpha/site-load/v1.0.0/model.txt"
    version.refresh_from_db()
    assert version.sha256 == hashlib.sha256(artifact).hexdigest()
    assert (folder / version.storage_path).read_bytes() == artifact
    assert put(client, version, artifact).status_code == 200  # the same again changes nothing
    other = put(client, version, models_made.lightgbm_text(5))
    assert (other.status_code, other.json()["code"]) == (409, "artifact_exists")


def test_what_is_in_production_gets_no_artifact_behind_its_back(
    alice: Principal, client_of: ClientOf
) -> None:
    version = make_version(alice, stage=Stage.PRODUCTION)

    response = put(client_of(alice), version, models_made.lightgbm_text())

    assert (response.status_code, response.json()["code"]) == (409, "artifact_late")


def test_an_artifact_is_downloaded_as_it_was(alice: Principal, client_of: ClientOf) -> None:
    artifact = models_made.lightgbm_text()
    version = make_version(alice, artifact=artifact)

    response: Any = client_of(alice, roles=frozenset({AI_USER})).get(f"/ai/models/{version}/artifact")

    assert response.getvalue() == artifact
    assert response["ETag"] == f'"{hashlib.sha256(artifact).hexdigest()}"'
    assert 'filename="site-load-v1.0.0.txt"' in response["Content-Disposition"]


def test_a_version_without_one_says_so(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).get(f"/ai/models/{make_version(alice)}/artifact")

    assert (response.status_code, response.json()["code"]) == (409, "artifact_missing")


def test_one_that_is_too_large_is_refused(alice: Principal, client_of: ClientOf, settings: Any) -> None:
    settings.MODEL_MAX_BYTES = 1000
    version = make_version(alice)

    response = put(client_of(alice), version, b"x" * 1001)

    assert (response.status_code, response.json()["limit_bytes"]) == (413, 1000)
    version.refresh_from_db()
    assert version.format == ""


def test_on_s3_the_bucket_is_made_and_the_files_lie_where_they_should(
    alice: Principal, client_of: ClientOf, bucket: Any
) -> None:
    client, artifact = client_of(alice), models_made.lightgbm_text()

    response = client.post("/ai/models/register", body_of(artifact))

    assert response.status_code == 201, response.json()
    keys = sorted(item.key for item in bucket.objects.all())
    assert keys == [
        f"models/alpha/site-load/v1.0.0/{name}" for name in ("metadata.json", "metrics.json", "model.txt")
    ]
    assert bucket.Object(keys[2]).get()["Body"].read() == artifact
    version = ModelVersion.objects.get()
    downloaded: Any = client.get(f"/ai/models/{version}/artifact")
    assert downloaded.getvalue() == artifact
    answer = client.post(f"/ai/models/{version}/predict", {"input": dict.fromkeys("abcd", 0.5)}).json()
    assert answer["prediction"] == models_made.lightgbm_booster().predict([[0.5] * 4])[0]
    assert client.delete(f"/ai/models/{version}").json()["files_deleted"] == 3
    assert not list(bucket.objects.all())


def test_when_s3_is_out_nothing_is_registered(
    alice: Principal, client_of: ClientOf, bucket: Any, settings: Any
) -> None:
    kept = {name: dict(value) for name, value in settings.STORAGES.items()}
    kept["models"]["OPTIONS"] = {**kept["models"]["OPTIONS"], "endpoint_url": "http://127.0.0.1:9"}
    settings.STORAGES = kept

    response = client_of(alice).post("/ai/models/register", body_of())

    assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
    assert "Retry-After" in response
    assert not ModelVersion.objects.exists()
