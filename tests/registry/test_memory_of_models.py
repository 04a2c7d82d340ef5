"""What a model takes beyond its file: refused when it is registered, and bounded when it is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.formats import load
from registry.formats.base import ArtifactRefused, ModelBusy
from registry.formats.onnx_graph import MAX_ROWS
from registry.quarantine import open_apart
from tests.registry.hostile_onnx import HUNGRY, graph_of, hungry, labelled, node, tree

ROWS = np.random.default_rng(5).normal(size=(2 * MAX_ROWS + 3, 4)).astype(np.float32).astype(np.float64)
SUMS = ROWS.sum(axis=1)


@pytest.mark.parametrize(("model", "named"), HUNGRY.values(), ids=HUNGRY)
def test_a_graph_whose_memory_nobody_can_tell_is_refused_by_its_operator(model: bytes, named: str) -> None:
    with pytest.raises(ArtifactRefused, match=named):
        load("onnx", model)


def test_the_refusal_says_what_to_do(tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    artifact.write_bytes(hungry())

    with pytest.raises(ArtifactRefused) as refusal:
        open_apart(artifact, seconds=30, memory_mb=4096)

    assert str(refusal.value) == (
        "The artifact was refused: the operator ConstantOfShape is not taken: what it takes for shape is computed, not "
        "constant. Export it without, with shapes that are constants, or register it as torch.export or Keras, which run "
        "apart."
    )


GRAPHS: dict[str, tuple[bytes, NDArray[np.float64]]] = {
    "a shape of constants": (
        graph_of(
            [
                node("Reshape", ["x", "pairs"], ["p"]),
                node("Reshape", ["p", "back"], ["q"]),
                node("Flatten", ["q"], ["r"]),
                node("ReduceSum", ["r", "one"], ["y"]),
            ],
            pairs=[0, 2, 2],
            back=[-1, 4],
            one=[1],
        ),
        SUMS,
    ),
    "a constant for each row": (  # as skl2onnx writes an intercept
        graph_of(
            [
                node("Shape", ["x"], ["size"]),
                node("Gather", ["size", "zero"], ["rows"]),
                node("Concat", ["rows", "one"], ["shape"], axis=0),
                node("ConstantOfShape", ["shape"], ["noughts"]),
                node("ReduceSum", ["x", "one"], ["sum"]),
                node("Add", ["sum", "noughts"], ["y"]),
            ],
            zero=[0],
            one=[1],
        ),
        SUMS,
    ),
    "parts put together": (
        graph_of(
            [
                node("Slice", ["x", "zero", "two", "one"], ["head"]),
                node("Split", ["x", "halves"], ["a", "b"], axis=1),
                node("Concat", ["head", "b"], ["whole"], axis=1),
                node("Tile", ["whole", "times"], ["wide"]),
                node("ReduceSum", ["wide", "one"], ["double"]),
                node("Div", ["double", "half"], ["y"]),
            ],
            zero=[0],
            one=[1],
            two=[2],
            halves=[2, 2],
            times=[1, 2],
            half=2.0,
        ),
        SUMS,
    ),
    "a tree": (
        tree([5, 4, 3, 0, 0, 0], [1, 2, 5, 0, 0, 0]),
        np.where(ROWS[:, 0] <= -10, 3.0, np.where(ROWS[:, 0] <= 5, 2.0, 3.0)),
    ),
}


@pytest.mark.parametrize(("model", "expected"), GRAPHS.values(), ids=GRAPHS)
def test_what_exporters_write_is_computed_in_parts_as_in_one(
    model: bytes, expected: NDArray[np.float64]
) -> None:
    answer = load("onnx", model).predict(ROWS)

    assert np.allclose(answer.values.astype(np.float64), expected, atol=1e-5)


def test_classes_with_names_are_taken() -> None:
    answer = load("onnx", labelled("high")).predict(np.array([[0.0, 123.0, 0, 0], [0, 1, 0, 0]]))

    assert answer.values.tolist() == ["high", "other"]


def test_what_passed_the_check_meets_an_end_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second wall, had the first a hole."""
    monkeypatch.setattr("registry.formats.onnx_file.check_graph", lambda *_: None)
    model = load("onnx", hungry())
    assert model.predict(np.array([[1.0, 2, 3, 4]])).values.tolist() == [10]

    with pytest.raises(ModelBusy):
        model.predict(np.array([[4e9, 0, 0, 0]]))


def test_a_graph_may_be_of_any_rank_that_is_known() -> None:
    """A scalar constant, a vector, a table: shapes are joined as ONNX joins them."""
    model = graph_of(
        [
            node("Mul", ["x", "scalar"], ["a"]),
            node("Add", ["a", "vector"], ["b"]),
            node("MatMul", ["b", "ones"], ["c"]),
            node("Unsqueeze", ["c", "last"], ["y"]),
        ],
        scalar=2.0,
        vector=[0.0, 0.0, 0.0, 1.0],
        ones=[1.0, 1.0, 1.0, 1.0],
        last=[-1],
    )

    assert np.allclose(load("onnx", model).predict(ROWS).values, 2 * SUMS + 1, atol=1e-4)
