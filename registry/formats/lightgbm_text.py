"""LightGBM's text format. Its own reader trusts what it reads: a number out of range ends the process, so the
structure is checked here before LightGBM sees a byte."""

from __future__ import annotations

import re
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from registry.formats.base import (
    MAX_CLASSES,
    MAX_DEPTH,
    MAX_FEATURES,
    ArtifactRefused,
    Contributions,
    Prediction,
    Predictor,
    Rows,
    check_parts,
    explained_in_parts,
    of_classes,
    of_predicted_class,
)

MAX_LEAVES = 131_072
WHOLE = re.compile(r"-?[0-9]{1,18}(?: -?[0-9]{1,18})*")
REAL = re.compile(r"[-+]?(?:[0-9.][0-9.eE+-]*|inf|nan)(?: [-+]?(?:[0-9.][0-9.eE+-]*|inf|nan))*")
HEADER = (
    "num_class",
    "num_tree_per_iteration",
    "max_feature_idx",
    "feature_names",
    "feature_infos",
    "tree_sizes",
)
BY_LEAF = ("leaf_weight", "leaf_count")
BY_NODE = ("split_gain", "internal_value", "internal_weight", "internal_count")
OF_A_TREE = frozenset(
    {
        *("Tree", "num_leaves", "num_cat", "split_feature", "threshold", "decision_type", "left_child"),
        *("right_child", "leaf_value", "is_linear", "shrinkage", "cat_boundaries", "cat_threshold"),
        *(*BY_LEAF, *BY_NODE),
    }
)
PROBABILITY_OBJECTIVES = ("binary", "cross_entropy", "xentropy")


class LightGBMPredictor(Predictor):
    format = "lightgbm"
    additive = True

    def __init__(self, content: bytes) -> None:
        header = check_structure(content)
        try:
            self.booster = lightgbm.Booster(model_str=content.decode())
        except lightgbm.basic.LightGBMError as fault:
            raise ArtifactRefused(reason=f"LightGBM cannot read it ({fault}).") from fault
        self.feature_count = self.booster.num_feature()
        self.feature_names = own_names(self.booster.feature_name())
        objective = header.get("objective", "").split(" ")[0]
        classes = int(header["num_class"])
        self._is_binary = objective in PROBABILITY_OBJECTIVES[:1]
        if self._is_binary or classes > 1:
            self.task = "classification"
            self.class_labels = tuple(range(max(classes, 2)))

    def predict(self, rows: Rows) -> Prediction:
        raw = self._ask(rows)
        if self._is_binary:
            return of_classes(np.column_stack([1 - raw, raw]), self.class_labels)
        return of_classes(raw, self.class_labels) if self.class_labels else Prediction(raw)

    def contributions(self, rows: Rows) -> Contributions:
        return explained_in_parts(self._contributions, rows, len(self.class_labels))

    def _contributions(self, rows: Rows) -> Contributions:
        parts = self._ask(rows, pred_contrib=True)
        if len(self.class_labels) > 2 or (self.class_labels and not self._is_binary):
            by_class = parts.reshape(len(rows), len(self.class_labels), self.feature_count + 1)
            probabilities = self._ask(rows)
            return of_predicted_class(by_class, probabilities.argmax(axis=1), self.feature_count)
        return Contributions(parts[:, :-1], parts[:, -1])

    def _ask(self, rows: Rows, **options: bool) -> NDArray[np.float64]:
        return np.asarray(self.booster.predict(rows, num_threads=1, **options), dtype=np.float64)


def own_names(names: list[str]) -> tuple[str, ...]:
    """The names a file gives its features; none when LightGBM made them up."""
    made_up = [f"Column_{index}" for index in range(len(names))]
    return () if names == made_up else tuple(names)


