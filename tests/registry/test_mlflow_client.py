"""The real MLflow client against the running service: log, register, promote, load back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pytest
import xgboost
from django.db import connections
from mlflow.exceptions import MlflowException, RestException
from pytest_django.live_server_helper import LiveServer

from omarino.authentication import Principal
from omarino.permissions import AI_USER
from registry.models import ModelVersion, Stage, Transition
from tests.conftest import token_of
from tests.factories import make_version
from tests.registry import models_made

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore"),  # of MLflow's own
]


@pytest.fixture
def files(tmp_path: Path, settings: Any) -> Path:
    kept = {**settings.STORAGES}
    kept["default"] = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "files")},
    }
    settings.STORAGES = kept
    return tmp_path / "files"


@pytest.fixture
def connect(live_server: LiveServer, files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """MLflow's client as this principal, by the token it takes from its environment."""
    # The client keeps its connections, so threads of the server outlive a test; their database must not.
    monkeypatch.setitem(connections.databases["default"], "CONN_MAX_AGE", 0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    before = mlflow.get_tracking_uri()

    def connect(owner: Principal, **given: Any) -> mlflow.MlflowClient:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token_of(owner, **given))
        mlflow.set_tracking_uri(f"{live_server.url}/ai/mlflow")
        return mlflow.MlflowClient()

    yield connect
    mlflow.end_run()
    mlflow.set_tracking_uri(before)


def log_model(**options: Any) -> Any:
    booster = models_made.lightgbm_booster()
    return mlflow.lightgbm.log_model(booster, name="model", registered_model_name="site-load", **options)


ROWS = models_made.data()[0][:10]


def test_a_model_is_logged_registered_promoted_and_loaded_back(alice: Principal, connect: Any) -> None:
    client = connect(alice)

    with mlflow.start_run():
        mlflow.log_params({"num_leaves": 7})
        mlflow.log_metrics({"mae": 1.5, "rmse": 2.0})
        mlflow.log_metric("mae", 1.25, step=1)
        info = log_model()
    client.set_registered_model_alias("site-load", "production", "1")

    expected = np.asarray(models_made.lightgbm_booster().predict(ROWS))
    for uri in ("models:/site-load/1", "models:/site-load@production", "models:/site-load/Production"):
        assert np.array_equal(mlflow.lightgbm.load_model(uri).predict(ROWS), expected)
    assert np.array_equal(mlflow.pyfunc.load_model("models:/site-load/1").predict(ROWS), expected)
    version = ModelVersion.objects.get()
    assert (str(version), version.format, version.stage) == (
        "alpha:site-load:v1.0.0",
        "lightgbm",
        "production",
    )
    assert version.metrics == {"mae": 1.25, "rmse": 2.0}
    assert version.metadata["hyperparameters"]["num_leaves"] == "7"
    assert version.metadata["mlflow_run_id"] == info.run_id
    assert version.feature_names == models_made.NAMES
    assert version.uploaded_by == "alice"


def test_an_uploaded_folder_of_a_run_is_registered(alice: Principal, connect: Any, tmp_path: Path) -> None:
    client = connect(alice)
    mlflow.lightgbm.save_model(models_made.lightgbm_booster(), str(tmp_path / "saved"))

    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(tmp_path / "saved"), "model")
    assert {file.path for file in client.list_artifacts(run.info.run_id, "model")} >= {
        "model/MLmodel",
        "model/model.lgb",
    }
    registered = mlflow.register_model(
        f"runs:/{run.info.run_id}/model",
        "site-load",
        tags={"omarino.feature_set": "forecast_basic", "omarino.feature_set_version": "1"},
    )

    assert (registered.version, registered.current_stage) == ("1", "Staging")
    assert client.get_model_version("site-load", "1").tags["omarino.model_id"] == "alpha:site-load:v1.0.0"
    said = ModelVersion.objects.get().metadata
    assert (said["feature_set"], said["feature_set_version"]) == ("forecast_basic", 1)


def test_versions_registered_otherwise_are_loaded_as_well(alice: Principal, connect: Any) -> None:
    make_version(alice, version="v2.7.1", artifact=models_made.lightgbm_text(5))
    make_version(
        alice,
        version="v2.8.0",
        artifact=models_made.xgboost_file("ubj"),
        artifact_format="xgboost_ubj",
        stage="production",
    )
    connect(alice)

    first = mlflow.lightgbm.load_model("models:/site-load/1")
    second = mlflow.xgboost.load_model("models:/site-load@production")

    assert np.array_equal(first.predict(ROWS), models_made.lightgbm_booster(5).predict(ROWS))
    frame = xgboost.DMatrix(ROWS)
    assert np.allclose(second.predict(frame), models_made.xgboost_booster().predict(frame))


def test_searching_and_stages(alice: Principal, charlie: Principal, connect: Any) -> None:
    make_version(charlie, name="theirs", artifact=models_made.lightgbm_text(5))
    make_version(alice, version="v1.0.0", artifact=models_made.lightgbm_text(5), stage=Stage.PRODUCTION)
    make_version(alice, version="v1.1.0", artifact=models_made.lightgbm_text(6))
    client = connect(alice)

    client.transition_model_version_stage("site-load", "2", "Production")

    assert [model.name for model in client.search_registered_models()] == ["site-load"]
    assert [model.name for model in client.search_registered_models("name LIKE 'site%'")] == ["site-load"]
    assert [
        (each.version, each.current_stage) for each in client.search_model_versions("name='site-load'")
    ] == [
        ("2", "Production"),
        ("1", "Archived"),
    ]
    assert client.get_registered_model("site-load").aliases == {"production": "2"}
    assert client.get_model_version_by_alias("site-load", "production").version == "2"
    assert [each.version for each in client.get_latest_versions("site-load", ["Archived"])] == ["1"]
    assert Transition.objects.order_by("-id")[0].by == "alice"
    client.delete_registered_model_alias("site-load", "production")
    client.delete_model_version("site-load", "1")
    assert ModelVersion.objects.get(tenant_id="alpha").stage == Stage.ARCHIVED
    assert client.get_registered_model("site-load").aliases == {}
    with pytest.raises(RestException, match="RESOURCE_DOES_NOT_EXIST"):
        client.get_model_version("site-load", "1")


