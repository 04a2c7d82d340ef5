"""safetensors: weights without a word of what is done with them. The architecture is declared with the model, one of a
closed list, and computed here by numpy; nothing in the file or the declaration is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load
from scipy.special import erf, expit, softmax

from registry.formats.base import (
    MAX_CLASSES,
    MAX_FEATURES,
    NOTHING,
    ArtifactRefused,
    Declared,
    Prediction,
    Predictor,
    Rows,
    in_parts,
    of_outputs,
    rows_at_once,
)

Floats = NDArray[np.float64]
FUNCTIONS: dict[str, Callable[[Floats], Floats]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": expit,
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x * expit(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),  # PyTorch's slope
}
OUTPUTS: dict[str, Callable[[Floats], Floats]] = {
    **FUNCTIONS,
    "softmax": lambda x: softmax(x, axis=1),
    "softplus": lambda x: np.logaddexp(x, 0),
}
HOW = (
    'Declare metadata.architecture, such as {"kind": "mlp", "layers": ["0", "2"], "activation": "relu", "output": '
    '"identity"}: layers are the names before .weight and .bias, in their order.'
)


class NetworkPredictor(Predictor):
    """A multilayer perceptron: x -> activation(x W' + b), layer by layer, in float64."""

    format = "safetensors"

    def __init__(self, content: bytes, declared: Declared = NOTHING) -> None:
        if declared.architecture is None:
            raise ArtifactRefused(reason=f"its weights do not say what is done with them. {HOW}")
        said = declared.architecture
        self._activation = FUNCTIONS[said.get("activation", "relu")]
        self._output = OUTPUTS[said.get("output", "identity")]
        self._layers = _layers(_tensors(content), said["layers"])
        self.feature_count = self._layers[0][0].shape[0]
        if not 1 <= self.feature_count <= MAX_FEATURES:
            raise ArtifactRefused(
                reason=f"it takes {self.feature_count} features; 1 to {MAX_FEATURES} may be."
            )
        if declared.class_labels:
            self.task, self.class_labels = "classification", declared.class_labels

    def predict(self, rows: Rows) -> Prediction:
        return in_parts(self._answer, rows, rows_at_once(self.feature_count))

    def _answer(self, rows: Rows) -> Prediction:
        values = rows
        for weights, bias in self._layers[:-1]:
            values = self._activation(values @ weights + bias)
        weights, bias = self._layers[-1]
        return of_outputs(self._output(values @ weights + bias), self.class_labels)


def _tensors(content: bytes) -> dict[str, Floats]:
    try:
        found: dict[str, NDArray[Any]] = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ArtifactRefused(reason=f"safetensors cannot read it ({str(fault)[:200]}).") from fault
    if wrong := sorted(name for name, tensor in found.items() if tensor.dtype.kind != "f"):
        raise ArtifactRefused(reason=f"the tensor {wrong[0][:80]!r} holds no floats.")
    return {name: np.ascontiguousarray(tensor, dtype=np.float64) for name, tensor in found.items()}


def _layers(tensors: dict[str, Floats], names: list[str]) -> list[tuple[Floats, Floats]]:
    """Weights, shape (in, out), and bias of each layer. Raises ArtifactRefused where they do not fit one another."""
    layers: list[tuple[Floats, Floats]] = []
    for name in names:
        weights, bias = tensors.pop(f"{name}.weight", None), tensors.pop(f"{name}.bias", None)
        if weights is None or weights.ndim != 2:
            raise ArtifactRefused(reason=f"there is no table {name[:80]}.weight in it. {HOW}")
        if bias is None:
            bias = np.zeros(len(weights))
        if bias.shape != (len(weights),):
            raise ArtifactRefused(reason=f"{name[:80]}.bias does not fit its weight.")
        if layers and layers[-1][0].shape[1] != weights.shape[1]:
            raise ArtifactRefused(
                reason=f"the layer {name[:80]!r} does not take what the one before it gives."
            )
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ArtifactRefused(reason=f"the layer {name[:80]!r} holds numbers that are not finite.")
        layers.append((np.ascontiguousarray(weights.T), bias))
    if tensors:
        raise ArtifactRefused(
            reason=f"it holds {sorted(tensors)[0][:80]!r}, which the declared architecture has no place for."
        )
    if layers[-1][0].shape[1] > MAX_CLASSES:
        raise ArtifactRefused(reason=f"it answers more than {MAX_CLASSES} values a row.")
    return layers


def problems_of(metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is wrong with `architecture` and `class_labels`, by field.

    >>> problems_of({"architecture": {"kind": "transformer"}})["architecture"][0][:34]
    'An object of kind, layers, activat'
    """
    wrong: dict[str, list[str]] = {}
    said, labels = metadata.get("architecture"), metadata.get("class_labels")
    if said is not None and not _is_architecture(said):
        wrong["architecture"] = [
            'An object of kind, layers, activation and output: kind is "mlp", layers are 1 to 100 names, activation is '
            f"one of {', '.join(FUNCTIONS)}, output one of {', '.join(OUTPUTS)}."
        ]
    if labels is not None and not _are_labels(labels):
        wrong["class_labels"] = [
            f"2 to {MAX_CLASSES} whole numbers, or as many texts of 1 to 64 characters, each once."
        ]
    return wrong


def _is_architecture(said: Any) -> bool:
    if not isinstance(said, dict) or set(said) - {"kind", "layers", "activation", "output"}:
        return False
    names = said.get("layers")
    if not isinstance(names, list) or not 1 <= len(names) <= 100 or len({*map(str, names)}) != len(names):
        return False
    return (
        said.get("kind") == "mlp"
        and all(isinstance(name, str) and 0 < len(name) <= 256 for name in names)
        and all(isinstance(said.get(part, "relu"), str) for part in ("activation", "output"))
        and said.get("activation", "relu") in FUNCTIONS
        and said.get("output", "identity") in OUTPUTS
    )


def _are_labels(labels: Any) -> bool:
    if not isinstance(labels, list) or not 2 <= len(labels) <= MAX_CLASSES:
        return False
    are_texts = all(isinstance(label, str) and 0 < len(label) <= 64 for label in labels)
    are_numbers = all(type(label) is int and abs(label) < 2**53 for label in labels)
    return (are_texts or are_numbers) and len(set(labels)) == len(labels)
