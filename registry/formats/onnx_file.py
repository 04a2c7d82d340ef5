"""ONNX, run by onnxruntime on the processor with one thread."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from registry.formats.base import (
    MAX_FEATURES,
    ArtifactRefused,
    ModelBusy,
    Prediction,
    Predictor,
    Rows,
    in_parts,
    of_classes,
)
from registry.formats.onnx_graph import NO_TABLE, check_graph, most_rows

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
ARENA_IS_FULL = "smaller than requested bytes"
ARENA_BYTES = 1_073_741_824  # of tensors that all models of a process make at one moment
NUMBERS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
RUNTIME_FAULTS = (
    faults.Fail,
    faults.InvalidArgument,
    faults.InvalidGraph,
    faults.InvalidProtobuf,
    faults.NotImplemented,
    faults.NoSuchFile,
    faults.RuntimeException,
)


class ONNXPredictor(Predictor):
    format = "onnx"

    def __init__(self, content: bytes) -> None:
        _check(content)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except RUNTIME_FAULTS as fault:
            raise ArtifactRefused(reason=f"onnxruntime cannot read it ({str(fault)[:200]}).") from fault
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in NUMBERS or len(inputs[0].shape) != 2:
            raise ArtifactRefused(reason=NO_TABLE)
        self._input, self._number = inputs[0].name, NUMBERS[inputs[0].type]
        if isinstance(inputs[0].shape[0], int):
            raise ArtifactRefused(
                reason="its number of rows is fixed; export it with a free first dimension."
            )
        features = inputs[0].shape[1]
        if not isinstance(features, int) or not 1 <= features <= MAX_FEATURES:
            raise ArtifactRefused(reason="its input does not say how many features it has.")
        self.feature_count = features
        outputs = self.session.get_outputs()
        self._outputs = [output.name for output in outputs[:2]]
        if "int64" in outputs[0].type or "string" in outputs[0].type:
            self.task = "classification"
            self._learn_classes()

    def _learn_classes(self) -> None:
        label, scores = self._run(np.zeros((1, self.feature_count)))
        if isinstance(scores, list):  # a ZipMap: one dictionary a row
            self.class_labels = tuple(scores[0])
        elif scores is not None and np.asarray(label).dtype.kind in "iu":
            self.class_labels = tuple(range(np.asarray(scores).shape[1]))

    def _run(self, rows: Rows) -> tuple[Any, Any]:
        try:
            answer = self.session.run(self._outputs, {self._input: rows.astype(self._number)})
        except RUNTIME_FAULTS as fault:
            if ARENA_IS_FULL in str(fault):
                raise ModelBusy() from fault
            raise ValueError(str(fault)[:200]) from fault
        return answer[0], answer[1] if len(answer) > 1 else None

    def predict(self, rows: Rows) -> Prediction:
        return in_parts(self._answer, rows, most_rows(self.feature_count))

    def _answer(self, rows: Rows) -> Prediction:
        first, scores = self._run(rows)
        values = np.asarray(first).reshape(len(rows), -1)
        if values.shape[1] != 1:
            raise ValueError(f"the model answers {values.shape[1]} values a row, not one")
        if self.task == "regression":
            return Prediction(values[:, 0].astype(np.float64))
        if not self.class_labels:
            return Prediction(values[:, 0])
        if isinstance(scores, list):
            table = np.array(
                [[row[label] for label in self.class_labels] for row in scores], dtype=np.float64
            )
        else:
            table = np.asarray(scores, dtype=np.float64)
        is_probability = bool(np.allclose(table.sum(axis=1), 1, atol=1e-3) and (table >= 0).all())
        if not is_probability:  # the decision values of an outlier detector, say
            return Prediction(values[:, 0])
        return Prediction(values[:, 0], of_classes(table, self.class_labels).probabilities)


def _check(content: bytes) -> None:
    try:
        model = onnx.load_from_string(content)
    except DecodeError as fault:
        raise ArtifactRefused(reason="it is a damaged ONNX file.") from fault
    if len(model.functions) or any(operators.domain not in DOMAINS for operators in model.opset_import):
        raise ArtifactRefused(reason="it needs operators beyond ONNX's own.")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            raise ArtifactRefused(reason="its weights lie in another file; save it as one.")
        if math.prod(max(size, 0) for size in tensor.dims) * 8 > 8 * len(content) + 8:
            raise ArtifactRefused(reason="a tensor claims more numbers than the file can hold.")
    check_graph(model.graph, len(content))


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t


def _bound_memory() -> None:
    """What the graphs of a process make at one moment comes out of one arena, which ends: a second wall behind
    `check_graph`. Weights lie outside of it."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, faults.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(
        memory, onnxruntime.OrtArenaCfg({"max_mem": ARENA_BYTES, "arena_extend_strategy": 1})
    )


_bound_memory()
