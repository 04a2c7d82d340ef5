"""Forests of scikit-learn as LightGBM's text, whose own TreeSHAP is exact, in float64, and needs no shap.

Lundberg et al. (2020), Nature Machine Intelligence 2:56, algorithm 2: at each node the share of training
weight says how often a row without the feature would go which way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from registry.formats.base import MAX_DEPTH
from registry.formats.trees import is_endless

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AVERAGED = (RandomForestRegressor, RandomForestClassifier, ExtraTreesRegressor, ExtraTreesClassifier)
SINGLE = (DecisionTreeRegressor, DecisionTreeClassifier)  # ExtraTree* are theirs
BOOSTED = (GradientBoostingRegressor, GradientBoostingClassifier)
BY_HISTOGRAM = (HistGradientBoostingRegressor, HistGradientBoostingClassifier)
MOST_NODES = 4_000_000  # of all outputs; as LightGBM's text each takes some hundred bytes for a moment
LARGEST_WEIGHT = 2_000_000_000  # LightGBM counts in 32 bits
NAN_IS_MISSING, DEFAULT_LEFT = 2 << 2, 2


class NotConvertible(Exception):
    """It is a forest, but not one LightGBM's trees can say."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A binary tree in arrays by node. left, right: -1 at a leaf. value: of leaves. weight: of training rows."""

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats  # x <= threshold goes left
    missing_left: NDArray[np.bool_]
    value: Floats
    weight: Ints


@dataclass(frozen=True, slots=True)
class Forest:
    """start + the sum of the trees' leaves is the raw output. is_float32: rows are rounded to it before."""

    trees: list[Tree]
    start: float
    is_float32: bool

    @property
    def cost(self) -> float:
        """Leaves times squared depth, which TreeSHAP's time grows with."""
        return float(sum((tree.left < 0).sum() * _depth(tree) ** 2 for tree in self.trees))


def forests_of(estimator: Any) -> list[Forest] | None:
    """One forest for each output (classes; one for a number or two classes boosted); None for no forest.

    Raises NotConvertible for categorical splits, weights that are no whole numbers, a start that differs
    from row to row, or more nodes or levels than a process can explain.
    """
    found = _read(estimator)
    for tree in found[0].trees if found else ():
        if is_endless(np.column_stack([tree.left, tree.right]), np.array([0])):
            raise NotConvertible(f"a tree is deeper than {MAX_DEPTH} levels")
    return found


def _refuse_many(trees: list[Any], outputs: int) -> None:
    if outputs * sum(int(tree.node_count) for tree in trees) > MOST_NODES:
        raise NotConvertible(f"it has more than {MOST_NODES:,} nodes")


def _read(estimator: Any) -> list[Forest] | None:
    if isinstance(estimator, AVERAGED):
        members = [member.tree_ for member in estimator.estimators_]
        _refuse_many(members, _outputs(members[0]))
        return [
            Forest([_of_sklearn(tree, output, 1 / len(members)) for tree in members], 0.0, True)
            for output in range(_outputs(members[0]))
        ]
    if isinstance(estimator, SINGLE):
        tree = estimator.tree_
        _refuse_many([tree], _outputs(tree))
        return [Forest([_of_sklearn(tree, output, 1.0)], 0.0, True) for output in range(_outputs(tree))]
    if isinstance(estimator, BOOSTED):
        _refuse_many([stage.tree_ for stage in estimator.estimators_.ravel()], 1)
        starts = _starts(estimator)
        return [
            Forest(
                [
                    _of_sklearn(stage.tree_, 0, estimator.learning_rate)
                    for stage in estimator.estimators_[:, k]
                ],
                starts[k],
                True,
            )
            for k in range(estimator.estimators_.shape[1])
        ]
    if isinstance(estimator, BY_HISTOGRAM):
        baseline = np.ravel(estimator._baseline_prediction)
        stages = estimator._predictors
        if sum(len(tree.nodes) for stage in stages for tree in stage) > MOST_NODES:
            raise NotConvertible(f"it has more than {MOST_NODES:,} nodes")
        return [
            Forest([_of_histogram(stage[k].nodes) for stage in stages], float(baseline[k]), False)
            for k in range(len(stages[0]))
        ]
    if isinstance(estimator, IsolationForest):
        _refuse_many([member.tree_ for member in estimator.estimators_], 1)
        return [_of_isolation(estimator)]
    return None


def as_booster(forest: Forest, features: int) -> lightgbm.Booster:
    """A booster whose raw scores and contributions are those of the forest, less its start."""
    trees = [_text_of(index, tree) for index, tree in enumerate(forest.trees)]
    head = "\n".join(
        [
            "tree",
            "version=v4",
            "num_class=1",
            "num_tree_per_iteration=1",
            "label_index=0",
            f"max_feature_idx={features - 1}",
            "objective=regression",
            "feature_names=" + " ".join(f"Column_{index}" for index in range(features)),
            "feature_infos=" + " ".join(["[-1e+300:1e+300]"] * features),
            "tree_sizes=" + " ".join(str(len(tree)) for tree in trees),
            "",
            "",
        ]
    )
    return lightgbm.Booster(
        model_str=head + "".join(trees) + "end of trees\n\nparameters:\nend of parameters\n"
    )