def check_structure(content: bytes) -> dict[str, str]:
    """Hold the text to what LightGBM writes; give its header. Raises ArtifactRefused with the place.

    >>> check_structure(b"tree\\nversion=v4\\n")
    Traceback (most recent call last):
    registry.formats.base.ArtifactRefused: The artifact was refused: it ends before its first tree.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ArtifactRefused(reason="it is not UTF-8 text.") from None
    if "\0" in text or "\r" in text:
        raise ArtifactRefused(reason="it holds characters that LightGBM does not write.")
    start = text.find("Tree=")
    if start < 0:
        raise ArtifactRefused(reason="it ends before its first tree.")
    header = _pairs(text[:start], "the header", bare={"tree", "average_output"})
    if missing := [name for name in HEADER if name not in header]:
        raise ArtifactRefused(reason=f"its header lacks {', '.join(missing)}.")
    features = _one(header, "max_feature_idx", "the header", 0, MAX_FEATURES - 1) + 1
    classes = _one(header, "num_class", "the header", 1, MAX_CLASSES)
    check_parts(classes, features)
    _one(header, "num_tree_per_iteration", "the header", classes, classes)
    said = re.search(r"\bnum_class:(\d+)", header.get("objective", ""))
    if said and int(said[1]) != classes:
        raise ArtifactRefused(reason="its objective names another number of classes than its header.")
    for name in ("feature_names", "feature_infos"):
        if len(header[name].split(" ")) != features:
            raise ArtifactRefused(reason=f"its {name} are not {features}, as max_feature_idx says.")
    _check_trees(content, content.find(b"Tree="), header, features, classes)
    return header


def _check_trees(content: bytes, start: int, header: dict[str, str], features: int, classes: int) -> None:
    """LightGBM jumps by `tree_sizes`, in bytes, so each must lead exactly to the next tree."""
    sizes = _wholes(header, "tree_sizes", "the header")
    if sizes.size % classes:
        raise ArtifactRefused(reason="its trees cannot be shared out among its classes.")
    at = start
    for index, size in enumerate(sizes.tolist()):
        part = content[at : at + size]
        if size <= 0 or not part.startswith(b"Tree=%d\n" % index) or part.count(b"Tree=") != 1:
            raise ArtifactRefused(
                reason=f"tree {index} is not where tree_sizes says; the file was cut or edited."
            )
        _check_tree(_pairs(part.decode(), f"tree {index}"), f"tree {index}", features)
        at += size
    rest = content[at:]
    if not rest.startswith(b"end of trees") or b"Tree=" in rest:
        raise ArtifactRefused(reason="it does not end where its last tree ends; the file was cut or edited.")


def _check_tree(tree: dict[str, str], where: str, features: int) -> None:
    if unknown := sorted(set(tree) - OF_A_TREE):
        raise ArtifactRefused(reason=f"{where} holds {unknown[0][:40]!r}, which is not taken.")
    leaves = _one(tree, "num_leaves", where, 1, MAX_LEAVES)
    categorical = _one(tree, "num_cat", where, 0, MAX_LEAVES)
    if tree.get("is_linear", "0") != "0":
        raise ArtifactRefused(reason=f"{where} is linear; trees with linear leaves are not taken.")
    _reals(tree, "leaf_value", where, leaves)
    nodes = leaves - 1
    for names, length in ((BY_LEAF, leaves), (BY_NODE, nodes)):
        for name in names:
            if tree.get(name):
                _counted(tree, name, where, REAL, length)  # no place is looked up by them
    if nodes == 0:
        return
    split = _wholes(tree, "split_feature", where, nodes)
    kinds = _wholes(tree, "decision_type", where, nodes)
    thresholds = _reals(tree, "threshold", where, nodes)
    if split.min() < 0 or split.max() >= features or kinds.min() < 0 or kinds.max() > 127:
        raise ArtifactRefused(reason=f"{where} splits by a feature or a rule that does not exist.")
    _check_children(
        _wholes(tree, "left_child", where, nodes), _wholes(tree, "right_child", where, nodes), where
    )
    by_category = (kinds & 1).astype(bool)
    if by_category.any() or categorical:
        _check_categories(tree, where, categorical, thresholds[by_category])


def _check_children(left: NDArray[np.int64], right: NDArray[np.int64], where: str) -> None:
    """Each node but the root and each leaf is the child of one node, and of one before it."""
    nodes = left.size
    both = np.concatenate([left, right])
    if both.min() < -(nodes + 1) or both.max() >= nodes:
        raise ArtifactRefused(reason=f"{where} leads to a node that does not exist.")
    parents = np.tile(np.arange(nodes), 2)
    inner = both >= 0
    if np.unique(both).size != 2 * nodes or (both[inner] <= parents[inner]).any():
        raise ArtifactRefused(reason=f"{where} is no tree: two ways lead to one node, or back.")
    depth = np.zeros(nodes, dtype=np.int64)
    for node, children in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        for child in children:
            if child >= 0:
                depth[child] = depth[node] + 1
    if depth.max() >= MAX_DEPTH:
        raise ArtifactRefused(reason=f"{where} is deeper than {MAX_DEPTH} levels.")


def _check_categories(tree: dict[str, str], where: str, count: int, thresholds: NDArray[np.float64]) -> None:
    bounds = _wholes(tree, "cat_boundaries", where, count + 1)
    words = _wholes(tree, "cat_threshold", where)
    if bounds[0] != 0 or (np.diff(bounds) < 1).any() or bounds[-1] != words.size:
        raise ArtifactRefused(reason=f"{where} has sets of categories that do not fit.")
    if ((words < 0) | (words > 2**32 - 1)).any():
        raise ArtifactRefused(reason=f"{where} has a category out of range.")
    if ((thresholds < 0) | (thresholds >= count) | (thresholds % 1 != 0)).any():
        raise ArtifactRefused(reason=f"{where} names a set of categories that does not exist.")


def _pairs(text: str, where: str, bare: Any = frozenset()) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for line in text.split("\n"):
        name, is_pair, value = line.partition("=")
        if not line or (not is_pair and line in bare):
            continue
        if not is_pair or name in pairs:
            raise ArtifactRefused(reason=f"{where} has a line that LightGBM does not write: {line[:60]!r}.")
        pairs[name] = value
    return pairs


def _one(pairs: dict[str, str], name: str, where: str, least: int, most: int) -> int:
    value = int(_wholes(pairs, name, where, 1)[0])
    if not least <= value <= most:
        raise ArtifactRefused(reason=f"{name} of {where} is {value}, not {least} to {most}.")
    return value


def _wholes(pairs: dict[str, str], name: str, where: str, length: int | None = None) -> NDArray[np.int64]:
    return np.array(_words(pairs, name, where, WHOLE, length), dtype=np.int64)


def _reals(pairs: dict[str, str], name: str, where: str, length: int | None = None) -> NDArray[np.float64]:
    try:
        return np.array(_words(pairs, name, where, REAL, length), dtype=np.float64)
    except ValueError:
        raise ArtifactRefused(reason=f"{name} of {where} is not made of numbers.") from None


def _words(
    pairs: dict[str, str], name: str, where: str, shape: re.Pattern[str], length: int | None
) -> list[str]:
    return _counted(pairs, name, where, shape, length).split(" ")


def _counted(pairs: dict[str, str], name: str, where: str, shape: re.Pattern[str], length: int | None) -> str:
    """The value, which looks like numbers, and as many as there must be."""
    value = pairs.get(name, "")
    if not shape.fullmatch(value):
        raise ArtifactRefused(reason=f"{name} of {where} is missing or not made of numbers.")
    have = value.count(" ") + 1
    if length is not None and have != length:
        raise ArtifactRefused(reason=f"{name} of {where} has {have} values, not {length}.")
    return value
