"""Parsed readings on their way to the database, and what could not be taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """Values of one metric.

    rows: where each came from, shape (n,): the line of a file, or the position in a body, from 1.
    times_us: microseconds since 1970 UTC, shape (n,).
    values: finite, shape (n,).
    quality: shape (n,), null where nothing was said; None when nothing was said at all.
    """

    metric: str
    rows: Ints
    times_us: Ints
    values: Floats
    quality: pa.StringArray | None = None


@dataclass(frozen=True, slots=True)
class WeatherBatch:
    """columns: by the name of the column, shape (n,) each, NaN where nothing was said."""

    rows: Ints
    times_us: Ints
    columns: dict[str, Floats]


@dataclass(frozen=True, slots=True, order=True)
class Rejection:
    row: int
    reason: str


@dataclass(slots=True)
class Rejections:
    """Counts every row that was not taken; keeps the reasons of the first `listed_at_most`."""

    listed_at_most: int = 100
    total: int = 0
    listed: list[Rejection] = field(default_factory=list)

    def add(self, row: int, reason: str) -> None:
        self.total += 1
        if len(self.listed) < self.listed_at_most:
            self.listed.append(Rejection(row, reason))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import did. accepted: new. unchanged: stored already, just so. duplicates: came twice in
    one import; the last counts. rejected: not taken."""

    accepted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    rejections: list[Rejection]

    @property
    def taken(self) -> int:
        return self.accepted + self.updated + self.unchanged
