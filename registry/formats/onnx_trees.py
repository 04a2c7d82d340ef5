"""Trees inside a graph of ONNX. onnxruntime refuses a node that leads to itself, but follows two that lead to one
another for as long as a row tells it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from registry.formats.base import MAX_DEPTH, ArtifactRefused
from registry.formats.trees import Whole, is_endless


def check_trees(attributes: Mapping[str, Any]) -> None:
    """Of an operator with trees. Raises ArtifactRefused where a way does not end, or ends in an output that is not
    there."""
    if "tree_roots" in attributes:  # TreeEnsemble, whose nodes are numbered over all trees
        children = _children_by_number(attributes)
    else:
        children = _children_by_name(attributes)
    _refuse_endless(children)
    outputs = attributes.get("n_targets", 1)
    if "class_ids" in attributes:
        outputs = max(len(attributes.get(f"classlabels_{kind}", ())) for kind in ("int64s", "strings"))
    for name in ("target_ids", "class_ids", "leaf_targetids"):
        ids = _whole(attributes, name)
        if ids.size and not 0 <= ids.min() <= ids.max() < outputs:
            raise ArtifactRefused(reason="a leaf of a tree adds to an output that does not exist.")


def _children_by_name(attributes: Mapping[str, Any]) -> Whole:
    """The places of each node's two children, shape (nodes, 2); -1 where there is none."""
    trees, nodes = _whole(attributes, "nodes_treeids"), _whole(attributes, "nodes_nodeids")
    modes = np.array([mode == b"LEAF" for mode in attributes.get("nodes_modes", ())], dtype=bool)
    sides = [_whole(attributes, name) for name in ("nodes_truenodeids", "nodes_falsenodeids")]
    if len({array.size for array in (trees, nodes, modes, *sides)}) != 1:
        raise ArtifactRefused(reason="the parts of its trees differ in length.")
    place = {name: index for index, name in enumerate(zip(trees.tolist(), nodes.tolist(), strict=True))}
    children = np.full((nodes.size, 2), -1, dtype=np.int64)
    for side, ids in enumerate(sides):
        for index in np.flatnonzero(~modes).tolist():
            children[index, side] = place.get((int(trees[index]), int(ids[index])), nodes.size)
    return children


def _children_by_number(attributes: Mapping[str, Any]) -> Whole:
    sides = []
    for way in ("true", "false"):
        ids, leaves = (
            _whole(attributes, f"nodes_{way}nodeids"),
            _whole(attributes, f"nodes_{way}leafs"),
        )
        if ids.size != leaves.size:
            raise ArtifactRefused(reason="the parts of its trees differ in length.")
        sides.append(np.where(leaves != 0, -1, ids))
    if sides[0].size != sides[1].size:
        raise ArtifactRefused(reason="the parts of its trees differ in length.")
    return np.column_stack(sides)


def _refuse_endless(children: Whole) -> None:
    if children.size and not -1 <= children.min() <= children.max() < len(children):
        raise ArtifactRefused(reason="a tree leads to a node that does not exist.")
    if is_endless(children, np.arange(len(children))):
        raise ArtifactRefused(reason=f"a tree leads back, or is deeper than {MAX_DEPTH} levels.")


def _whole(attributes: Mapping[str, Any], name: str) -> Whole:
    return np.array(attributes.get(name, ()), dtype=np.int64)
