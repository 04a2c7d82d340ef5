"""XGBoost's JSON and UBJSON. The structure is checked on what XGBoost itself understood, so both are held to the same."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xgboost

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
from registry.formats.trees import is_endless


class XGBoostPredictor(Predictor):
    format = "xgboost"
    additive = True

    def __init__(self, content: bytes) -> None:
        self.booster = xgboost.Booster({"nthread": 1})
        try:
            self.booster.load_model(bytearray(content))
            learner = json.loads(bytes(self.booster.save_raw("json")))["learner"]
            self.feature_count = int(self.booster.num_features())
        except xgboost.core.XGBoostError as fault:
            raise ArtifactRefused(reason=f"XGBoost cannot read it ({str(fault)[:200]}).") from fault
        except (ValueError, KeyError, TypeError) as fault:
            raise ArtifactRefused(reason="XGBoost cannot say what is in it.") from fault
        classes = _check(learner, self.feature_count)
        check_parts(max(classes, 1), self.feature_count)
        self.feature_names = tuple(self.booster.feature_names or ())
        self.booster.feature_names = self.booster.feature_types = None  # rows come as arrays in this order
        objective = str(learner["objective"].get("name", ""))
        self._is_binary = objective == "binary:logistic"
        if objective == "multi:softmax":  # the same trees, with the probabilities it would throw away
            self.booster.set_param({"objective": "multi:softprob"})
        if self._is_binary or classes > 1:
            self.task = "classification"
            self.class_labels = tuple(range(max(classes, 2)))

    def predict(self, rows: Rows) -> Prediction:
        raw = self.booster.inplace_predict(rows, missing=np.nan, validate_features=False).astype(np.float64)
        if self._is_binary:
            return of_classes(np.column_stack([1 - raw, raw]), self.class_labels)
        return of_classes(raw, self.class_labels) if self.class_labels else Prediction(raw)

    def contributions(self, rows: Rows) -> Contributions:
        return explained_in_parts(self._contributions, rows, len(self.class_labels))

    def _contributions(self, rows: Rows) -> Contributions:
        parts = self.booster.predict(xgboost.DMatrix(rows, nthread=1), pred_contribs=True).astype(np.float64)
        if parts.ndim == 3:
            probabilities = self.booster.inplace_predict(rows, validate_features=False)
            return of_predicted_class(parts, probabilities.argmax(axis=1), self.feature_count)
        return Contributions(parts[:, :-1], parts[:, -1])


def _check(learner: dict[str, Any], features: int) -> int:
    """The number of classes. Raises ArtifactRefused for what would lead outside a tree."""
    if learner["gradient_booster"].get("name") != "gbtree":
        raise ArtifactRefused(reason="only the booster gbtree is taken.")
    classes = int(learner["learner_model_param"].get("num_class", 0))
    targets = int(learner["learner_model_param"].get("num_target", 1))
    if not 1 <= features <= MAX_FEATURES or not 0 <= classes <= MAX_CLASSES or targets != 1:
        raise ArtifactRefused(
            reason="it has no features, too many of them or of classes, or several targets."
        )
    model = learner["gradient_booster"]["model"]
    groups = np.asarray(model["tree_info"], dtype=np.int64)
    if groups.size != len(model["trees"]) or (
        groups.size and not 0 <= groups.min() <= groups.max() < max(classes, 1)
    ):
        raise ArtifactRefused(reason="a tree belongs to a class that does not exist.")
    for index, tree in enumerate(model["trees"]):
        _check_tree(tree, index, features)
    return classes


def _check_tree(tree: dict[str, Any], index: int, features: int) -> None:
    left = np.asarray(tree["left_children"], dtype=np.int64)
    right = np.asarray(tree["right_children"], dtype=np.int64)
    split = np.asarray(tree["split_indices"], dtype=np.int64)
    if not left.size == right.size == split.size == len(tree["split_conditions"]) or left.size == 0:
        raise ArtifactRefused(reason=f"the parts of tree {index} differ in length.")
    inner = left >= 0
    parents = np.arange(left.size)[inner]
    for child in (left[inner], right[inner]):
        if ((child <= parents) | (child >= left.size)).any():
            raise ArtifactRefused(reason=f"tree {index} leads to a node that does not exist, or back.")
    if is_endless(np.column_stack([left, right]), np.array([0])):
        raise ArtifactRefused(reason=f"tree {index} is deeper than {MAX_DEPTH} levels.")
    if ((split[inner] < 0) | (split[inner] >= features)).any():
        raise ArtifactRefused(reason=f"tree {index} splits by a feature that does not exist.")
