"""Long works as somebody asks for them: an export, a training and an explanation that a worker has to do."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from itertools import count
from typing import Any

from celery import Celery
from onnx import TensorProto, helper

from tests.chaos.product import Product, eventually
from tests.registry import models_made

DEVICE = "server-1"
SAMPLES = 51_000  # more than are learned from within a request
YEAR = {"start_time": "2021-01-01T00:00:00Z", "end_time": "2022-01-01T00:00:00Z"}
TABLES = {
    "export": "feature_exports",
    "training": "registry_trainingrun",
    "explanation": "explanations_explanation",
}
TASKS = {
    "export": "features.write_export",
    "training": "registry.train",
    "explanation": "explanations.explain",
}
NAMES = [f"f{number}" for number in range(200)]  # so many that asking takes a while
ASKED = count(1)


@dataclass(frozen=True, slots=True)
class Work:
    kind: str
    id: str
    product: Product

    @property
    def row(self) -> tuple[str, int, str]:
        """Status, attempts, error."""
        query = f"SELECT status, attempts, error FROM {TABLES[self.kind]} WHERE id = %s"  # noqa: S608  of ours
        ((status, attempts, error),) = self.product.sql(query, self.id)
        return status, attempts, error

    @property
    def status(self) -> str:
        return self.row[0]

    def wait_for_end(self) -> None:
        eventually(lambda: self.status in ("completed", "failed"))

    def deliver(self) -> None:
        """The message that asks for it, once more."""
        assert self.product.servers is not None
        services = self.product.servers.services
        broker = f"redis://:{services.redis_password}@127.0.0.1:{services.redis_port}/1"
        with Celery(broker=broker) as queue:
            queue.send_task(TASKS[self.kind], args=[self.id])

    def check_done_once(self) -> None:
        """Completed; and what came of it is there, once and whole."""
        status, _, error = self.row
        assert (status, error) == ("completed", "")
        CHECKS[self.kind](self)


def ask_for_export(product: Product) -> Work:
    body = {"tenant_id": "demo", "feature_set": "forecast_advanced", **YEAR}
    answer = product.ask("POST", "/ai/features/export", json=body)
    assert answer.status_code == 202, answer.text
    return Work("export", answer.json()["export_id"], product)


def ask_for_training(product: Product) -> Work:
    answer = product.ask("POST", f"/ml/anomalies/train/{DEVICE}?hours=432")
    assert answer.status_code == 202, answer.text
    return Work("training", answer.json()["run_id"], product)


def ask_for_explanation(product: Product) -> Work:
    """Of a model that can only be asked: shap is imported and asks it many times. Each is another one, since what was
    explained once is answered at once."""
    body = {
        "tenant_id": "demo",
        "model_name": "asked",
        "input_features": dict.fromkeys(NAMES, float(next(ASKED))),
        "background": [dict.fromkeys(NAMES, 0.1 * number) for number in range(50)],
        "max_samples": 1000,
    }
    answer = product.ask("POST", "/ai/explain", json=body)
    assert answer.status_code == 202, answer.text
    return Work("explanation", answer.json()["explanation_id"], product)


def prepare(product: Product) -> None:
    """A device with enough readings, and a model; again changes nothing."""
    model = {
        "tenant_id": "demo",
        "model_name": "asked",
        "version": "v1.0.0",
        "model_type": "forecast",
        "metadata": {"framework": "onnx", "feature_names": NAMES},
        "model_file": base64.b64encode(wide_model()).decode(),
    }
    assert product.ask("POST", "/ai/models/register", json=model).status_code in (201, 409)
    first = {"timestamp": "2025-01-01T00:00:00Z", "values": {"cpu_usage": 20.0, "memory_usage_percent": 40.0}}
    told = {"tenant_id": "demo", "asset_id": DEVICE, "readings": [first]}
    assert product.ask("POST", "/ai/features/readings", json=told).status_code in (200, 201)
    product.sql(
        "INSERT INTO timeseries_data (tenant_id, asset_id, metric, timestamp, value) "
        "SELECT 'demo', %s, m, '2025-01-01Z'::timestamptz + s * interval '30 s', 40 + 20 * sin(s / 458.0) + random() "
        "FROM generate_series(1, %s) s, unnest(ARRAY['cpu_usage', 'memory_usage_percent']) m "
        "ON CONFLICT DO NOTHING",
        DEVICE,
        SAMPLES,
    )


def wide_model() -> bytes:
    """The sum of its features."""
    count = len(NAMES)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "ones"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", count])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("ones", TensorProto.FLOAT, [count, 1], [1.0] * count)],
    )
    return bytes(models_made.onnx_model(graph).SerializeToString())


def _check_export(work: Work) -> None:
    ((digest, size),) = work.product.sql(
        "SELECT sha256, file_size_bytes FROM feature_exports WHERE id = %s", work.id
    )
    content = work.product.ask("GET", f"/ai/features/exports/{work.id}/download").content
    assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest)


def _check_training(work: Work) -> None:
    made = work.product.sql(
        "SELECT stage FROM registry_modelversion WHERE metadata->>'training_run' = %s", work.id
    )
    assert len(made) == 1, f"{len(made)} versions were made of one training"
    assert work.product.ask("GET", f"/ml/anomalies/detect/{DEVICE}?hours=24").status_code == 200


def _check_explanation(work: Work) -> None:
    answer: dict[str, Any] = work.product.ask("GET", f"/ai/explain/{work.id}").json()
    total = sum(part["contribution"] for part in answer["feature_importances"])
    about = answer["metadata"]
    assert abs(about["base_value"] + total - about["prediction_value"]) < 1e-3


CHECKS = {"export": _check_export, "training": _check_training, "explanation": _check_explanation}