def test_numbers_are_not_given_twice(alice: Principal, connect: Any) -> None:
    client = connect(alice)
    log_model()
    client.delete_model_version("site-load", "1")

    log_model()

    assert [each.version for each in client.search_model_versions("name='site-load'")] == ["2"]


def test_the_gates_hold_for_mlflow_as_well(alice: Principal, connect: Any) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text(5))
    version.model.gates = {"required_metrics": ["mae"]}
    version.model.save()
    client = connect(alice)

    with pytest.raises(RestException, match="has mae") as refusal:
        client.set_registered_model_alias("site-load", "production", "1")

    assert refusal.value.error_code == "INVALID_STATE"
    assert ModelVersion.objects.get().stage == Stage.STAGING


def test_a_pickle_is_refused_with_the_conversion(alice: Principal, connect: Any) -> None:
    connect(alice)
    mlflow.MlflowClient().create_registered_model("site-load")

    with pytest.raises(MlflowException, match=r"skops\.io\.dump"):
        mlflow.sklearn.log_model(
            models_made.ridge(),
            name="model",
            registered_model_name="site-load",
            serialization_format="cloudpickle",
        )

    assert not ModelVersion.objects.exists()


def test_a_damaged_model_is_refused_and_nothing_is_kept(
    alice: Principal, connect: Any, tmp_path: Path
) -> None:
    client = connect(alice)
    (tmp_path / "model.lgb").write_bytes(models_made.lightgbm_text()[:3000])
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(tmp_path), "model")
    client.create_registered_model("site-load")

    with pytest.raises(RestException, match="artifact was refused"):
        client.create_model_version("site-load", f"runs:/{run.info.run_id}/model")

    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "file:///etc",
        "s3://bucket/x",
        "mlflow-artifacts:/runs/../../x",
        "https://example.org/m",
    ],
)
def test_only_what_was_uploaded_here_is_a_source(alice: Principal, connect: Any, source: str) -> None:
    client = connect(alice)
    client.create_registered_model("site-load")

    with pytest.raises(MlflowException):
        client.create_model_version("site-load", source)

    assert not ModelVersion.objects.exists()


def test_a_version_is_named_by_the_next_number_that_is_free(alice: Principal, connect: Any) -> None:
    make_version(alice, version="v2.0.0", artifact=models_made.lightgbm_text(5))
    connect(alice)

    log_model()
    log_model()

    names = ModelVersion.objects.order_by("uploaded_at").values_list("version", flat=True)
    assert list(names) == ["v2.0.0", "v3.0.0", "v4.0.0"]


@pytest.mark.parametrize("path", ["notes", "notes/first.txt/second.txt"])
def test_what_is_a_folder_is_no_file(alice: Principal, connect: Any, path: str) -> None:
    client = connect(alice)
    with mlflow.start_run() as run:
        mlflow.log_text("kept", "notes/first.txt")

        with pytest.raises(Exception, match="422"):
            mlflow.log_text("another", path)

    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/first.txt") == "kept"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["notes"]


def test_runs_and_files_of_another_tenant_are_not_there(
    alice: Principal, charlie: Principal, connect: Any, tmp_path: Path
) -> None:
    connect(alice)
    with mlflow.start_run() as run:
        mlflow.log_text("secret", "note.txt")
    client = connect(charlie)
    client.create_registered_model("site-load")

    for attempt in (
        lambda: client.get_run(run.info.run_id),
        lambda: client.log_metric(run.info.run_id, "mae", 1.0),
        lambda: client.list_artifacts(run.info.run_id),
        lambda: mlflow.artifacts.download_artifacts(
            f"mlflow-artifacts:/runs/{run.info.run_id}/artifacts/note.txt", dst_path=str(tmp_path)
        ),
        lambda: client.create_model_version("site-load", f"runs:/{run.info.run_id}/model"),
    ):
        with pytest.raises(Exception, match=r"RESOURCE_DOES_NOT_EXIST|404"):
            attempt()


def test_reading_is_not_writing(alice: Principal, connect: Any) -> None:
    make_version(alice, artifact=models_made.lightgbm_text(5))
    client = connect(alice, roles=frozenset({AI_USER}))

    assert isinstance(mlflow.lightgbm.load_model("models:/site-load/1"), lightgbm.Booster)
    for attempt in (
        lambda: client.create_registered_model("x"),
        lambda: client.create_run("0"),
        lambda: client.set_registered_model_alias("site-load", "production", "1"),
    ):
        with pytest.raises(RestException, match="PERMISSION_DENIED"):
            attempt()  # type: ignore[no-untyped-call]


def test_what_is_not_offered_says_so(alice: Principal, connect: Any) -> None:
    make_version(alice, artifact=models_made.lightgbm_text(5))
    client = connect(alice)

    with pytest.raises(RestException, match="one alias"):
        client.set_registered_model_alias("site-load", "champion", "1")
    with pytest.raises(RestException, match="RESOURCE_ALREADY_EXISTS"):
        client.create_registered_model("site-load")
    with pytest.raises(RestException, match="Search by name"):
        client.search_registered_models("tags.x = 'y'")
