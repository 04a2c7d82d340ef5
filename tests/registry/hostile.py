"""Artifacts that mean harm. Each would make the file `proof` if anything in it were executed."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skops.io
from onnx import TensorProto, helper
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor

from tests.registry import models_made

Made = Callable[[Path], bytes]


class _Runs:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def pickled(protocol: int) -> Made:
    return lambda proof: pickle.dumps(_Runs(proof), protocol)


def dumped_by_joblib(compress: Any) -> Made:
    def make(proof: Path) -> bytes:
        buffer = io.BytesIO()
        joblib.dump(_Runs(proof), buffer, compress=compress)
        return buffer.getvalue()

    return make


def in_zip(name: str, *, beside: dict[str, bytes] | None = None) -> Made:
    def make(proof: Path) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as container:
            container.writestr(name, pickle.dumps(_Runs(proof)))
            for other, content in (beside or {}).items():
                container.writestr(other, content)
        return buffer.getvalue()

    return make


def packed(pack: Callable[[bytes], bytes]) -> Made:
    return lambda proof: pack(pickle.dumps(_Runs(proof)))


def array_of_objects(proof: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Runs(proof)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def in_tar(proof: Path) -> bytes:
    content, buffer = pickle.dumps(_Runs(proof)), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as container:
        entry = tarfile.TarInfo("model.pkl")
        entry.size = len(content)
        container.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


PICKLES: dict[str, Made] = {
    **{f"protocol {protocol}": pickled(protocol) for protocol in range(6)},
    "joblib": dumped_by_joblib(0),
    **{f"joblib {kind}": dumped_by_joblib((kind, 3)) for kind in ("zlib", "gzip", "bz2", "xz", "lzma")},
    "in a zip": in_zip("model.pkl"),
    "in a zip by another name": in_zip("weights.bin"),
    "beside a skops schema": in_zip("x.npy", beside={"schema.json": b"{}"}),
    "in a keras container": in_zip("model.weights.h5", beside={"config.json": b"{}", "metadata.json": b"{}"}),
    "as torch does": in_zip("archive/data.pkl", beside={"archive/version": b"3\n"}),
    "gzip": packed(gzip.compress),
    "zlib": packed(zlib.compress),
    "bz2": packed(bz2.compress),
    "xz": packed(lzma.compress),
    "in an array": array_of_objects,
}


# skops


def skops_with(
    schema: Callable[[dict[str, Any]], None], model: Callable[[], bytes] = models_made.skops_ridge
) -> Made:
    """A skops file whose schema was edited."""

    def make(proof: Path) -> bytes:
        source, buffer = zipfile.ZipFile(io.BytesIO(model())), io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as container:
            for name in source.namelist():
                content = source.read(name)
                if name == "schema.json":
                    said = json.loads(content)
                    schema(said)
                    content = json.dumps(said).encode()
                container.writestr(name, content)
        return buffer.getvalue()

    return make


def _names_a_function(schema: dict[str, Any]) -> None:
    schema["__class__"], schema["__module__"], schema["__loader__"] = "system", "posix", "TypeNode"


def skops_function(proof: Path) -> bytes:
    return bytes(skops.io.dumps(FunctionTransformer(os.system)))


def skops_wild_tree(proof: Path) -> bytes:
    """A tree whose children lie far outside it: scikit-learn follows them without looking."""
    tree = DecisionTreeRegressor(max_depth=3).fit(*models_made.data())
    state = tree.tree_.__getstate__()
    state["nodes"]["left_child"][0] = 2**40
    tree.tree_.__setstate__(state)
    return bytes(skops.io.dumps(tree))


def skops_circle(proof: Path) -> bytes:
    tree = DecisionTreeRegressor(max_depth=3).fit(*models_made.data())
    state = tree.tree_.__getstate__()
    state["nodes"]["left_child"][1] = 0
    tree.tree_.__setstate__(state)
    return bytes(skops.io.dumps(tree))


def skops_neighbours(proof: Path) -> bytes:
    return bytes(skops.io.dumps(KNeighborsRegressor().fit(*models_made.data())))


def skops_bomb(proof: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr("schema.json", b"{}")
        for index in range(12):
            container.writestr(f"{index}.npy", bytes(100_000_000))
    return buffer.getvalue()


def skops_climbing(proof: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        container.writestr(
            "schema.json", json.dumps({"__loader__": "NdArrayNode", "file": "../../../etc/passwd"})
        )
        container.writestr("../../../../tmp/climbed", b"x")
    return buffer.getvalue()


# LightGBM


def edited(pattern: bytes, to: bytes) -> Made:
    def make(proof: Path) -> bytes:
        text = models_made.lightgbm_text()
        changed = re.sub(pattern, to, text, count=1)
        assert changed != text
        return changed

    return make


LIGHTGBM: dict[str, Made] = {
    "cut in a tree": lambda _: models_made.lightgbm_text()[:3000],
    "cut in the header": lambda _: models_made.lightgbm_text()[:60],
    "cut at its end": lambda _: models_made.lightgbm_text().partition(b"end of trees")[0],
    "a child far away": edited(rb"left_child=1", b"left_child=9"),
    "a child that is its parent": edited(rb"left_child=1", b"left_child=0"),
    "a leaf that is not there": edited(rb"right_child=(.*) -(\d)", rb"right_child=\1 -8"),
    "a feature that is not there": edited(rb"split_feature=0", b"split_feature=9"),
    "a negative feature": edited(rb"split_feature=0 ", b"split_feature=- "),
    "more leaves than values": edited(rb"num_leaves=7", b"num_leaves=9"),
    "fewer leaves": edited(rb"num_leaves=7", b"num_leaves=2"),
    "a billion leaves": edited(rb"num_leaves=7", b"num_leaves=1000000000"),
    "sizes that mislead": edited(rb"tree_sizes=\d+", b"tree_sizes=99999999"),
    "no sizes": edited(rb"tree_sizes=[^\n]*\n", b""),
    "many classes": edited(rb"num_class=1", b"num_class=1000"),
    "many trees a round": edited(rb"num_tree_per_iteration=1", b"num_tree_per_iteration=7"),
    "many features": edited(rb"max_feature_idx=3", b"max_feature_idx=2000000000"),
    "a category without sets": edited(rb"decision_type=2", b"decision_type=1"),
    "linear leaves": edited(rb"is_linear=0", b"is_linear=1"),
    "words for numbers": edited(rb"threshold=\S+", b"threshold=%n%n%n%n"),
}

# The rest


def xgboost_edited(change: Callable[[dict[str, Any]], None]) -> Made:
    def make(proof: Path) -> bytes:
        said = json.loads(models_made.xgboost_file())
        change(said["learner"])
        return json.dumps(said).encode()

    return make


def _wild_child(learner: dict[str, Any]) -> None:
    learner["gradient_booster"]["model"]["trees"][0]["left_children"][0] = 10**6


def _wild_feature(learner: dict[str, Any]) -> None:
    learner["gradient_booster"]["model"]["trees"][0]["split_indices"][0] = 10**6


def _circle(learner: dict[str, Any]) -> None:
    learner["gradient_booster"]["model"]["trees"][0]["left_children"][1] = 0


def onnx_elsewhere(proof: Path) -> bytes:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1, 2])
    weights.ClearField("float_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [weights],
    )
    return bytes(models_made.onnx_model(graph).SerializeToString())


def onnx_unknown_operator(proof: Path) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Shell", ["x"], ["y"], domain="evil")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    return bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("evil", 1)], ir_version=10
        ).SerializeToString()
    )


def keras_with(name: str, change: Callable[[bytes], bytes], kind: str = "regression") -> Made:
    """A file of Keras with one part changed."""

    def make(proof: Path) -> bytes:
        source, buffer = zipfile.ZipFile(io.BytesIO(models_made.keras_network(kind)[0])), io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as container:
            for part in source.namelist():
                content = source.read(part)
                container.writestr(part, change(content) if part == name else content)
        return buffer.getvalue()

    return make


def safetensors_lying(proof: Path) -> bytes:
    """A tensor that claims to be far larger than the file."""
    head = {"0.weight": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
    said = json.dumps(head).encode()
    return struct.pack("<Q", len(said)) + said + bytes(16)


OTHERS: dict[str, Made] = {
    "empty": lambda _: b"",
    "text": lambda _: b"import os; os.system('true')",
    "zeros": lambda _: bytes(100_000),
    "an ELF program": lambda _: Path("/bin/true").read_bytes()[:50_000],
    "a tar of a pickle": in_tar,
    "a cut zip": lambda _: models_made.skops_ridge()[:200],
    "a gzip bomb": lambda _: gzip.compress(bytes(50_000_000)),
    "skops: a function": skops_with(_names_a_function),
    "skops: os.system": skops_function,
    "skops: a tree that leads outside": skops_wild_tree,
    "skops: a tree in a circle": skops_circle,
    "skops: neighbours": skops_neighbours,
    "skops: a bomb": skops_bomb,
    "skops: names that climb": skops_climbing,
    "xgboost: cut json": lambda _: models_made.xgboost_file()[:-500],
    "xgboost: cut ubj": lambda _: models_made.xgboost_file("ubj")[:-500],
    "xgboost: a wild child": xgboost_edited(_wild_child),
    "xgboost: a wild feature": xgboost_edited(_wild_feature),
    "xgboost: a circle": xgboost_edited(_circle),
    "xgboost: a length of 2^60": lambda _: b"{L" + struct.pack(">q", 2**60) + b"learner",
    "onnx: weights elsewhere": onnx_elsewhere,
    "onnx: an unknown operator": onnx_unknown_operator,
    "safetensors: claims that lie": safetensors_lying,
    "safetensors: nobody says what they are": lambda _: models_made.safetensors_network(),
    "keras: cut weights": keras_with("model.weights.h5", lambda content: content[:3000]),
    "keras: a bomb for weights": keras_with("model.weights.h5", lambda _: bytes(300_000_000)),
    "keras: a layer of a billion": keras_with(
        "config.json", lambda content: content.replace(b'"units": 6', b'"units": 1000000000')
    ),
    "keras: no table for input": keras_with("config.json", lambda content: content, "cube"),
    "onnx: cut": lambda _: models_made.onnx_linear()[:-5],
}
