"""What one can do with anomalies: detect them, and say whether one was real."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import structlog
from django.db import transaction
from django.utils import timezone

from anomalies.detectors import DETECTORS
from anomalies.detectors.base import Problem
from anomalies.errors import NotFlagged, TooFewReadings, TooManyScores
from anomalies.feedback import suggested_sensitivity
from anomalies.findings import Findings, Row, texts
from anomalies.models import Detection, Feedback, SeriesSource
from features import history
from features.known import KnownAsset, known_assets
from omarino import audit, metrics
from omarino.epoch import from_us, to_us
from omarino.errors import NotFound
from omarino.series import Points

TRAINING = timedelta(weeks=8)  # of stored readings before a stored window, when no other is given
MOST_SCORES = 200_000  # of one answer, as many as a body may bring
JUDGED = 500  # the newest verdicts a suggestion is made from
SEED = 0
log = structlog.get_logger(__name__)
NO_POINTS = Points(np.empty(0, dtype=np.int64), np.empty(0))


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
    unheeded_fields: tuple[str, ...] = (),
) -> tuple[Detection, list[Row]]:
    """Detect in the given series, else in the asset's newest stored readings, and keep what was flagged.

    Returns the kept detection and the rows to answer: the flagged points, or all with `include_scores`.
    """
    began = time.perf_counter()
    asset = known_assets(tenant_id=tenant_id, asset_ids=[asset_id]).get(asset_id)
    window, training = time_series, training_data or NO_POINTS
    if window is None:
        window, training = _stored(tenant_id, asset_id, lookback_hours, as_of, training_data)
    if include_scores and window.size > MOST_SCORES:
        raise TooManyScores(have=window.size, limit=MOST_SCORES)
    problem = _problem(window, training, asset)
    with metrics.inference("anomaly", method):
        scores = DETECTORS[method].score(problem, seed=SEED)
    findings = Findings(problem, scores, sensitivity, asset.unit if asset else "")
    told = (
        *(f"The field {name!r} is not known and was ignored." for name in ignored_fields),
        *(
            f"{name} counts for stored readings only; the whole time_series was judged."
            for name in unheeded_fields
        ),
    )
    detection = Detection(
        tenant_id=tenant_id,
        asset_id=asset_id,
        method=method,
        series_source=SeriesSource.STORED if time_series is None else SeriesSource.BODY,
        inputs_digest=_digest(method, problem),
        seed=SEED,
        training_points=int(np.isfinite(training.values).sum()),
        warnings=[*told, *scores.warnings],
        **_as_kept(findings),
    )
    detection.save(force_insert=True)
    _tell(detection, began)
    return detection, findings.every_point() if include_scores else detection.anomalies


@transaction.atomic
def give_feedback(
    *, tenant_id: str, detection_id: Any, timestamp: datetime, is_true: bool, comment: str, given_by: str
) -> tuple[Feedback, float | None]:
    """Keep a verdict on a flagged point, the last one counting; and what sensitivity all verdicts suggest."""
    detection = Detection.objects.for_tenant(tenant_id).filter(pk=detection_id).first()
    if detection is None:
        raise NotFound
    (name,) = texts(np.array([to_us(timestamp)]))
    anomaly = detection.anomaly_at(name)
    if anomaly is None:
        raise NotFlagged(timestamp=name)
    of_this_point: dict[str, Any] = {"tenant_id": tenant_id, "detection": detection, "timestamp": timestamp}
    earlier = Feedback.objects.select_for_update().filter(**of_this_point).first()
    verdict, _ = Feedback.objects.update_or_create(
        **of_this_point,
        defaults={
            "is_true": is_true,
            "comment": comment,
            "given_by": given_by,
            "given_at": timezone.now(),
            "score": anomaly["anomaly_score"],
        },
    )
    was = audit.digest(earlier) if earlier is not None else ""
    told = (tenant_id, "judged", "detection", detection.pk)
    audit.record(*told, before=was, after=verdict, point=name, is_true=is_true)
    verdicts = Feedback.objects.for_tenant(tenant_id).on_the_like_of(detection)
    judged = list(verdicts.values_list("score", "is_true")[:JUDGED])
    suggested = suggested_sensitivity(
        [score for score, _ in judged], [true for _, true in judged], detection.sensitivity
    )
    return verdict, suggested


def _tell(detection: Detection, began: float) -> None:
    metrics.PREDICTIONS.labels("anomaly", detection.method).inc()
    for severity, count in Counter(row["severity"] for row in detection.anomalies).items():
        metrics.ANOMALIES.labels(detection.method, severity).inc(count)
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
    inside = times >= to_us(start)
    if inside.sum() < 2:
        raise TooFewReadings(
            asset_id=asset_id,
            have=int(inside.sum()),
            start=f"{start:%Y-%m-%d %H:%M}",
            end=f"{end:%Y-%m-%d %H:%M} UTC",
        )
    return Points(times[inside], values[inside]), training_data or Points(times[~inside], values[~inside])


def _problem(window: Points, training: Points, asset: KnownAsset | None) -> Problem:
    return Problem(
        times=window.times_us,
        values=window.values,
        training_times=training.times_us,
        training_values=training.values,
        timezone=asset.timezone if asset else "UTC",
    )


def _as_kept(findings: Findings) -> dict[str, Any]:
    """The columns of a detection that say what was found."""
    scores, anomalies = findings.scores, findings.anomalies()
    return {
        "unit": findings.unit,
        "sensitivity": findings.sensitivity,
        "first_at": from_us(int(scores.times[0])),
        "last_at": from_us(int(scores.times[-1])),
        "total_points": int(scores.was_sent.sum()),
        "anomalies_detected": len(anomalies),
        "mean_score": float(scores.score[scores.was_sent].mean()),
        "max_score": float(scores.score.max()),
        "anomalies": anomalies,
    }


def _digest(method: str, problem: Problem) -> str:
    """sha256 of everything the scores are a function of."""
    digest = hashlib.sha256(repr((method, problem.timezone, SEED)).encode())
    for array in (problem.times, problem.values, problem.training_times, problem.training_values):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
