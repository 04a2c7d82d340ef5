"""What every format gives: a predictor over arrays. Arrays in, arrays out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omarino.errors import HubError, Outage

Rows = NDArray[np.float64]  # shape (n, features); NaN is a missing value
Task = Literal["regression", "classification"]
MAX_FEATURES = 20_000
MAX_CLASSES = 1_000
MAX_DEPTH = 512  # deeper trees would exhaust the stack of a thread when contributions are computed
ROWS_AT_ONCE, NUMBERS_AT_ONCE = 16_384, 2_097_152  # so many rows, or numbers in them, are answered at once


class ArtifactRefused(HubError):
    """The bytes are not a model that may be loaded here."""

    status = 422
    code = "artifact_refused"
    title = "Artifact refused"
    detail = "The artifact was refused: {reason}"


class PickleRefused(ArtifactRefused):
    code = "pickle_refused"


class NotAdditive(HubError):
    status = 422
    code = "importance_unavailable"
    title = "Unprocessable content"
    detail = (
        "A {format} model gives no additive importance while predicting. Leave includeFeatureImportance out."
    )


class NotConfined(HubError):
    status = 409
    code = "not_confined"
    title = "Not confined"
    detail = (
        "A {format} model holds code, which runs only in a process that cannot reach files or the network, and this "
        "machine lets no such process be made. Register it as ONNX, or run the service where seccomp is allowed."
    )


class ModelBusy(Outage):
    code = "model_busy"
    detail = "The process that runs this model answers others at this moment. Send it again shortly."


@dataclass(frozen=True, slots=True)
class Declared:
    """What is said of a file that does not say it itself, when it is registered."""

    architecture: Mapping[str, Any] | None = None
    class_labels: tuple[Any, ...] = ()
    feature_count: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "class_labels": list(self.class_labels)}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Declared:
        return cls(said["architecture"], tuple(said["class_labels"]), said["feature_count"])


NOTHING = Declared()


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a process that runs a model apart: seconds of each answer, on the clock and of the processor, and memory."""

    seconds: int = 30
    memory_mb: int = 4096


@dataclass(frozen=True, slots=True)
class Prediction:
    """values: shape (n,), numbers or class labels. probabilities: shape (n, classes), or None."""

    values: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Contributions:
    """values: shape (n, features); base: shape (n,). Their sum is the raw score of the predicted output:
    the value itself, or the log-odds of a class."""

    values: NDArray[np.float64]
    base: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Portrait:
    """What was found when an artifact was opened apart. `extra` names what serves it when that is not installed."""

    format: str
    task: str = ""
    feature_names: list[str] = field(default_factory=list)  # empty: the file names none
    feature_count: int | None = None  # None: it could not be opened here
    class_labels: list[Any] = field(default_factory=list)
    takes_missing: bool = False
    additive: bool = False
    memory_bytes: int = 0  # what it grew the process that opened it
    extra: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Predictor(ABC):
    """A loaded model. `predict` leaves it as it was and may be called by several threads at once."""

    format: str
    task: Task = "regression"
    feature_names: tuple[str, ...] = ()
    feature_count: int
    class_labels: tuple[Any, ...] = ()
    additive = False
    is_over = False  # it cannot answer any more and must be loaded anew

    @abstractmethod
    def __init__(self, content: bytes, declared: Declared = NOTHING) -> None:
        """Read the bytes. Raises ArtifactRefused for what is damaged, not fitted or not trusted."""

    @abstractmethod
    def predict(self, rows: Rows) -> Prediction:
        """The predictions of rows, shape (n, feature_count), columns in the model's order."""

    def contributions(self, rows: Rows) -> Contributions:
        """What each feature adds. Raises NotAdditive where the format cannot tell fast."""
        raise NotAdditive(format=self.format)


def rows_at_once(features: int) -> int:
    """As many as a model is tried with when it is registered, and asked with later.

    >>> rows_at_once(20), rows_at_once(20_000)
    (16384, 104)
    """
    return min(ROWS_AT_ONCE, max(NUMBERS_AT_ONCE // features, 1))


def in_parts(ask: Callable[[Rows], Prediction], rows: Rows, most: int) -> Prediction:
    """The answer to many rows from those to a few at a time, so that what a model needs for each is not needed for
    all."""
    if len(rows) <= most:
        return ask(rows)
    parts = [ask(rows[first : first + most]) for first in range(0, len(rows), most)]
    tables = [part.probabilities for part in parts if part.probabilities is not None]
    return Prediction(
        np.concatenate([part.values for part in parts]),
        np.concatenate(tables) if len(tables) == len(parts) else None,
    )


def check_parts(classes: int, features: int) -> None:
    """What explains a row has a number for each feature in each class. Raises ArtifactRefused for too many."""
    if classes * (features + 1) > NUMBERS_AT_ONCE:
        raise ArtifactRefused(
            reason=f"{classes:,} classes of {features:,} features take more than {NUMBERS_AT_ONCE:,} numbers to explain a "
            "row. Train it on fewer features."
        )


def explained_in_parts(ask: Callable[[Rows], Contributions], rows: Rows, classes: int) -> Contributions:
    """As `in_parts`, by as many rows as make no more numbers than are asked about at once."""
    most = max(NUMBERS_AT_ONCE // (max(classes, 1) * (rows.shape[1] + 1)), 1)
    if len(rows) <= most:
        return ask(rows)
    parts = [ask(rows[first : first + most]) for first in range(0, len(rows), most)]
    return Contributions(
        np.concatenate([part.values for part in parts]), np.concatenate([part.base for part in parts])
    )


def of_classes(probabilities: NDArray[np.float64], labels: tuple[Any, ...]) -> Prediction:
    """The most probable class of each row. `probabilities` has the shape (n, classes)."""
    return Prediction(np.array(labels)[probabilities.argmax(axis=1)], probabilities)


def of_outputs(outputs: NDArray[np.float64], labels: tuple[Any, ...]) -> Prediction:
    """What a network puts out, shape (n,) or (n, width), as numbers, or as probabilities where classes are declared.

    >>> of_outputs(np.array([[0.25], [0.75]]), ("low", "high")).values.tolist()
    ['low', 'high']
    >>> of_outputs(np.array([[1.0, 2.0]]), ())
    Traceback (most recent call last):
    ValueError: the model answers 2 values a row; declare its metadata.class_labels if they are probabilities
    """
    table = outputs.reshape(len(outputs), -1) if outputs.ndim != 2 else outputs
    if not labels:
        if table.shape[1] != 1:
            raise ValueError(
                f"the model answers {table.shape[1]} values a row; declare its metadata.class_labels "
                "if they are probabilities"
            )
        return Prediction(table[:, 0])
    if table.shape[1] == 1 and len(labels) == 2:
        table = np.column_stack([1 - table[:, 0], table[:, 0]])
    if table.shape[1] != len(labels):
        raise ValueError(
            f"the model answers {table.shape[1]} values a row, and {len(labels)} classes are declared"
        )
    if not (np.allclose(table.sum(axis=1), 1, atol=1e-3) and (table >= -1e-6).all()):
        raise ValueError("what the model answers are no probabilities of classes")
    return of_classes(table, labels)


def of_predicted_class(parts: NDArray[np.float64], best: NDArray[np.intp], features: int) -> Contributions:
    """From (n, classes, features + 1), the last column the base, what explains each row's own class."""
    chosen = parts[np.arange(best.size), best]
    return Contributions(chosen[:, :features], chosen[:, features])
