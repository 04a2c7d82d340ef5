"""Formats that are recognised and kept, though nothing here runs them."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from typing import Any

import pytest

from omarino.authentication import Principal
from registry.formats import ArtifactRefused, sniff
from tests.conftest import ClientOf

DENSE = {
    "class_name": "Sequential",
    "module": "keras",
    "config": {"layers": [{"class_name": "Dense", "module": "keras.layers"}]},
}


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


def safetensors() -> bytes:
    head = json.dumps(
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"a": "b"}}
    ).encode()
    return len(head).to_bytes(8, "little") + head + bytes(8)


PICKLED = pickle.dumps({"a": [1, 2]}, 2)
KEPT = {
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
    "safetensors": safetensors(),
    "keras": keras(DENSE),
}


@pytest.mark.parametrize("name", list(KEPT))
@pytest.mark.django_db
def test_it_is_recognised_registered_and_says_how_to_be_served(
    alice: Principal, client_of: ClientOf, name: str
) -> None:
    client = client_of(alice)

    registered = client.post(
        "/ai/models/register",
        {
            "tenant_id": "alpha",
            "model_name": "deep",
            "version": "v1.0.0",
            "metadata": {"framework": "torch", "feature_names": ["a"]},
            "model_file": base64.b64encode(KEPT[name]).decode(),
        },
    )
    predicted = client.post("/ai/models/alpha:deep:v1.0.0/predict", {"input": {"a": 1}})

    assert registered.status_code == 201, registered.json()
    assert "ONNX" in registered.json()["message"]
    assert client.get("/ai/models/alpha:deep:v1.0.0").json()["format"] == name
    assert (predicted.status_code, predicted.json()["code"]) == (409, "not_served")
    assert client.get("/ai/models/alpha:deep:v1.0.0/artifact").getvalue() == KEPT[name]


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
