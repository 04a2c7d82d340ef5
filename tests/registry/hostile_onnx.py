"""Graphs of ONNX that would take far more memory or time than their file says, by the sentence that refuses each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.registry import models_made


def graph_of(nodes: Sequence[Any], *, features: int = 4, label: int = 0, **tensors: Any) -> bytes:
    """From the table `x` to `y`. tensors: initializers, whole numbers as int64, others as float."""
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    weights = [
        numpy_helper.from_array(array.astype(np.int64 if array.dtype.kind == "i" else np.float32), name)
        for name, array in arrays.items()
    ]
    kind = label or TensorProto.FLOAT
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info("y", kind, None)],
        weights,
    )
    model = models_made.onnx_model(graph)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return bytes(model.SerializeToString())


node = helper.make_node


def hungry() -> bytes:
    """Makes as many numbers as the largest of a row says: 4 MB in every trial row, a terabyte in another."""
    return graph_of(
        [
            node("ReduceMax", ["x"], ["most"], keepdims=0),
            node("Cast", ["most"], ["whole"], to=TensorProto.INT64),
            node("Reshape", ["whole", "one"], ["signed"]),
            node("Abs", ["signed"], ["shape"]),
            node("ConstantOfShape", ["shape"], ["huge"]),
            node("ReduceSum", ["huge", "zero"], ["nothing"], keepdims=0),
            node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
            node("Add", ["sum", "nothing"], ["y"]),
        ],
        one=[1],
        zero=[0],
    )


def tree(true: list[int], false: list[int], *, targets: list[int] | None = None) -> bytes:
    """Six nodes, of which the last three are leaves. A row goes to `true` where its value lies under 5, and from the
    first where it lies under -10: no trial row meets both."""
    count = len(true)
    return graph_of(
        [
            node(
                "TreeEnsembleRegressor",
                ["x"],
                ["y"],
                domain="ai.onnx.ml",
                n_targets=1,
                nodes_treeids=[0] * count,
                nodes_nodeids=list(range(count)),
                nodes_featureids=[0] * count,
                nodes_values=[-10.0, 5.0, 5.0, 0.0, 0.0, 0.0],
                nodes_modes=["BRANCH_LEQ"] * 3 + ["LEAF"] * 3,
                nodes_truenodeids=true,
                nodes_falsenodeids=false,
                target_treeids=[0] * 3,
                target_nodeids=[3, 4, 5],
                target_ids=targets or [0] * 3,
                target_weights=[1.0, 2.0, 3.0],
                post_transform="NONE",
                aggregate_function="SUM",
            )
        ]
    )


def growing(times: int) -> list[Any]:
    """A constant of a thousand numbers, each time as many times as large."""
    tiles = [node("Tile", [f"t{index}", "times"], [f"t{index + 1}"]) for index in range(times)]
    return [node("ConstantOfShape", ["shape"], ["t0"]), *tiles]


def ended(name: str) -> list[Any]:
    """One number a row, with the largest of the tensor added."""
    return [
        node("ReduceMax", [name], ["most"], keepdims=0),
        node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
        node("Add", ["sum", "most"], ["y"]),
    ]


def labelled(text: str) -> bytes:
    encoder = node(
        "LabelEncoder",
        ["first"],
        ["y"],
        domain="ai.onnx.ml",
        keys_floats=[123.0],
        values_strings=[text],
        default_string="other",
    )
    return graph_of(
        [node("Gather", ["x", "one"], ["first"], axis=1), encoder], one=[1], label=TensorProto.STRING
    )


def _looping() -> bytes:
    body = helper.make_graph(
        [node("Identity", ["on"], ["still"]), node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    return graph_of([node("Loop", ["often", "", "x"], ["y"], body=body)], often=2**40)


def _sparse() -> bytes:
    values = numpy_helper.from_array(np.ones(1, dtype=np.float32), "wide")
    indices = numpy_helper.from_array(np.zeros(1, dtype=np.int64), "places")
    graph = helper.make_graph(
        ended("wide"),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.ones(1, dtype=np.int64), "one")],
        sparse_initializer=[helper.make_sparse_tensor(values, indices, [100_000_000])],
    )
    return bytes(models_made.onnx_model(graph).SerializeToString())


# a window of the rows that has thousands of them where half as many are asked, and none of all
WINDOW = [
    node("Slice", ["x", "start", "end", "zero"], ["window"]),
    node("Transpose", ["window"], ["turned"]),
    node("MatMul", ["window", "turned"], ["square"]),
]
HUNGRY: dict[str, tuple[bytes, str]] = {
    "as many numbers as a row says": (hungry(), "ConstantOfShape"),
    "a range that a row says": (
        graph_of(
            [
                node("ReduceMax", ["x"], ["end"], keepdims=0),
                node("Range", ["nought", "end", "step"], ["wide"]),
                *ended("wide"),
            ],
            nought=0.0,
            step=1.0,
            one=[1],
        ),
        "Range",
    ),
    "a shape that is computed": (
        graph_of(
            [
                node("ReduceMax", ["x"], ["largest"], keepdims=1),
                node("Cast", ["largest"], ["pair"], to=TensorProto.INT64),
                node("Reshape", ["pair", "one"], ["shape"]),
                node("Expand", ["largest", "shape"], ["wide"]),
                *ended("wide"),
            ],
            one=[1],
        ),
        "Expand",
    ),
    "a loop": (_looping(), "Loop"),
    "rows times rows": (
        graph_of(
            [
                node("Transpose", ["x"], ["turned"]),
                node("MatMul", ["x", "turned"], ["square"]),
                node("Unsqueeze", ["square", "zero"], ["cube"]),
                node("Unsqueeze", ["square", "one"], ["other"]),
                node("Add", ["cube", "other"], ["wide"]),
                *ended("wide"),
            ],
            zero=[0],
            one=[1],
        ),
        "Add",
    ),
    "a window of the rows": (
        graph_of(
            [
                *WINDOW,
                node("Unsqueeze", ["square", "zero"], ["cube"]),
                node("Unsqueeze", ["square", "one"], ["other"]),
                node("Add", ["cube", "other"], ["wide"]),
                *ended("wide"),
            ],
            start=[-1000],
            end=[1000],
            zero=[0],
            one=[1],
        ),
        "Add",
    ),
    "a constant that grows": (
        graph_of([*growing(4), *ended("t4")], shape=[1_000], times=[1_000], one=[1]),
        "Tile",
    ),
    "constants that add up": (
        graph_of(
            [
                *(node("ConstantOfShape", ["shape"], [f"t{index}"]) for index in range(50)),
                node("Sum", [f"t{index}" for index in range(50)], ["wide"]),
                *ended("wide"),
            ],
            shape=[100_000],
            one=[1],
        ),
        "far larger than the file",
    ),
    "wide rows": (
        graph_of([node("Tile", ["x", "times"], ["wide"]), *ended("wide")], times=[1, 10_000], one=[1]),
        "Tile",
    ),
    "targets that nobody has": (
        graph_of(
            [
                node(
                    "LinearRegressor",
                    ["x"],
                    ["wide"],
                    domain="ai.onnx.ml",
                    coefficients=[1.0] * 4,
                    targets=2**40,
                ),
                *ended("wide"),
            ],
            one=[1],
        ),
        "LinearRegressor",
    ),
    "a long name for a class": (labelled("high" * 1_000_000), "LabelEncoder|Gather"),
    "one name for two shapes": (
        graph_of(
            [
                node("Constant", [], ["shape"], value_ints=[1]),
                node("ConstantOfShape", ["shape"], ["wide"]),
                *ended("wide"),
            ],
            shape=[2**40],
            one=[1],
        ),
        "another 'shape'",
    ),
    "the same name of another domain": (
        graph_of([node("Relu", ["x"], ["z"], domain="com.microsoft"), *ended("z")], one=[1]),
        "Relu",
    ),
    "sparse tensors": (_sparse(), "sparse"),
    "nodes that lead to one another": (tree([3, 2, 1, 0, 0, 0], [1, 4, 5, 0, 0, 0]), "leads back"),
    "a leaf of no output": (
        tree([5, 4, 3, 0, 0, 0], [1, 2, 5, 0, 0, 0], targets=[0, -7, 0]),
        "does not exist",
    ),
}
