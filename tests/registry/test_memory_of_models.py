"""What a model takes beyond its file: refused when it is registered, and bounded when it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import skops.io
from numpy.typing import NDArray
from sklearn.decomposition import NMF, TruncatedSVD
from sklearn.impute import KNNImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, OneHotEncoder, PolynomialFeatures

from omarino.authentication import Principal
from registry.formats import load
from registry.formats.base import ArtifactRefused, ModelBusy
from registry.formats.onnx_graph import MAX_ROWS
from registry.quarantine import open_apart
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made
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


def _fitted(steps: list[Any], rows: NDArray[np.float64]) -> bytes:
    return bytes(skops.io.dumps(make_pipeline(*steps).fit(rows, np.arange(float(len(rows))))))


def _projected(steps: list[Any], rows: NDArray[np.float64]) -> bytes:
    """As one-hot columns times a sparse matrix: nothing of a row of unknown categories, a million numbers of another."""
    made = make_pipeline(*steps).fit(rows, np.arange(float(len(rows))))
    made[1].components_ = scipy.sparse.csr_matrix(made[1].components_)
    return bytes(skops.io.dumps(made))


CATEGORIES = np.repeat([[7.0], [8.0], [9.0]], 40, axis=1)
READINGS = np.abs(np.random.default_rng(6).normal(size=(60, 4)))
ESTIMATORS: dict[str, tuple[Callable[[], bytes], str]] = {
    "polynomials of categories": (
        lambda: _fitted([OneHotEncoder(handle_unknown="ignore"), PolynomialFeatures(2), Ridge()], CATEGORIES),
        "PolynomialFeatures of degree 2 makes more than 2,048 columns",
    ),
    "polynomials of a high degree": (
        lambda: _fitted([PolynomialFeatures(14), LinearRegression()], READINGS),
        "PolynomialFeatures of degree 14",
    ),
    "a search without an end": (
        lambda: _fitted([MinMaxScaler(clip=True), NMF(2, max_iter=300), Ridge()], READINGS),
        "NMF is not taken; convert the model to ONNX",
    ),
    "neighbours of what is missing": (
        lambda: _fitted([KNNImputer(), Ridge()], READINGS),
        "KNNImputer is not taken",
    ),
    "a sparse matrix": (
        lambda: _projected([OneHotEncoder(handle_unknown="ignore"), TruncatedSVD(2), Ridge()], CATEGORIES),
        "not trusted: scipy.sparse",
    ),
}


@pytest.mark.parametrize(("made", "named"), ESTIMATORS.values(), ids=ESTIMATORS)
def test_an_estimator_whose_memory_or_time_no_trial_tells_is_refused_by_name(
    made: Callable[[], bytes], named: str
) -> None:
    with pytest.raises(ArtifactRefused, match=named):
        load("skops", made())


def test_an_estimator_that_makes_much_of_each_row_is_refused_by_the_trial(tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    steps = [KBinsDiscretizer(n_bins=2, encode="ordinal"), RBFSampler(n_components=20_000), Ridge()]
    artifact.write_bytes(_fitted(steps, READINGS))

    with pytest.raises(ArtifactRefused, match="cannot predict 16,384 rows at once in 256 MiB"):
        open_apart(artifact, seconds=60, memory_mb=4096)


def test_many_rows_are_answered_in_parts_as_in_one() -> None:
    rows = np.random.default_rng(8).normal(size=(40_000, 4))

    answer = load("skops", models_made.skops_logistic()).predict(rows)

    assert answer.values.tolist() == models_made.logistic().predict(rows).tolist()
    assert answer.probabilities is not None
    assert np.array_equal(answer.probabilities, models_made.logistic().predict_proba(rows))


def xgboost_chain(depth: int) -> bytes:
    """Each node leads to a leaf and to the next node."""
    said = json.loads(models_made.xgboost_file())
    count = 2 * depth + 1
    left, right, parents = ([-1] * count for _ in range(3))
    parents[0] = 2**31 - 1
    for level in range(depth):
        left[2 * level], right[2 * level] = 2 * level + 1, 2 * level + 2
        parents[2 * level + 1] = parents[2 * level + 2] = 2 * level
    tree = said["learner"]["gradient_booster"]["model"]["trees"][0]
    tree.update(left_children=left, right_children=right, parents=parents)
    tree.update({name: [0] * count for name in ("split_indices", "split_type", "default_left")})
    tree.update({name: [1.0] * count for name in ("split_conditions", "base_weights", "loss_changes")})
    tree["sum_hessian"] = [1.0] * count
    tree["tree_param"]["num_nodes"] = str(count)
    return json.dumps(said).encode()


def test_a_tree_of_xgboost_may_be_so_deep_and_no_deeper() -> None:
    """20,000 levels took 3.3 GB to explain one row."""
    assert load("xgboost_json", xgboost_chain(511)).contributions(ROWS[:1]).values.shape == (1, 4)

    with pytest.raises(ArtifactRefused, match="tree 0 is deeper than 512 levels"):
        load("xgboost_json", xgboost_chain(512))


def lightgbm_of(classes: int, features: int) -> bytes:
    """Each class has one tree, which is one leaf."""
    tree = "num_leaves=1\nnum_cat=0\nleaf_value=0.5\nis_linear=0\nshrinkage=1\n\n\n"
    trees = [f"Tree={index}\n{tree}" for index in range(classes)]
    head = {
        "num_class": classes,
        "num_tree_per_iteration": classes,
        "label_index": 0,
        "max_feature_idx": features - 1,
        "objective": f"multiclass num_class:{classes}",
        "feature_names": " ".join(f"f{index}" for index in range(features)),
        "feature_infos": " ".join(["[0:1]"] * features),
        "tree_sizes": " ".join(str(len(text)) for text in trees),
    }
    said = "".join(f"{name}={value}\n" for name, value in head.items())
    return f"tree\nversion=v4\n{said}\n{''.join(trees)}end of trees\n".encode()


def test_classes_times_features_of_a_booster_are_bounded() -> None:
    """A thousand classes of 20,000 features are 160 MB of numbers to explain one row, in a file of 400 kB."""
    model = load("lightgbm", lightgbm_of(100, 1_000))
    explained = model.contributions(np.zeros((50, 1_000)))
    assert (explained.values.shape, explained.base.shape) == ((50, 1_000), (50,))
    assert np.allclose(explained.base, 0.5)

    with pytest.raises(ArtifactRefused, match=r"1,000 classes of 20,000 features take more than 2,097,152"):
        load("lightgbm", lightgbm_of(1_000, 20_000))


@pytest.mark.django_db
def test_a_batch_whose_classes_would_fill_a_process_is_refused_with_how_many_may_be_sent(
    alice: Principal, client_of: ClientOf
) -> None:
    version = make_version(alice, artifact=lightgbm_of(1_000, 1))
    path = f"/ai/models/{version}/batch-predict"

    refused = client_of(alice).post(path, {"columns": {"f0": [0.5] * 4_195}})
    taken = client_of(alice).post(path, {"columns": {"f0": [0.5] * 10}})

    assert (refused.status_code, refused.json()["code"]) == (422, "input_refused")
    assert (
        "4,195 rows are too many for a model of 1,000 classes. Send at most 4,194" in refused.json()["detail"]
    )
    assert (taken.status_code, taken.json()["count"]) == (200, 10)
