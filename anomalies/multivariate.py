"""What is unusual in several metrics of one device together: an Isolation Forest with the time of day in view."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import RobustScaler

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

HOUR_US = 3_600_000_000
STALE_STEPS = 3  # a metric not sent for so many usual intervals is not known any more
TREES, SAMPLES = 200, 256
TAILS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)  # of the training scores, where it is calibrated
CRITICAL_BEYOND = 1.5  # standard deviations above the threshold
LARGEST_SCORE = 10.0
LEAST_THRESHOLD = 0.1  # a score of 0 is usual, whatever share is taken to be unusual
BLOCKS = 10  # of training data, every other left out in turn
IQR_TO_STD = 1.349  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Table:
    """times_us: shape (n,), int64, increasing. values: shape (n, m), in the units of the metrics, no NaN."""

    times_us: Times
    metrics: tuple[str, ...]
    values: Floats

    def rows(self, which: NDArray[np.bool_] | slice) -> Table:
        return Table(self.times_us[which], self.metrics, self.values[which])


@dataclass(frozen=True, slots=True)
class Calibration:
    """From raw scores to standard deviations: the raw score of each tail of the training data.

    metrics: of each metric the distances from its median, in robust standard deviations, at TAILS; so that a metric of
    heavy tails, such as traffic, does not drown the others. reach: the largest of these, each in standard deviations
    of its own, at TAILS. isolation: raw Isolation Forest scores at TAILS. threshold: standard deviations from which a
    point is an anomaly.
    """

    metrics: tuple[tuple[float, ...], ...]
    reach: tuple[float, ...]
    isolation: tuple[float, ...]
    threshold: float

    def as_dict(self) -> dict[str, object]:
        return {
            "metrics": [list(tails) for tails in self.metrics],
            "reach": list(self.reach),
            "isolation": list(self.isolation),
            "threshold": self.threshold,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Calibration:
        """Raises ValueError, KeyError or TypeError when it is not one."""
        every = [*told["metrics"], told["reach"], told["isolation"]]
        tails = [tuple(float(value) for value in one) for one in every]
        if any(len(one) != len(TAILS) for one in tails):
            raise ValueError("a number for each tail is needed")
        return cls(tuple(tails[:-2]), tails[-2], tails[-1], float(told["threshold"]))


def aligned(series: Mapping[str, tuple[Times, Floats]]) -> Table:
    """One row for each time at which any metric was sent; a metric not sent then keeps its last value a little.

    Args:
        series: by metric, times in microseconds, increasing, shape (k,), and values, shape (k,); no NaN.

    Returns:
        A table of the times at which every metric is known: sent then, or at most STALE_STEPS of its usual
        (median) intervals before.
    """
    metrics = tuple(sorted(series))
    if not metrics:
        return Table(np.empty(0, np.int64), (), np.empty((0, 0)))
    times = np.unique(np.concatenate([series[name][0] for name in metrics]))
    values = np.full((times.size, len(metrics)), np.nan)
    for column, name in enumerate(metrics):
        sent, known = series[name]
        if sent.size == 0:
            continue
        last = np.searchsorted(sent, times, side="right") - 1
        usual = np.median(np.diff(sent)) if sent.size > 1 else 0
        fresh = (last >= 0) & (times - sent[np.maximum(last, 0)] <= STALE_STEPS * usual)
        values[fresh, column] = known[last[fresh]]
    whole = np.isfinite(values).all(axis=1)
    return Table(times[whole], metrics, values[whole])


def feature_names(metrics: Sequence[str]) -> list[str]:
    """Of the columns of `features`, each once: a metric may be called as a column that is made of another.

    >>> feature_names(["load", "load_change"])
    ['load', 'load_change', 'load_change_', 'load_change_change', 'hour_sin', 'hour_cos']
    """
    names = list(metrics)
    for made in (*(f"{metric}_change" for metric in metrics), "hour_sin", "hour_cos"):
        lines = next(count for count in itertools.count() if made + "_" * count not in names)
        names.append(made + "_" * lines)
    return names


def features(table: Table) -> Floats:
    """Shape (n, 2 m + 2): the values, their change against the mean of the hour before, and the time of day (UTC)."""
    hour = 2 * np.pi * (table.times_us % (24 * HOUR_US)) / (24 * HOUR_US)
    return np.column_stack([table.values, _changes(table), np.sin(hour), np.cos(hour)])


def fitted(table: Table, contamination: float, *, seed: int) -> tuple[Pipeline, Calibration]:
    """Fit on all rows; calibrate on rows each scored by a forest that did not see their stretch of time.

    Args:
        table: at least a few dozen rows.
        contamination: share of the rows taken to be unusual, 0.001..0.5.
    """
    rows = features(table)
    whole = _forest(len(rows), seed).fit(rows)
    distances = _distances(whole, rows, len(table.metrics))
    metrics = tuple(_tails(column) for column in distances.T)
    reach = _reach(distances, metrics)
    block = np.arange(len(rows)) * BLOCKS // len(rows) % 2
    isolation = np.empty(len(rows))
    for side in (0, 1):
        half = _forest(int((block != side).sum()), seed).fit(rows[block != side])
        isolation[block == side] = -half.score_samples(rows[block == side])
    calibrated = Calibration(metrics, _tails(reach), _tails(isolation), 0.0)
    threshold = float(np.quantile(_standard(calibrated, isolation, reach), 1.0 - contamination))
    return whole, replace(calibrated, threshold=max(threshold, LEAST_THRESHOLD))


def scored(model: Pipeline, calibration: Calibration, table: Table) -> Floats:
    """Standard deviations, shape (n,): how rarely training data were as isolated, or any metric as far out.

    The share of training rows beyond becomes a normal quantile; beyond all of them it goes on in a straight line.
    """
    if not len(table.times_us):
        return np.empty(0)
    return _scored_rows(model, calibration, features(table))


def severity_of(score: float, threshold: float) -> str:
    """
    >>> [severity_of(score, 2.5) for score in (2.4, 2.5, 3.9, 4.0)]
    ['normal', 'warning', 'warning', 'critical']
    """
    if score < threshold:
        return "normal"
    return "critical" if score >= threshold + CRITICAL_BEYOND else "warning"


def driven_by(
    model: Pipeline, calibration: Calibration, table: Table, which: NDArray[np.int64]
) -> list[list[str]]:
    """For each row of `which` the metrics without which it would be less unusual, the strongest first.

    A metric drives a row when its score falls by a quarter of itself or more with that metric, and its change, set to
    the training median.
    """
    if not which.size:
        return []
    rows, m = features(table)[which], len(table.metrics)
    usual = model[0].center_
    before = _scored_rows(model, calibration, rows)
    falls = np.empty((len(rows), m))
    for k in range(m):
        without = rows.copy()
        without[:, [k, m + k]] = usual[[k, m + k]]
        falls[:, k] = before - _scored_rows(model, calibration, without)
    order = np.argsort(-falls, axis=1)
    return [
        [table.metrics[k] for k in order[row] if falls[row, k] >= 0.25 * before[row]]
        or [table.metrics[order[row, 0]]]
        for row in range(len(rows))
    ]


def with_faults(table: Table, *, share: float, seed: int) -> tuple[Table, NDArray[np.bool_]]:
    """The same rows with one metric of some of them moved by six of its spreads (5..95 %), for judging a detector."""
    random = np.random.default_rng(seed)
    hit = random.random(len(table.times_us)) < share
    if not hit.any():
        hit[len(hit) // 2] = True
    spread = np.quantile(table.values, 0.95, axis=0) - np.quantile(table.values, 0.05, axis=0)
    spread = np.where(spread > 0, spread, np.maximum(np.abs(table.values).max(axis=0), 1.0))
    values = table.values.copy()
    which = random.integers(0, len(table.metrics), hit.sum())
    sign = random.choice((-1.0, 1.0), hit.sum())
    values[np.flatnonzero(hit), which] += 6.0 * sign * spread[which]
    return Table(table.times_us, table.metrics, values), hit


def _forest(rows: int, seed: int) -> Pipeline:
    forest = IsolationForest(n_estimators=TREES, max_samples=min(SAMPLES, rows), random_state=seed)
    return make_pipeline(RobustScaler(), forest)


def _changes(table: Table) -> Floats:
    """Against the mean of the rows of the hour before; zero where there are none."""
    values = table.values - table.values[:1]  # a constant is zero, and no sum of it is rounded
    total = np.concatenate((np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)))
    end = np.arange(len(table.times_us))
    start = np.searchsorted(table.times_us, table.times_us - HOUR_US)
    count = end - start
    mean = (total[end] - total[start]) / np.maximum(count, 1)[:, None]
    return np.asarray(np.where(count[:, None] > 0, values - mean, 0.0))


def _scored_rows(model: Pipeline, calibration: Calibration, rows: Floats) -> Floats:
    distances = _distances(model, rows, len(calibration.metrics))
    return _standard(calibration, -model.score_samples(rows), _reach(distances, calibration.metrics))


def _distances(model: Pipeline, rows: Floats, metrics: int) -> Floats:
    """Of each metric from its training median, in robust standard deviations, shape (n, m)."""
    return np.asarray(np.abs(model[0].transform(rows)[:, :metrics]) * IQR_TO_STD)


def _reach(distances: Floats, tails: Sequence[Sequence[float]]) -> Floats:
    """The largest of the distances, each in standard deviations by its own tails, shape (n,)."""
    levels = norm.isf(TAILS)
    own = [_along(column, np.array(known), levels) for column, known in zip(distances.T, tails, strict=True)]
    return np.asarray(np.max(own, axis=0))


def _tails(raw: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(raw, [1.0 - tail for tail in TAILS]))


def _standard(calibration: Calibration, isolation: Floats, reach: Floats) -> Floats:
    levels = norm.isf(TAILS)
    scores = _along(reach, np.array(calibration.reach), levels)
    if np.any(calibration.metrics):  # a forest of metrics that never changed knows nothing but the hour
        scores = np.maximum(scores, _along(isolation, np.array(calibration.isolation), levels))
    return np.clip(scores, 0.0, LARGEST_SCORE)


def _along(raw: Floats, known: Floats, levels: Floats) -> Floats:
    """Piecewise linear through (known, levels), going on with the slope over the upper half beyond the last."""
    width = max(known[-1] - known[3], 1e-12 + 1e-9 * abs(known[-1]))
    slope = (levels[-1] - levels[3]) / width
    inside = np.interp(raw, known, levels)
    at = np.minimum(np.searchsorted(known, raw), known.size - 1)
    inside = np.where(known[at] == raw, levels[at], inside)  # where tails are equal the most usual one counts
    return np.asarray(np.where(raw > known[-1], levels[-1] + (raw - known[-1]) * slope, inside))
