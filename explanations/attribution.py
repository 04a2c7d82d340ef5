"""What each feature adds to a prediction, held to adding up to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDING = 1e-12  # of what is added up; below it nothing is left to settle
TOLERANCE = 1e-9
TOLERANCE_OF_FLOAT32 = 1e-5  # of a model that adds hundreds of trees in six digits


class DoesNotAddUp(ArithmeticError):
    """The parts are not the prediction. `error`: the largest, as a share of what is added up."""

    def __init__(self, error: float) -> None:
        super().__init__(f"the parts miss the prediction by {error:.1e} of their size")
        self.error = error


@dataclass(frozen=True, slots=True)
class Attribution:
    """Of n predictions and k features.

    names: k names. values: shape (n, k), NaN where a feature has none.
    base: shape (n,). contributions: shape (n, k). predictions: shape (n,), in the unit of what is explained.
    """

    names: tuple[str, ...]
    values: Floats
    base: Floats
    contributions: Floats
    predictions: Floats

    def settled(self, tolerance: float = TOLERANCE) -> Attribution:
        """The same, checked: base + contributions are the predictions, which the model gave by itself.

        What rounding leaves, up to `tolerance`, goes into the base.

        Raises:
            DoesNotAddUp: they are not, or a number is not finite.
        """
        error = self.error()
        if not error <= tolerance:
            raise DoesNotAddUp(error)
        if error <= ROUNDING:
            return self
        base = self.predictions - self.contributions.sum(axis=1)
        return Attribution(self.names, self.values, base, self.contributions, self.predictions)

    def error(self) -> float:
        """The largest |base + sum of contributions - prediction|, as a share of |base| + sum of |contributions|.

        Infinite where a number is not finite.
        """
        size = np.abs(self.base) + np.abs(self.contributions).sum(axis=1)
        miss = np.abs(self.base + self.contributions.sum(axis=1) - self.predictions)
        if not (np.isfinite(miss).all() and np.isfinite(size).all()):
            return float("inf")
        return float((miss / np.maximum(size, 1e-300)).max(initial=0.0))


@dataclass(frozen=True, slots=True)
class Part:
    """What one feature adds to one prediction."""

    name: str
    value: float | None
    contribution: float
    rank: int  # 1 adds or takes away most


def parts_of(attribution: Attribution, row: int = 0) -> list[Part]:
    """The parts of one prediction, the largest first; equal ones in the order of the features.

    >>> one = Attribution(("a", "b"), np.array([[1.0, np.nan]]), np.array([10.0]), np.array([[-1.0, 3.0]]), np.array([12.0]))
    >>> [(part.name, part.value, part.contribution) for part in parts_of(one)]
    [('b', None, 3.0), ('a', 1.0, -1.0)]
    """
    contributions = attribution.contributions[row]
    order = np.argsort(-np.abs(contributions), kind="stable")
    values = attribution.values[row]
    return [
        Part(
            attribution.names[index],
            float(values[index]) if np.isfinite(values[index]) else None,
            float(contributions[index]),
            rank,
        )
        for rank, index in enumerate(order.tolist(), start=1)
    ]


def grouped(parts: Sequence[Part], group_of: Callable[[str], str]) -> dict[str, float]:
    """Sums of the contributions by group, the largest first; they add up as the parts do."""
    sums: dict[str, float] = {}
    for part in parts:
        group = group_of(part.name)
        sums[group] = sums.get(group, 0.0) + part.contribution
    return dict(sorted(sums.items(), key=lambda item: -abs(item[1])))


@dataclass(frozen=True, slots=True)
class Importance:
    """What one feature adds over many predictions, in the unit of what is explained."""

    name: str
    mean_abs: float
    mean: float
    rank: int


def importances_of(attribution: Attribution) -> list[Importance]:
    """Mean size and mean of each feature's contributions over all rows, the largest first."""
    sizes = np.abs(attribution.contributions).mean(axis=0)
    means = attribution.contributions.mean(axis=0)
    order = np.argsort(-sizes, kind="stable")
    return [
        Importance(attribution.names[index], float(sizes[index]), float(means[index]), rank)
        for rank, index in enumerate(order.tolist(), start=1)
    ]


@dataclass(frozen=True, slots=True)
class Method:
    """How contributions were found, in words for the answer.

    output: what they add up to. background: what the base is the mean over.
    """

    name: str
    output: str
    background: str
    samples_used: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)
