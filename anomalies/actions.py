"""What one can do with anomalies: detect them, and say whether one was real."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from django.db import transaction
from django.utils import timezone

from anomalies.detectors import DETECTORS
from anomalies.detectors.base import Flags, Problem, Scores
from anomalies.detectors.kinds import KINDS
from anomalies.errors import NotFlagged, TooFewReadings
from anomalies.feedback import suggested_sensitivity
from anomalies.models import Detection, Feedback, SeriesSource
from anomalies.severity import severity_of, threshold
from anomalies.wording import sentence
from features import history
from features.models import Asset
from omarino import audit, metrics
from omarino.errors import NotFound
from omarino.series import Points

TRAINING = timedelta(weeks=8)  # of stored readings before a stored window, when no other is given
JUDGED = 500  # the newest verdicts a suggestion is made from
SEED = 0
log = structlog.get_logger(__name__)
NO_POINTS = Points(np.empty(0, dtype=np.int64), np.empty(0))

Row = dict[str, Any]


def detect(
    *,
    tenant_id: str,
    asset_id: str,
    method: str,
    sensitivity: float,
    lookback_hours: int,
    as_of: datetime,
    time_series: Points | None = None,
    training_data: Points | None = None,
    include_scores: bool = False,
    ignored_fields: tuple[str, ...] = (),
) -> tuple[Detection, list[Row]]:
    """Detect in the given series, else in the asset's newest stored readings, and keep what was flagged.

    Returns the kept detection and the rows to answer: the flagged points, or all with `include_scores`.
    """
    began = time.perf_counter()
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=asset_id).first()
    source = SeriesSource.STORED if time_series is None else SeriesSource.BODY
    window, training = time_series, training_data or NO_POINTS
    if window is None:
        window, training = _stored(tenant_id, asset_id, lookback_hours, as_of, training_data)
    problem = Problem(
        times=window.times_us,
        values=window.values,
        training_times=training.times_us,
        training_values=training.values,
        timezone=asset.timezone if asset else "UTC",
    )
    with metrics.inference("anomaly", method):
        scores = DETECTORS[method].score(problem, seed=SEED)
    unit = asset.unit if asset else ""
    flagged = scores.score >= threshold(sensitivity)
    shown = flagged & _leads_its_gap(scores)
    rows = _rows(scores, shown, flagged, problem, sensitivity, unit)
    sent = scores.score[scores.was_sent]
    detection = Detection(
        tenant_id=tenant_id,
        asset_id=asset_id,
        unit=unit,
        method=method,
        sensitivity=sensitivity,
        series_source=source,
        inputs_digest=_digest(method, problem),
        seed=SEED,
        first_at=_moment(int(scores.times[0])),
        last_at=_moment(int(scores.times[-1])),
        total_points=int(scores.was_sent.sum()),
        training_points=int(np.isfinite(training.values).sum()),
        anomalies_detected=len(rows),
        mean_score=float(sent.mean()),
        max_score=float(scores.score.max()),
        anomalies=rows,
        warnings=[
            *(f"The field {name!r} is not known and was ignored." for name in ignored_fields),
            *scores.warnings,
        ],
    )
    detection.save(force_insert=True)
    _tell(detection, began)
    if not include_scores:
        return detection, rows
    return detection, _rows(scores, scores.was_sent | shown, flagged, problem, sensitivity, unit)


@transaction.atomic
def give_feedback(
    *, tenant_id: str, detection_id: Any, timestamp: datetime, is_true: bool, comment: str, given_by: str
) -> tuple[Feedback, float | None]:
    """Keep a verdict on a flagged point, the last one counting; and what sensitivity all verdicts suggest."""
    detection = Detection.objects.for_tenant(tenant_id).filter(pk=detection_id).first()
    if detection is None:
        raise NotFound
    name = _text(np.array([_micros(timestamp)]))[0]
    anomaly = detection.anomaly_at(name)
    if anomaly is None:
        raise NotFlagged(timestamp=name)
    verdict, _ = Feedback.objects.update_or_create(
        tenant_id=tenant_id,
        detection=detection,
        timestamp=timestamp,
        defaults={
            "is_true": is_true,
            "comment": comment,
            "given_by": given_by,
            "given_at": timezone.now(),
            "score": anomaly["anomaly_score"],
        },
    )
    audit.record(tenant_id, "judged", "detection", detection.pk, after=verdict, point=name, is_true=is_true)
    verdicts = Feedback.objects.for_tenant(tenant_id).on_the_like_of(detection)
    judged = list(verdicts.values_list("score", "is_true")[:JUDGED])
    suggested = suggested_sensitivity(
        [score for score, _ in judged], [true for _, true in judged], detection.sensitivity
    )
    return verdict, suggested


def _tell(detection: Detection, began: float) -> None:
    metrics.PREDICTIONS.labels("anomaly", detection.method).inc()
    for row in detection.anomalies:
        metrics.ANOMALIES.labels(detection.method, row["severity"]).inc()
    log.info(
        "anomalies_detected",
        tenant_id=detection.tenant_id,
        asset_id=detection.asset_id,
        model_name=detection.method,
        latency_ms=metrics.elapsed_ms(began),
        detection_id=str(detection.pk),
        anomalies_detected=detection.anomalies_detected,
        total_points=detection.total_points,
    )


def _stored(
    tenant_id: str, asset_id: str, lookback_hours: int, as_of: datetime, training_data: Points | None
) -> tuple[Points, Points]:
    """The newest `lookback_hours` of readings before `as_of`, and what teaches what is usual."""
    latest = history.latest_at(tenant_id=tenant_id, asset_id=asset_id, before=as_of)
    end = latest + timedelta(microseconds=1) if latest else as_of
    start = end - timedelta(hours=lookback_hours)
    times, values = history.window(tenant_id=tenant_id, asset_id=asset_id, start=start - TRAINING, before=end)
    inside = times >= _micros(start)
    if inside.sum() < 2:
        raise TooFewReadings(
            asset_id=asset_id,
            have=int(inside.sum()),
            start=f"{start:%Y-%m-%d %H:%M}",
            end=f"{end:%Y-%m-%d %H:%M} UTC",
        )
    return Points(times[inside], values[inside]), training_data or Points(times[~inside], values[~inside])


def _leads_its_gap(scores: Scores) -> Flags:
    """False for what was never sent, but for the first time of each gap: a gap is told once."""
    absent = ~scores.was_sent
    follows = np.concatenate(([False], absent[:-1]))
    return np.asarray(~absent | ~follows)


def _rows(
    scores: Scores, shown: Flags, flagged: Flags, problem: Problem, sensitivity: float, unit: str
) -> list[Row]:
    """The points of the answer as plain values; NaN is null."""
    (at,) = np.nonzero(shown)
    reach = scores.reach.size(threshold(sensitivity))
    low, high = scores.expected[at] - reach * scores.std[at], scores.expected[at] + reach * scores.std[at]
    known = np.concatenate((problem.values, problem.training_values))
    if not (known < 0).any():
        low = np.maximum(low, 0.0)
    columns = zip(
        _text(scores.times[at]),
        *(
            _nullable(column)
            for column in (scores.values[at], low, high, scores.expected[at], scores.std[at])
        ),
        scores.score[at].tolist(),
        flagged[at].tolist(),
        at.tolist(),
        strict=True,
    )
    zone = ZoneInfo(problem.timezone)
    return [
        {
            "timestamp": timestamp,
            "value": value,
            "anomaly_score": score,
            "is_anomaly": is_anomaly,
            "expected_range": {"min": least, "max": most, "mean": mean, "std": std},
            "severity": severity_of(score) if is_anomaly else None,
            "kind": KINDS[scores.kind[index]] if is_anomaly else None,
            "explanation": _explain(scores, index, zone, unit) if is_anomaly else None,
        }
        for timestamp, value, least, most, mean, std, score, is_anomaly, index in columns
    ]


def _explain(scores: Scores, index: int, zone: ZoneInfo, unit: str) -> str:
    return sentence(
        at=_moment(int(scores.times[index])).astimezone(zone),
        value=float(scores.values[index]),
        expected=float(scores.expected[index]),
        std=float(scores.std[index]),
        kind=KINDS[scores.kind[index]],
        unit=unit,
        lasted=timedelta(microseconds=int(scores.run_length[index]) * scores.step_us),
    )


def _nullable(column: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [number if number == number else None for number in column.tolist()]


def _text(times_us: np.ndarray[Any, np.dtype[np.int64]]) -> list[str]:
    whole = bool((times_us % 1_000_000 == 0).all())
    moments = times_us.astype("datetime64[us]")
    return [f"{text}Z" for text in np.datetime_as_string(moments, unit="s" if whole else "us").tolist()]


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _moment(time_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)


def _digest(method: str, problem: Problem) -> str:
    """sha256 of everything the scores are a function of."""
    digest = hashlib.sha256(repr((method, problem.timezone, SEED)).encode())
    for array in (problem.times, problem.values, problem.training_times, problem.training_values):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
