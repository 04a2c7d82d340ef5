"""What is unusual in several metrics of one device together: an Isolation Forest, and each metric's usual day."""

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

from anomalies import daily_profile
from anomalies.daily_profile import HOUR_US, DailyProfile, Floats, Times

STALE_STEPS = 3  # a metric not sent for so many usual intervals is not known any more
TREES, SAMPLES = 100, 256
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

    metrics: of each metric the distances from its median, in robust standard deviations, at TAILS, then those from
    what is usual at the time; so that a metric of heavy tails, such as traffic, does not drown the others. reach: the
    largest of these, each in standard deviations of its own, at TAILS. isolation: raw Isolation Forest scores at TAILS.
    threshold: standard deviations from which a point is an anomaly. profile: what is usual at which time; detectors
    trained before there were profiles have none, and are asked as they were trained.
    """

    metrics: tuple[tuple[float, ...], ...]
    reach: tuple[float, ...]
    isolation: tuple[float, ...]
    threshold: float
    profile: DailyProfile | None = None

    @property
    def metric_count(self) -> int:
        return len(self.metrics) if self.profile is None else len(self.metrics) // 2

    def as_dict(self) -> dict[str, object]:
        return {
            "metrics": [list(tails) for tails in self.metrics],
            "reach": list(self.reach),
            "isolation": list(self.isolation),
            "threshold": self.threshold,
            **({} if self.profile is None else {"profile": self.profile.as_dict()}),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Calibration:
        """Raises ValueError, KeyError or TypeError when it is not one."""
        every = [*told["metrics"], told["reach"], told["isolation"]]
        tails = [tuple(float(value) for value in one) for one in every]
        if any(len(one) != len(TAILS) for one in tails):
            raise ValueError("a number for each tail is needed")
        profile = told.get("profile")
        if profile is not None:
            if len(tails) % 2:
                raise ValueError("two distances of each metric are needed")
            profile = DailyProfile.from_dict(profile, len(tails) // 2 - 1)
        return cls(tuple(tails[:-2]), tails[-2], tails[-1], float(told["threshold"]), profile)


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


def feature_names(metrics: Sequence[str], *, with_profile: bool = True) -> list[str]:
    """Of the columns of `features`, each once: a metric may be called as a column that is made of another.

    >>> feature_names(["load", "load_change"])
    ['load', 'load_change', 'load_change_', 'load_change_change', 'load_from_usual', 'load_change_from_usual']
    """
    names = list(metrics)
    changes = [f"{metric}_change" for metric in metrics]
    of_time = [f"{metric}_from_usual" for metric in metrics] if with_profile else ["hour_sin", "hour_cos"]
    for made in (*changes, *of_time):
        lines = next(count for count in itertools.count() if made + "_" * count not in names)
        names.append(made + "_" * lines)
    return names


def features(table: Table, profile: DailyProfile | None) -> Floats:
    """Shape (n, 3 m): the values, their change against the mean of the hour before, and how far they are from what is
    usual at their time. Without a profile, of detectors that have none, (n, 2 m + 2): the time of day (UTC) instead."""
    if profile is not None:
        return _columns(table, profile.residuals(table.times_us, table.values))
    hour = 2 * np.pi * (table.times_us % (24 * HOUR_US)) / (24 * HOUR_US)
    return _columns(table, np.column_stack([np.sin(hour), np.cos(hour)]))


def fitted(table: Table, contamination: float, *, seed: int) -> tuple[Pipeline, Calibration]:
    """Fit on all rows; calibrate on rows each scored by a forest that did not see their stretch of time.

    Args:
        table: at least a few dozen rows.
        contamination: share of the rows taken to be unusual, 0.001..0.5.
    """
    profile = daily_profile.learned(table.times_us, table.values)
    rows = _columns(table, daily_profile.left_out_residuals(table.times_us, table.values))
    whole = _forest(len(rows), seed).fit(rows)
    distances = _distances(whole, rows, len(table.metrics), with_profile=True)
    metrics = tuple(_tails(column) for column in distances.T)
    reach = _reach(distances, metrics)
    block = np.arange(len(rows)) * BLOCKS // len(rows) % 2
    isolation = np.empty(len(rows))
    for side in (0, 1):
        half = _forest(int((block != side).sum()), seed).fit(rows[block != side])
        isolation[block == side] = -half.score_samples(rows[block == side])
    calibrated = Calibration(metrics, _tails(reach), _tails(isolation), 0.0, profile)
    threshold = float(np.quantile(_standard(calibrated, isolation, reach), 1.0 - contamination))
    return whole, replace(calibrated, threshold=max(threshold, LEAST_THRESHOLD))


def scored(
    model: Pipeline, calibration: Calibration, table: Table, which: NDArray[np.int64] | None = None
) -> Floats:
    """Standard deviations, shape (n,): how rarely training data were as isolated, or any metric as far out.

    The share of training rows beyond becomes a normal quantile; beyond all of them it goes on in a straight line.
    which: score only these rows, each seen with those before it.
    """
    rows = features(table, calibration.profile) if len(table.times_us) else np.empty((0, 0))
    rows = rows if which is None else rows[which]
    return _scored_rows(model, calibration, rows) if len(rows) else np.empty(0)


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

    A metric drives a row when its score falls by a quarter of itself or more with that metric, its change and its
    distance from what is usual at the time set to the training median.
    """
    if not which.size:
        return []
    rows, m = features(table, calibration.profile)[which], len(table.metrics)
    usual = model[0].center_
    before = _scored_rows(model, calibration, rows)
    falls = np.empty((len(rows), m))
    for k in range(m):
        without = rows.copy()
        own = [k, m + k] if calibration.profile is None else [k, m + k, 2 * m + k]
        without[:, own] = usual[own]
        falls[:, k] = before - _scored_rows(model, calibration, without)
    order = np.argsort(-falls, axis=1)
    return [
        [table.metrics[k] for k in order[row] if falls[row, k] >= 0.25 * before[row]]
        or [table.metrics[order[row, 0]]]
        for row in range(len(rows))
    ]


def _forest(rows: int, seed: int) -> Pipeline:
    forest = IsolationForest(n_estimators=TREES, max_samples=min(SAMPLES, rows), random_state=seed)
    return make_pipeline(RobustScaler(), forest)


def _columns(table: Table, of_time: Floats) -> Floats:
    return np.column_stack([table.values, _changes(table), of_time])


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
    with_profile = calibration.profile is not None
    distances = _distances(model, rows, calibration.metric_count, with_profile=with_profile)
    return _standard(calibration, -model.score_samples(rows), _reach(distances, calibration.metrics))


def _distances(model: Pipeline, rows: Floats, metrics: int, *, with_profile: bool) -> Floats:
    """Of each metric from its training median, and from what is usual at its time, in robust standard deviations,
    shape (n, m) or (n, 2 m)."""
    scaled = np.abs(model[0].transform(rows)) * IQR_TO_STD
    if not with_profile:
        return np.asarray(scaled[:, :metrics])
    return np.hstack([scaled[:, :metrics], scaled[:, 2 * metrics :]])


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
