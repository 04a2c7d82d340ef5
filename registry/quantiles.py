"""How far off a predicted number may be: by quantile models, or by quantiles of residuals that came with a version."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = re.compile(r"p[1-9][0-9]?")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}:v?[0-9][0-9.-]{3,49}")
MOST = 19
NEITHER = (
    "This version has no measure of its errors. Register one with metadata.residual_quantiles "
    "(quantiles of the outcome less the prediction, on data it was not trained on), or with metadata.quantile_models."
)

Floats = NDArray[np.float64]


def problems_of(metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is wrong with `residual_quantiles` and `quantile_models`, by field.

    >>> problems_of({"residual_quantiles": {"p10": 1.0, "p90": -1.0}})
    {'residual_quantiles': ['A higher quantile is not lower than another.']}
    """
    wrong: dict[str, list[str]] = {}
    for field in ("residual_quantiles", "quantile_models"):
        said = metadata.get(field)
        if said is None:
            continue
        if not isinstance(said, dict) or not 0 < len(said) <= MOST or not all(map(NAME.fullmatch, said)):
            wrong[field] = [f"An object of 1 to {MOST} entries called p1 to p99."]
        elif field == "quantile_models":
            if not all(isinstance(name, str) and MODEL.fullmatch(name) for name in said.values()):
                wrong[field] = ["Versions of your own models, each as model:version."]
        elif not all(map(_is_number, said.values())):
            wrong[field] = ["Numbers."]
        elif (numbers := [said[name] for name in in_order(said)]) != sorted(numbers):
            wrong[field] = ["A higher quantile is not lower than another."]
    return wrong


def around(values: Floats, residuals: Mapping[str, float]) -> dict[str, Floats]:
    """Each prediction, shape (n,), plus the quantiles of the residual, by name; each of shape (n,).

    >>> around(np.array([10.0]), {"p90": 2.0, "p10": -1.0})
    {'p10': array([9.]), 'p90': array([12.])}
    """
    return {name: values + residuals[name] for name in in_order(residuals)}


def uncrossed(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Quantiles by name, each of shape (n,), sorted within each row: models fitted one by one may cross.

    Chernozhukov, Fernández-Val and Galichon, Quantile and probability curves without crossing, 2010.

    >>> uncrossed({"p90": np.array([1.0]), "p10": np.array([2.0])})
    {'p10': array([1.]), 'p90': array([2.])}
    """
    names = in_order(columns)
    table = np.sort(np.column_stack([columns[name] for name in names]), axis=1)
    return {name: table[:, index] for index, name in enumerate(names)}


def in_order(named: Mapping[str, Any]) -> Sequence[str]:
    return sorted(named, key=lambda name: int(name[1:]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
