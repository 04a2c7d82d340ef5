"""Whether the ways through trees end, and how soon, whatever library follows them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from registry.formats.base import MAX_DEPTH

Whole = NDArray[np.int64]


def is_endless(children: Whole, begin: Whole) -> bool:
    """Whether a way from one of these nodes is longer than a tree may be deep, as in a circle it is.

    children: shape (nodes, 2), places of nodes that exist, or less than nought at a leaf.

    >>> is_endless(np.array([[1, 2], [-1, -1], [-1, -1]]), np.array([0]))
    False
    >>> is_endless(np.array([[1, -1], [0, -1]]), np.array([0]))
    True
    """
    under_way = begin
    for _ in range(MAX_DEPTH):  # all go a step down together, and those are one who come to the same node
        below = children[under_way].ravel()
        under_way = np.unique(below[below >= 0])
        if not under_way.size:
            return False
    return True
