"""PyTorch's torch.export and TorchScript. Both hold programs, and pickles that PyTorch reads by rules of its own: only
for a process that is confined."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from abc import abstractmethod
from typing import Any

import numpy as np

# PyTorch asks for these folders when it is imported, and there is none that can be written to.
tempfile.tempdir = os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/"

import torch
import torch.export

from registry.formats.base import (
    MAX_FEATURES,
    NOTHING,
    ArtifactRefused,
    Declared,
    Prediction,
    Predictor,
    Rows,
    of_outputs,
)

NUMBERS = (torch.float32, torch.float64)
FAULTS = (
    *(ValueError, TypeError, LookupError, AttributeError, OSError, RuntimeError, ImportError, AssertionError),
    *(EOFError, SyntaxError),
)


class _TorchPredictor(Predictor):
    _number = torch.float32

    def __init__(self, content: bytes, declared: Declared = NOTHING) -> None:
        try:
            self._module, features = self._open(content, declared)
        except FAULTS as fault:
            raise ArtifactRefused(reason=f"PyTorch cannot read it ({str(fault)[:200]}).") from fault
        if not 1 <= features <= MAX_FEATURES:
            raise ArtifactRefused(reason=f"it takes {features} features; 1 to {MAX_FEATURES} may be.")
        self.feature_count = features
        if declared.class_labels:
            self.task, self.class_labels = "classification", declared.class_labels

    @abstractmethod
    def _open(self, content: bytes, declared: Declared) -> tuple[Any, int]:
        """What is called with rows, and the number of features."""

    def predict(self, rows: Rows) -> Prediction:
        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(rows).to(self._number))
        if not isinstance(outputs, torch.Tensor):
            raise ValueError("the model answers no tensor")
        return of_outputs(outputs.to(torch.float64).numpy().astype(np.float64), self.class_labels)


class ExportedPredictor(_TorchPredictor):
    format = "torch_export"

    def _open(self, content: bytes, declared: Declared) -> tuple[Any, int]:
        program = _quietly(torch.export.load, io.BytesIO(content))
        inputs = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
        taken = [inputs.get(str(name)) for name in program.graph_signature.user_inputs]
        if len(taken) != 1 or not isinstance(taken[0], torch.Tensor) or taken[0].ndim != 2:
            raise ArtifactRefused(reason="it must take one input: a table, (rows, features).")
        rows, features = taken[0].shape
        if isinstance(rows, int):
            raise ArtifactRefused(
                reason="its number of rows is fixed; export it with dynamic_shapes=({0: torch.export.Dim('rows')},)."
            )
        if not isinstance(features, int) or taken[0].dtype not in NUMBERS:
            raise ArtifactRefused(reason="its input must be floats and say how many features it has.")
        self._number = taken[0].dtype
        return program.module(check_guards=False), features  # guards are a text that would be executed


class TorchScriptPredictor(_TorchPredictor):
    format = "torchscript"

    def _open(self, content: bytes, declared: Declared) -> tuple[Any, int]:
        if declared.feature_count is None:
            raise ArtifactRefused(
                reason="TorchScript does not say how many features it takes; name them: metadata.feature_names."
            )
        module = _quietly(torch.jit.load, io.BytesIO(content), map_location="cpu").eval()
        first = next((parameter.dtype for parameter in module.parameters()), torch.float32)
        self._number = first if first in NUMBERS else torch.float32
        return module, declared.feature_count


def _quietly(load: Any, *arguments: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and says so each time
        return load(*arguments, **options)


def _warm_up() -> None:
    """What PyTorch imports on first use it imports now: later no file can be opened."""
    sink = io.BytesIO()
    rows = torch.export.Dim("rows")
    example = (torch.zeros(2, 1),)
    torch.export.save(torch.export.export(torch.nn.Linear(1, 1), example, dynamic_shapes=({0: rows},)), sink)
    ExportedPredictor(sink.getvalue()).predict(np.zeros((2, 1)))


torch.set_num_threads(1)
_quietly(_warm_up)
