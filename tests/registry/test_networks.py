"""Networks: weights with a declared architecture, Keras, and PyTorch where it is not installed."""

from __future__ import annotations

import base64
import io
import json
import pickle
import signal
import time
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from omarino.authentication import Principal
from registry.formats import ArtifactRefused, Declared, Limits, load, sniff
from registry.serving import CACHE
from registry.tables import ARROW
from tests.conftest import ClientOf
from tests.registry import models_made


def packed(parts: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as container:
        for name, content in parts.items():
            container.writestr(name, content)
    return sink.getvalue()


def keras(config: Any) -> bytes:
    return packed(
        {"metadata.json": b"{}", "config.json": json.dumps(config).encode(), "model.weights.h5": b"\x89HDF"}
    )


PICKLED = pickle.dumps({"a": [1, 2]}, 2)
TORCH = {
    "torchscript": packed(
        {
            "net/data.pkl": PICKLED,
            "net/constants.pkl": PICKLED,
            "net/code/__torch__.py": b"class Net: ...",
            "net/version": b"3",
        }
    ),
    "torch_export": packed(
        {"net/archive_format": b"pt2", "net/models/model.json": b"{}", "net/data/w.pkl": PICKLED}
    ),
}
MLP = {"kind": "mlp", "layers": ["0", "2"], "activation": "tanh"}


def body(content: bytes, *, version: str = "v1.0.0", **metadata: Any) -> dict[str, Any]:
    return {
        "tenant_id": "alpha",
        "model_name": "deep",
        "version": version,
        "metadata": {"framework": "any", **metadata},
        "model_file": base64.b64encode(content).decode(),
    }


def rows_asked(count: int = 3) -> list[dict[str, float]]:
    rows, _ = models_made.data()
    return [dict(zip(models_made.NAMES, row, strict=True)) for row in rows[:count].tolist()]


def by_hand(rows: Any, activation: Any = np.tanh) -> Any:
    found = {name: tensor.astype(float) for name, tensor in models_made.network_tensors().items()}
    hidden = activation(rows @ found["0.weight"].T + found["0.bias"])
    return (hidden @ found["2.weight"].T + found["2.bias"])[:, 0]


@pytest.mark.django_db
def test_weights_are_served_by_the_architecture_that_is_declared(
    alice: Principal, client_of: ClientOf
) -> None:
    client, content = client_of(alice), models_made.safetensors_network()
    registered = client.post(
        "/ai/models/register", body(content, architecture=MLP, feature_names=models_made.NAMES)
    )
    assert registered.status_code == 201, registered.json()

    answer = client.post("/ai/models/alpha:deep:v1.0.0/batch-predict", {"inputs": rows_asked()})

    assert answer.status_code == 200, answer.json()
    got = answer.json()["predictions"]
    np.testing.assert_allclose(got, by_hand(models_made.data()[0][:3]), rtol=1e-9)


@pytest.mark.django_db
def test_the_same_weights_declared_otherwise_are_another_model(alice: Principal, client_of: ClientOf) -> None:
    """Both lie in one cache; the digest of the bytes alone would answer one for the other."""
    client, content = client_of(alice), models_made.safetensors_network()
    for version, activation in (("v1.0.0", "tanh"), ("v2.0.0", "sigmoid")):
        said = body(content, version=version, architecture={**MLP, "activation": activation})
        assert client.post("/ai/models/register", said).status_code == 201

    rows = {"inputs": [dict(zip(["f0", "f1", "f2", "f3"], [1.0, 2.0, 3.0, 4.0], strict=True))]}
    got = [
        client.post(f"/ai/models/alpha:deep:{version}/batch-predict", rows).json()["predictions"][0]
        for version in ("v1.0.0", "v2.0.0", "v1.0.0")
    ]

    row = np.array([[1.0, 2.0, 3.0, 4.0]])
    tanh, sigmoid = by_hand(row)[0], by_hand(row, lambda x: 1 / (1 + np.exp(-x)))[0]
    np.testing.assert_allclose(got, [tanh, sigmoid, tanh], rtol=1e-9)


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        (None, "Declare metadata.architecture"),
        ({**MLP, "layers": ["0"]}, "has no place for"),
        ({**MLP, "layers": ["2", "0"]}, "does not take what the one before it gives"),
        ({**MLP, "layers": ["0", "3"]}, "no table 3.weight"),
    ],
)
def test_weights_that_do_not_fit_their_declaration_are_refused(architecture: Any, said: str) -> None:
    with pytest.raises(ArtifactRefused, match=said):
        load("safetensors", models_made.safetensors_network(), Declared(architecture))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("architecture", {"kind": "mlp", "layers": ["0"], "activation": "__import__('os')"}),
        ("architecture", {"kind": "mlp", "layers": "0"}),
        ("architecture", {"kind": "mlp", "layers": ["0"], "code": "x"}),
        ("class_labels", ["only one"]),
        ("class_labels", [1, "mixed"]),
        ("class_labels", [[1], [2]]),
    ],
)
def test_a_declaration_is_of_a_closed_list(
    alice: Principal, client_of: ClientOf, field: str, wrong: Any
) -> None:
    answer = client_of(alice).post(
        "/ai/models/register", body(models_made.safetensors_network(), **{field: wrong})
    )

    assert answer.status_code == 422, answer.json()
    assert field in json.dumps(answer.json())


