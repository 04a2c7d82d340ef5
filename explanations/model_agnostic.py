"""Contributions of a model that can only be asked, by shap. Only the task imports this: shap costs a process
seconds and 300 MB.

Permutation sampling (Strumbelj and Kononenko, 2014, KAIS 41:647): features are put in one after the other, in
random orders, forth and back; what the answer changes by is the feature's. Each order adds up by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import shap
from numpy.typing import NDArray

from explanations.attribution import Attribution

Floats = NDArray[np.float64]

PERMUTATIONS = 10
ROWS_AT_ONCE = 8


def explain(
    ask: Callable[[Floats], Floats],
    names: tuple[str, ...],
    rows: Floats,
    background: Floats,
    *,
    seed: int,
    report: Callable[[float], None],
) -> Attribution:
    """Contributions of each row against the mean answer over the background.

    Args:
        ask: rows, shape (m, features), to one number each, shape (m,).
        rows: shape (n, features). background: shape (b, features).
        report: told the share that is done.
    """
    masker = shap.maskers.Independent(background, max_samples=len(background))
    explainer = shap.explainers.Permutation(ask, masker, seed=seed)
    evaluations = PERMUTATIONS * (2 * rows.shape[1] + 1)
    base, contributions = [], []
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[first : first + ROWS_AT_ONCE]
        found = explainer(part, max_evals=evaluations, silent=True)
        contributions.append(np.asarray(found.values, dtype=np.float64).reshape(len(part), -1))
        base.append(np.broadcast_to(np.asarray(found.base_values, dtype=np.float64), (len(part),)))
        report(min(1.0, (first + len(part)) / len(rows)))
    return Attribution(names, rows, np.concatenate(base), np.concatenate(contributions), ask(rows))
