"""From scores to what is answered and kept: a row for each point that is shown, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from anomalies.detectors.base import Flags, Floats, Ints, Problem, Scores
from anomalies.detectors.kinds import KINDS
from anomalies.severity import severity_of, threshold
from anomalies.wording import MISSING, sentence
from omarino.epoch import from_us

Row = dict[str, Any]
ROUNDING = 1e-9  # of a distance that was divided and is multiplied again


@dataclass(frozen=True)
class Findings:
    """What the scores of a problem say at a sensitivity. unit: of the series, such as kW, or nothing."""

    problem: Problem
    scores: Scores
    sensitivity: float
    unit: str

    @property
    def flagged(self) -> Flags:
        return np.asarray(self.scores.score >= threshold(self.sensitivity))

    def anomalies(self) -> list[Row]:
        """The flagged points by time; a gap that was never sent is told once, at its first time."""
        return self._rows(self.flagged & self._told())

    def every_point(self) -> list[Row]:
        """The anomalies and every point that was sent, by time."""
        return self._rows(self.scores.was_sent | (self.flagged & self._told()))

    def _told(self) -> Flags:
        """False for what was never sent, but for the first time of each gap."""
        absent = ~self.scores.was_sent
        follows = np.concatenate(([False], absent[:-1]))
        return np.asarray(~absent | ~follows)

    def _rows(self, shown: Flags) -> list[Row]:
        scores = self.scores
        (at,) = np.nonzero(shown)
        low, mean, high = self.expected_range
        columns = zip(
            texts(scores.times[at]),
            *(_nullable(c[at]) for c in (scores.values, low, high, mean, scores.std)),
            scores.score[at].tolist(),
            self.flagged[at].tolist(),
            at.tolist(),
            strict=True,
        )
        zone = ZoneInfo(self.problem.timezone)
        return [
            {
                "timestamp": timestamp,
                "value": value,
                "anomaly_score": score,
                "is_anomaly": is_anomaly,
                "expected_range": {"min": least, "max": most, "mean": mean, "std": std},
                "severity": severity_of(score) if is_anomaly else None,
                "kind": KINDS[scores.kind[index]] if is_anomaly else None,
                "explanation": self._explained(index, zone) if is_anomaly else None,
            }
            for timestamp, value, least, most, mean, std, score, is_anomaly, index in columns
        ]

    @cached_property
    def expected_range(self) -> tuple[Floats, Floats, Floats]:
        """What a value may be without being flagged for itself, with the expected one in between, each shape (m,).

        None is below zero where no reading ever was. No value of the window lies beyond and is not flagged: the
        distance that scores the threshold is a guess for a value that is off by itself, so the range is widened
        to the farthest value that was let pass.
        """
        scores = self.scores
        off = scores.values - scores.expected
        side = np.where(off > 0, scores.above, scores.below)
        let_pass = np.isfinite(off) & (side > 0) & ~self.flagged
        farthest = float(np.max(np.abs(off[let_pass]) / side[let_pass], initial=0.0))
        reach = max(scores.reach.size(threshold(self.sensitivity)), farthest * (1.0 + ROUNDING))
        ends = (
            scores.expected - reach * scores.below,
            scores.expected,
            scores.expected + reach * scores.above,
        )
        if any((values < 0).any() for values in (self.problem.values, self.problem.training_values)):
            return ends
        low, mean, high = (np.maximum(end, 0.0) for end in ends)
        return low, mean, high

    def _explained(self, index: int, zone: ZoneInfo) -> str:
        scores = self.scores
        kind = KINDS[scores.kind[index]]
        lasted = int(scores.run_length[index]) * scores.step_us
        return sentence(
            at=from_us(int(scores.times[index])).astimezone(zone),
            step=timedelta(microseconds=scores.step_us),
            value=float(scores.values[index]),
            expected=float(self.expected_range[1][index]),
            std=float(scores.std[index]),
            kind=kind,
            unit=self.unit,
            lasted=timedelta(microseconds=self._gap_us(index) if kind == MISSING else lasted),
        )

    def _gap_us(self, index: int) -> int:
        """How long nothing was read around there, by the times: the cells of a gap of months are cut."""
        times, step = self.scores.times, self.scores.step_us
        after = int(np.searchsorted(self._read, index))
        begin = times[self._read[after - 1]] + step if after > 0 else times[0]
        end = times[self._read[after]] if after < self._read.size else times[-1] + step
        return int(end - begin)

    @cached_property
    def _read(self) -> Ints:
        return np.flatnonzero(np.isfinite(self.scores.values))


def texts(times_us: Ints) -> list[str]:
    """ISO 8601 in UTC, each to the second where it is whole.

    >>> texts(np.array([1_000_000, 1_500_000]))
    ['1970-01-01T00:00:01Z', '1970-01-01T00:00:01.500000Z']
    """
    moments = times_us.astype("datetime64[us]")
    told = np.datetime_as_string(moments, unit="s")
    parts = times_us % 1_000_000 != 0
    if parts.any():
        told = np.where(parts, np.datetime_as_string(moments, unit="us"), told)
    return [f"{text}Z" for text in told.tolist()]


def _nullable(column: Floats) -> list[float | None]:
    return [number if number == number else None for number in column.tolist()]
