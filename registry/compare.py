"""Two variants side by side: how far apart their mean errors are, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

LEVEL = 0.95
BOUNDS_MS = (
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1000,
    2000,
    5000,
)  # of the buckets of latencies; the last is open


@dataclass(frozen=True, slots=True)
class Errors:
    """count: how many outcomes. mean, variance (n - 1): of their errors, None without enough of them."""

    count: int
    mean: float | None
    variance: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the mean errors, challenger less production: below zero the challenger is better."""

    difference: float
    lower: float
    upper: float
    method: str


def welch(production: Errors, challenger: Errors) -> Difference | None:
    """The interval of Welch's t-test for two samples of unequal variance; None with fewer than two outcomes each.

    Welch, The generalization of Student's problem, Biometrika 34 (1947).

    >>> found = welch(Errors(50, 2.0, 1.0), Errors(50, 1.0, 1.0))
    >>> round(found.difference, 3), round(found.lower, 3), round(found.upper, 3)
    (-1.0, -1.397, -0.603)
    """
    if min(production.count, challenger.count) < 2:
        return None
    parts = [(each.variance or 0.0) / each.count for each in (production, challenger)]
    spread = sum(parts)
    difference = (challenger.mean or 0.0) - (production.mean or 0.0)
    if spread == 0:
        return Difference(difference, difference, difference, "Welch's t")
    counts = (production.count, challenger.count)
    freedom = spread**2 / sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(spread)
    return Difference(difference, difference - reach, difference + reach, "Welch's t")


def paired(differences: Errors) -> Difference | None:
    """The interval of the paired t-test, for two errors on each of the same rows: those of a shadow."""
    if differences.count < 2:
        return None
    mean = differences.mean or 0.0
    reach = float(stdtrit(differences.count - 1, (1 + LEVEL) / 2)) * math.sqrt(
        (differences.variance or 0.0) / differences.count
    )
    return Difference(mean, mean - reach, mean + reach, "paired t")


def in_words(found: Difference | None) -> str:
    """What the interval allows to say.

    >>> in_words(Difference(-1.0, -1.4, -0.6, "Welch's t"))
    "The challenger's mean error is lower by 1; 95 % sure it is lower by 0.6 to 1.4."
    """
    if found is None:
        return "Too few outcomes were reported to compare errors."
    if found.lower <= 0 <= found.upper:
        return f"No difference is shown: between {found.lower:.4g} and {found.upper:.4g}, challenger less production."
    word = "lower" if found.difference < 0 else "higher"
    low, high = sorted((abs(found.lower), abs(found.upper)))
    return (
        f"The challenger's mean error is {word} by {abs(found.difference):.4g}; "
        f"95 % sure it is {word} by {low:.4g} to {high:.4g}."
    )


def bucket_of(took_ms: float) -> int:
    """Index of the bucket a latency falls into, 0..len(BOUNDS_MS)."""
    return next((index for index, bound in enumerate(BOUNDS_MS) if took_ms <= bound), len(BOUNDS_MS))


def quantile_ms(buckets: Sequence[int], share: float) -> float | None:
    """The bound below which this share of latencies lies; None without any, or when it lies in the open bucket.

    >>> quantile_ms([0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0.5)
    2.0
    """
    total, seen = sum(buckets), 0
    for bound, count in zip(BOUNDS_MS, buckets, strict=False):
        seen += count
        if total and seen >= share * total:
            return float(bound)
    return None
