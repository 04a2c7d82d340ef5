"""GET /ai/models/, GET and DELETE /ai/models/{id}."""

from __future__ import annotations

from pathlib import Path

import pytest

from omarino.authentication import Principal
from omarino.permissions import AI_USER
from registry.models import ModelVersion, Stage, Transition
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made

pytestmark = pytest.mark.django_db


def test_a_version_is_shown_with_all_that_is_known(alice: Principal, client_of: ClientOf) -> None:
    artifact = models_made.lightgbm_text()
    make_version(
        alice, artifact=artifact, metadata={"framework": "lightgbm", "tags": ["x"]}, metrics={"mae": 1.0}
    )

    answer = client_of(alice, roles=frozenset({AI_USER})).get("/ai/models/alpha:site-load:v1.0.0").json()

    assert answer["model_id"] == "alpha:site-load:v1.0.0"
    assert (answer["model_size_bytes"], len(answer["sha256"])) == (len(artifact), 64)
    assert (answer["feature_names"], answer["metadata"]["tags"]) == (models_made.NAMES, ["x"])
    assert [(row["from_stage"], row["to_stage"]) for row in answer["history"]] == [(None, "staging")]


def test_production_and_latest_stand_for_a_version(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    for index in (1, 2, 3):
        make_version(alice, version=f"v1.{index}.0")

    assert client.get("/ai/models/alpha:site-load:latest").json()["version"] == "v1.3.0"
    client.put("/ai/models/alpha:site-load:v1.2.0/promote", {"target_stage": "production"})

    assert client.get("/ai/models/alpha:site-load:production").json()["version"] == "v1.2.0"
    assert client.get("/ai/models/alpha:site-load:latest").json()["version"] == "v1.2.0"


@pytest.mark.parametrize(
    "model_id",
    [
        "alpha:site-load:v9.9.9",
        "alpha:nothing:production",
        "gamma:site-load:v1.0.0",
        "alpha:site-load",
        "x",
        "a:b:c:d",
    ],
)
def test_what_is_not_there_is_not_found(alice: Principal, client_of: ClientOf, model_id: str) -> None:
    make_version(alice)

    response = client_of(alice).get(f"/ai/models/{model_id}")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_the_list_is_filtered_and_paged(alice: Principal, charlie: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    for index in range(3):
        make_version(alice, version=f"v1.{index}.0", model_type="forecast")
    make_version(alice, name="price", stage=Stage.PRODUCTION, model_type="regression")
    make_version(charlie)

    page = client.get("/ai/models/", {"limit": "2", "tenant_id": "alpha"}).json()
    assert {name: page[name] for name in ("total", "tenant_id", "limit", "offset")} == {
        "total": 4,
        "tenant_id": "alpha",
        "limit": 2,
        "offset": 0,
    }
    assert [row["model_id"] for row in page["models"]] == ["alpha:price:v1.0.0", "alpha:site-load:v1.2.0"]
    wanted: list[tuple[dict[str, str], int]] = [
        ({"model_name": "site-load"}, 3),
        ({"stage": "production"}, 1),
        ({"model_type": "forecast"}, 3),
        ({"stage": "production", "model_name": "site-load"}, 0),
    ]
    for query, total in wanted:
        assert client.get("/ai/models/", query).json()["total"] == total
    assert client.get("/ai/models/", {"stage": "live"}).status_code == 422


def test_a_version_is_deleted_with_its_files_and_its_history_stays(
    alice: Principal, client_of: ClientOf, folder: Path
) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text())

    answer = client_of(alice).delete(f"/ai/models/{version}").json()

    assert (answer["status"], answer["files_deleted"]) == ("deleted", 3)
    assert not ModelVersion.objects.exists()
    assert not list(folder.rglob("*"))
    assert [row.to_stage for row in Transition.objects.all()] == ["staging", "deleted"]


def test_production_is_deleted_only_by_force(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    version = make_version(alice, stage=Stage.PRODUCTION)

    refused = client.delete(f"/ai/models/{version}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_production")

    assert client.delete(f"/ai/models/{version}?force=true").status_code == 200
    assert client.get("/ai/models/alpha:site-load/production").json()["code"] == "no_production_version"


def test_a_deleted_version_may_be_registered_again(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    version = make_version(alice)
    client.delete(f"/ai/models/{version}")
    body = {
        "tenant_id": "alpha",
        "model_name": "site-load",
        "version": "v1.0.0",
        "metadata": {"framework": "x"},
    }

    assert client.post("/ai/models/register", body).status_code == 201

    history = client.get(f"/ai/models/{version}").json()["history"]
    assert [row["to_stage"] for row in history] == ["staging"]


def test_deleting_needs_its_role(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(alice)

    assert client_of(alice, roles=frozenset({AI_USER})).delete(f"/ai/models/{version}").status_code == 403