@pytest.mark.django_db
def test_keras_answers_what_keras_answers(alice: Principal, client_of: ClientOf) -> None:
    """By row, by column and by Arrow; and again after its process has died."""
    client = client_of(alice)
    content, own = models_made.keras_network()
    expected = [row[0] for row in own]
    registered = client.post("/ai/models/register", body(content, feature_names=models_made.NAMES))
    assert registered.status_code == 201, registered.json()
    address = "/ai/models/alpha:deep:v1.0.0/batch-predict"

    by_row = client.post(address, {"inputs": rows_asked()}).json()
    np.testing.assert_allclose(by_row["predictions"], expected, atol=1e-6)

    (predictor,) = (kept.predictor for kept in CACHE._kept.values())
    assert CACHE.sizes().popitem()[1] > 50_000_000  # what its process takes
    process = predictor._process  # type: ignore[attr-defined]
    process.kill()
    process.wait()
    columns = {name: [row[name] for row in rows_asked()] for name in models_made.NAMES}
    by_column = client.post(address, {"columns": columns}).json()
    np.testing.assert_allclose(by_column["predictions"], expected, atol=1e-6)

    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = client.generic(
        "POST", address, sink.getvalue().to_pybytes(), content_type=ARROW, HTTP_ACCEPT=ARROW
    )
    got = pa.ipc.open_stream(answer.content).read_all().column("prediction").to_numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_process_that_does_not_answer_is_ended_and_another_takes_its_place() -> None:
    content, own = models_made.keras_network("classes")
    declared, limits = Declared(class_labels=("low", "mid", "high")), Limits(2, 4096)
    predictor = load("keras", content, declared, limits)
    rows = models_made.data()[0][:3]
    found = predictor.predict(rows)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, own, atol=1e-6)
    assert set(found.values) <= {"low", "mid", "high"}

    process = predictor._process  # type: ignore[attr-defined]
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(ValueError, match="longer than 2 s"):
        predictor.predict(rows)

    assert time.monotonic() - began < 20
    assert predictor.is_over
    with pytest.raises(ValueError, match="ended"):
        predictor.predict(rows)


@pytest.mark.django_db
@pytest.mark.parametrize("name", list(TORCH))
def test_without_its_runtime_it_is_registered_and_names_the_extra(
    alice: Principal, client_of: ClientOf, name: str
) -> None:
    client = client_of(alice)

    registered = client.post("/ai/models/register", body(TORCH[name], feature_names=["a"]))
    predicted = client.post("/ai/models/alpha:deep:v1.0.0/predict", {"input": {"a": 1}})

    assert registered.status_code == 201, registered.json()
    assert "'torch'" in registered.json()["message"]
    assert client.get("/ai/models/alpha:deep:v1.0.0").json()["format"] == name
    assert (predicted.status_code, predicted.json()["code"]) == (409, "runtime_missing")
    assert client.get("/ai/models/alpha:deep:v1.0.0/artifact").getvalue() == TORCH[name]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (packed({"net/data.pkl": PICKLED, "net/version": b"3"}), "is a pickle"),  # torch.save
        (keras({"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda"}]}}), "Lambda"),
        (keras({"class_name": "Net", "module": "os"}), "module 'os'"),
        (keras({"class_name": "Net", "module": "mine.layers"}), "not Keras's own"),
        (packed({"metadata.json": b"{}", "config.json": b"{", "model.weights.h5": b""}), "damaged"),
        ((10**6).to_bytes(8, "little") + b"{}", "not known"),
        ((2).to_bytes(8, "little") + b"{}", "not known"),
        ((4).to_bytes(8, "little") + b'{"a"' + b"x" * 8, "not known"),
    ],
)
def test_code_and_half_files_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(ArtifactRefused, match=said):
        sniff(content)
