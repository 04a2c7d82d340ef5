"""POST /ai/explain/global, and what a worker answers later."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explanations.actions import work_out
from explanations.models import Explanation
from omarino.authentication import Principal
from registry.models import ModelVersion
from tests.conftest import ClientOf
from tests.explanations.test_explain_a_model import ROW, assert_adds_up
from tests.factories import make_readings, make_version
from tests.registry import models_made
from tests.workers import Worker, running_worker, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
URL, GLOBAL = "/ai/explain", "/ai/explain/global"


@pytest.fixture
def worker(transactional_db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with running_worker(tmp_path_factory.mktemp("worker")) as worker:
        yield worker


@pytest.fixture
def folder(settings: Any) -> None:
    """The worker reads models where the tests' own settings keep them."""


def ask(client: Any, **said: Any) -> Any:
    body = {"tenant_id": "alpha", "model_name": "site-load", **said}
    return client.post(GLOBAL, {name: value for name, value in body.items() if value is not None})


def dataset(size: int = 200) -> list[dict[str, float]]:
    rows, _ = models_made.data()
    return [dict(zip("abcd", row, strict=True)) for row in rows[:size].tolist()]


def catalogued(owner: Principal) -> ModelVersion:
    """A LightGBM model of three features that are computed here."""
    version = make_version(
        owner, artifact=models_made.lightgbm_text(), metadata={"feature_set": "forecast_basic"}
    )
    names = ["lag_1h", "lag_24h", "hour_of_day", "is_weekend"]
    ModelVersion.objects.filter(pk=version.pk).update(feature_names=names)
    return version


def test_a_dataset_is_answered_at_once(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())

    response = ask(client_of(alice), dataset=dataset(), dataset_sample_size=200)

    answer = response.json()
    assert response.status_code == 200
    rows, _ = models_made.data()
    own = np.asarray(models_made.lightgbm_booster().predict(rows[:200], pred_contrib=True))[:, :4]
    by_name = {each["feature_name"]: each for each in answer["global_importances"]}
    for k, name in enumerate("abcd"):
        assert by_name[name]["mean_abs_shap"] == pytest.approx(np.abs(own[:, k]).mean(), rel=1e-9)
        assert by_name[name]["mean_shap"] == pytest.approx(own[:, k].mean(), rel=1e-9, abs=1e-12)
    assert [each["importance_rank"] for each in answer["global_importances"]] == [1, 2, 3, 4]
    assert answer["global_importances"][0]["feature_name"] == "a"  # y = 2 a + b
    assert answer["samples_analyzed"] == 200


def test_a_larger_dataset_is_sampled_by_seed(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())
    first = ask(client_of(alice), dataset=dataset()).json()

    assert first["samples_analyzed"] == 100
    assert ask(client_of(alice), dataset=dataset()).json() == first


def test_without_a_dataset_rows_come_from_stored_readings(alice: Principal, client_of: ClientOf) -> None:
    catalogued(alice)
    make_readings(alice, np.random.default_rng(0).normal(0, 1, 24 * 40))

    first = ask(client_of(alice), dataset_sample_size=150).json()
    again = ask(client_of(alice), dataset_sample_size=150).json()

    assert first["samples_analyzed"] == 150
    assert first["metadata"]["rows_from"] == "drawn by seed 0 from stored readings of main-meter"
    assert again == first
    make_readings(alice, [3.0], asset_id="main-meter")  # another reading: other rows, another answer
    assert ask(client_of(alice), dataset_sample_size=150).json()["explanation_id"] != first["explanation_id"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "no asset has readings"),
        ({"asset_id": "nowhere"}, "there is no asset 'nowhere'"),
    ],
)
def test_without_rows_to_draw_it_says_what_to_do(
    alice: Principal, client_of: ClientOf, said: dict[str, Any], reason: str
) -> None:
    catalogued(alice)

    problem = ask(client_of(alice), **said).json()

    assert (problem["status"], problem["code"]) == (422, "no_background")
    assert reason in problem["detail"]
    assert "Send a dataset" in problem["detail"]


