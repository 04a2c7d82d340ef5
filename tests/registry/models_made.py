"""Real models of each format, trained once a run: y = 2 a + b, or its sign, on four features."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import lightgbm
import numpy as np
import onnx
import safetensors.numpy
import skops.io
import xgboost
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NAMES = ["a", "b", "c", "d"]


@lru_cache
def data() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = np.random.default_rng(3).normal(size=(400, 4))
    return rows, 2 * rows[:, 0] + rows[:, 1]


@lru_cache
def lightgbm_booster(rounds: int = 20, objective: str = "regression") -> lightgbm.Booster:
    rows, target = data()
    classes = {"binary": target > 0, "multiclass": np.digitize(target, [-1, 1])}
    parameters = {"verbosity": -1, "num_threads": 1, "num_leaves": 7, "objective": objective, "seed": 1}
    if objective == "multiclass":
        parameters["num_class"] = 3
    dataset = lightgbm.Dataset(rows, classes.get(objective, target), feature_name=NAMES)
    return lightgbm.train(parameters, dataset, num_boost_round=rounds)


def lightgbm_text(rounds: int = 20, objective: str = "regression") -> bytes:
    return bytes(lightgbm_booster(rounds, objective).model_to_string().encode())


@lru_cache
def ridge() -> Ridge:
    return make_pipeline(StandardScaler(), Ridge()).fit(*data())


def skops_ridge() -> bytes:
    return bytes(skops.io.dumps(ridge()))


@lru_cache
def logistic() -> LogisticRegression:
    rows, target = data()
    return LogisticRegression().fit(rows, np.where(target > 0, "high", "low"))


def skops_logistic() -> bytes:
    return bytes(skops.io.dumps(logistic()))


@lru_cache
def xgboost_booster() -> xgboost.Booster:
    rows, target = data()
    parameters = {"max_depth": 3, "nthread": 1, "objective": "reg:squarederror"}
    return xgboost.train(parameters, xgboost.DMatrix(rows, target), 8)


def xgboost_file(kind: str = "json") -> bytes:
    return bytes(xgboost_booster().save_raw(kind))


def onnx_linear() -> bytes:
    """y = 1 a + 2 b + 3"""
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    graph = helper.make_graph(
        [node],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1, 2]),
            helper.make_tensor("b", TensorProto.FLOAT, [1], [3]),
        ],
    )
    return bytes(onnx_model(graph).SerializeToString())


def onnx_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def network_tensors() -> dict[str, NDArray[np.float32]]:
    """Four features, a hidden layer of five, one output, named as torch.nn.Sequential names them."""
    random = np.random.default_rng(7)
    shapes = {"0.weight": (5, 4), "0.bias": (5,), "2.weight": (1, 5), "2.bias": (1,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def safetensors_network() -> bytes:
    return bytes(safetensors.numpy.save(network_tensors()))


KERAS = """
import json, sys
import keras, numpy as np
keras.utils.set_random_seed(1)
rows = np.array(json.loads(sys.argv[2]), dtype="float32")
kind = sys.argv[3]
last = keras.layers.Dense(3, activation="softmax") if kind == "classes" else keras.layers.Dense(1)
shape = (3, 4) if kind == "cube" else (4,)
hidden = [keras.layers.Dense(6, activation="relu"), keras.layers.BatchNormalization()]
model = keras.Sequential([keras.Input(shape), *hidden, last])
model.save(sys.argv[1])
print(json.dumps([] if kind == "cube" else np.asarray(model(rows)).tolist()))
"""


@lru_cache
def keras_network(kind: str = "regression") -> tuple[bytes, list[list[float]]]:
    """A model saved by Keras, and what Keras itself says of the first three rows of `data`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        command = [sys.executable, "-c", KERAS, str(path), json.dumps(data()[0][:3].tolist()), kind]
        said = subprocess.run(
            command, env={**os.environ, "KERAS_BACKEND": "numpy"}, capture_output=True, text=True, check=True
        ).stdout
        return path.read_bytes(), json.loads(said.splitlines()[-1])


KERAS_WEIGHTED = """
import json, sys
import keras, numpy as np
weights = np.array(json.loads(sys.argv[2]), dtype="float32")
layer = keras.layers.Dense(1)
model = keras.Sequential([keras.Input(weights.shape), layer])
layer.set_weights([weights[:, None], np.zeros(1, dtype="float32")])
model.save(sys.argv[1])
"""


def keras_weighted(weights: list[float]) -> bytes:
    """A model saved by Keras that answers the weighted sum of its features."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        command = [sys.executable, "-c", KERAS_WEIGHTED, str(path), json.dumps(weights)]
        subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "numpy"}, capture_output=True, check=True)
        return path.read_bytes()