def _outputs(tree: Any) -> int:
    return int(tree.value.shape[2])


def _starts(estimator: Any) -> list[float]:
    """The constant each raw output begins with."""
    init = estimator.init_
    if not isinstance(init, DummyRegressor | DummyClassifier | str):
        raise NotConvertible("its first guess is a model of its own")
    raw = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))
    return [float(value) for value in np.ravel(raw)]


def _of_sklearn(tree: Any, output: int, factor: float) -> Tree:
    return Tree(
        left=np.asarray(tree.children_left, dtype=np.int64),
        right=np.asarray(tree.children_right, dtype=np.int64),
        feature=np.asarray(tree.feature, dtype=np.int64),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        missing_left=np.asarray(tree.missing_go_to_left, dtype=np.bool_),
        value=factor * np.asarray(tree.value[:, 0, output], dtype=np.float64),
        weight=_whole(np.asarray(tree.weighted_n_node_samples, dtype=np.float64)),
    )


def _of_isolation(estimator: IsolationForest) -> Forest:
    """Its score is 2^-(mean path / usual path), so that the base-2 logarithm of it is a sum over trees.

    Liu, Ting and Zhou (2008), ICDM: a path ends with what a random search would still take among the readings left.
    """
    usual = len(estimator.estimators_) * float(_search(np.array([estimator.max_samples_]))[0])
    trees = []
    for member, columns in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        told = _of_sklearn(member.tree_, 0, 1.0)
        path = _edges_above(told) + _search(np.asarray(member.tree_.n_node_samples))
        inner = told.left >= 0
        feature = np.where(inner, np.asarray(columns)[np.where(inner, told.feature, 0)], told.feature)
        trees.append(replace(told, feature=feature, value=-path / (usual or 1.0)))
    return Forest(trees, 0.0, True)


def _search(count: NDArray[Any]) -> Floats:
    """Mean path of an unsuccessful search in a random binary tree of `count`."""
    n = np.maximum(count, 3).astype(np.float64)
    found = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.asarray(np.where(count > 2, found, np.where(count == 2, 1.0, 0.0)))


def _of_histogram(nodes: Any) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    if (nodes["is_categorical"].astype(bool) & ~leaf).any():
        raise NotConvertible("it splits by categories")
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64),
        weight=_whole(nodes["count"].astype(np.float64)),
    )


def _text_of(index: int, tree: Tree) -> str:
    """One tree as LightGBM writes it: inner nodes and leaves numbered apart, leaves as -1 - number."""
    inner = np.flatnonzero(tree.left >= 0)
    leaves = np.flatnonzero(tree.left < 0)
    weight = tree.weight
    number = np.empty(tree.left.size, dtype=np.int64)
    number[inner] = np.arange(inner.size)
    number[leaves] = -1 - np.arange(leaves.size)
    lines = [f"Tree={index}", f"num_leaves={leaves.size}", "num_cat=0"]
    if inner.size:
        kinds = NAN_IS_MISSING + DEFAULT_LEFT * tree.missing_left[inner]
        lines += [
            _line("split_feature", tree.feature[inner]),
            _line("split_gain", np.ones(inner.size, dtype=np.int64)),
            _line("threshold", np.clip(tree.threshold[inner], -1e300, 1e300)),
            _line("decision_type", kinds),
            _line("left_child", number[tree.left[inner]]),
            _line("right_child", number[tree.right[inner]]),
        ]
    lines += [
        _line("leaf_value", tree.value[leaves]),
        _line("leaf_weight", weight[leaves]),
        _line("leaf_count", weight[leaves]),
    ]
    if inner.size:
        lines += [
            _line("internal_value", np.zeros(inner.size, dtype=np.int64)),
            _line("internal_weight", weight[inner]),
            _line("internal_count", weight[inner]),
        ]
    return "\n".join([*lines, "is_linear=0", "shrinkage=1", "", "", ""])


def _line(name: str, values: NDArray[Any]) -> str:
    return f"{name}=" + " ".join(map(repr, values.tolist()))


def _whole(weight: Floats) -> Ints:
    rounded = np.rint(weight)
    if not np.array_equal(rounded, weight) or weight.max() > LARGEST_WEIGHT or weight.min() < 1:
        raise NotConvertible("its training rows were weighted")
    return rounded.astype(np.int64)


def _depth(tree: Tree) -> int:
    return int(_edges_above(tree).max()) + 1


def _edges_above(tree: Tree) -> Ints:
    """Of each node, how far below the root it is."""
    edges = np.zeros(tree.left.size, dtype=np.int64)
    for node in np.flatnonzero(tree.left >= 0).tolist():  # children lie behind their parent
        edges[tree.left[node]] = edges[tree.right[node]] = edges[node] + 1
    return edges