def test_another_tenants_readings_are_not_drawn(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    catalogued(alice)
    make_readings(charlie, np.arange(24.0 * 40), asset_id="of-gamma")

    assert ask(client_of(alice), asset_id="of-gamma").json()["code"] == "no_background"
    assert ask(client_of(alice)).json()["code"] == "no_background"


def test_features_nobody_computes_here_are_named(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())

    assert "a, b, c, d is no feature" in ask(client_of(alice)).json()["detail"]


def test_a_dataset_with_a_wrong_row_is_refused_by_name(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())

    problem = ask(client_of(alice), dataset=[ROW, {"a": 1, "b": 1, "c": 1}]).json()

    assert (problem["code"], problem["missing_features"], problem["row"]) == ("input_refused", ["d"], 1)
    assert ask(client_of(alice), dataset=[]).json()["code"] == "validation_failed"
    assert ask(client_of(alice), dataset=dataset(1) * 1001).json()["code"] == "validation_failed"


# What a worker answers


def onnx(owner: Principal) -> ModelVersion:
    return make_version(owner, artifact=models_made.onnx_linear(), artifact_format="onnx")


def around() -> list[dict[str, float]]:
    return [{"f0": float(x), "f1": float(-x)} for x in range(-5, 6)]


def test_a_model_that_can_only_be_asked_is_explained_by_a_worker(
    worker: Worker, alice: Principal, client_of: ClientOf
) -> None:
    """y = f0 + 2 f1 + 3 against a background about nought: 10 and 200 are added to 3."""
    onnx(alice)
    client = client_of(alice)
    body = {"tenant_id": "alpha", "model_name": "site-load", "input_features": {"f0": 10, "f1": 100}}

    response = client.post(URL, {**body, "background": around()})

    assert response.status_code == 202
    waiting = response.json()
    assert (waiting["status"], waiting["progress"]) == ("pending", 0.0)
    assert (
        client.post(URL, {**body, "background": around()}).json()["explanation_id"]
        == waiting["explanation_id"]
    )
    wait_until(lambda: Explanation.objects.get(pk=waiting["explanation_id"]).is_over, log=worker.log)
    answer = client.get(f"{URL}/{waiting['explanation_id']}").json()
    assert answer["status"] == "completed", answer
    assert_adds_up(answer)
    by_name = {part["feature_name"]: part["contribution"] for part in answer["feature_importances"]}
    assert by_name == {"f0": pytest.approx(10, rel=1e-5), "f1": pytest.approx(200, rel=1e-5)}
    about = answer["metadata"]
    assert (about["base_value"], about["prediction_value"]) == (
        pytest.approx(3, abs=1e-4),
        pytest.approx(213),
    )
    assert about["samples_used"] == 11
    assert about["background"] == "the mean answer over 11 rows"
    assert "permutation" in about["explanation_method"]
    assert Explanation.objects.get().question == {}


def test_a_global_one_over_many_rows_as_well(worker: Worker, alice: Principal, client_of: ClientOf) -> None:
    onnx(alice)

    response = ask(client_of(alice), dataset=around())

    assert response.status_code == 202
    wait_until(lambda: Explanation.objects.get().is_over, log=worker.log)
    answer = client_of(alice).get(f"{URL}/{response.json()['explanation_id']}").json()
    by_name = {each["feature_name"]: each["mean_abs_shap"] for each in answer["global_importances"]}
    sizes = np.abs(np.arange(-5, 6)).mean()  # of f0; f1 counts twice
    assert by_name == {"f0": pytest.approx(sizes, rel=1e-4), "f1": pytest.approx(2 * sizes, rel=1e-4)}


def test_what_fails_in_the_worker_says_why(alice: Principal, client_of: ClientOf) -> None:
    onnx(alice)
    waiting = ask(client_of(alice), dataset=around()).json()
    ModelVersion.objects.all().delete()

    work_out(explanation_id=waiting["explanation_id"], by_asking=_never)

    answer = client_of(alice).get(f"{URL}/{waiting['explanation_id']}").json()
    assert answer["status"] == "failed"
    assert "nothing here" in answer["error"]
    again = ask(client_of(alice), dataset=around())
    assert again.status_code == 404  # the model is gone


def test_a_message_that_comes_twice_or_late_changes_nothing(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text())
    made = ask(client_of(alice), dataset=dataset()).json()

    work_out(explanation_id=made["explanation_id"], by_asking=_never)
    work_out(explanation_id=str(uuid.uuid4()), by_asking=_never)

    assert client_of(alice).get(f"{URL}/{made['explanation_id']}").json() == made


def test_a_slow_forest_is_left_to_the_worker(
    worker: Worker, alice: Principal, client_of: ClientOf, tmp_path: Path
) -> None:
    from sklearn.ensemble import RandomForestRegressor
    from skops.io import dumps

    forest = RandomForestRegressor(60, n_jobs=1, random_state=0).fit(*models_made.data())
    make_version(alice, artifact=dumps(forest), artifact_format="skops")
    rows, _ = models_made.data()
    many = [dict(zip(("f0", "f1", "f2", "f3"), row, strict=True)) for row in np.tile(rows, (2, 1)).tolist()]

    response = ask(client_of(alice), dataset=many, dataset_sample_size=800)

    assert response.status_code == 202
    wait_until(lambda: Explanation.objects.get().is_over, log=worker.log)
    answer = client_of(alice).get(f"{URL}/{response.json()['explanation_id']}").json()
    assert answer["status"] == "completed", answer
    assert answer["samples_analyzed"] == 800


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("nothing is asked here")
