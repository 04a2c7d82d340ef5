"""Functions that make valid rows; a test names only what matters to it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from anomalies.models import Alert, Detection, Watch
from explanations.answers import About, local_answer
from explanations.attribution import Attribution, Method
from explanations.models import Explanation
from features.batches import ReadingBatch, Rejections, WeatherBatch
from features.catalog import FEATURE_SETS
from features.ingest import store_readings, store_weather
from features.models import Asset, FeatureExport
from forecasting.models import DriftFlag, Forecast, ForecastScore
from omarino.authentication import Principal
from registry import artifacts
from registry.formats import load
from registry.formats.base import Portrait
from registry.models import ModelVersion, RegisteredModel, Stage, Transition


def make_forecast_row(owner: Principal, *, p50: list[float] | None = None, **fields: Any) -> Forecast:
    """A kept forecast of three steps, one unit wide on each side."""
    medians = p50 or [10.0, 11.0, 12.0]
    row = Forecast(
        **{
            "tenant_id": owner.tenant_id,
            "asset_id": "main-meter",
            "forecast_type": "load",
            "horizon_hours": 3,
            "interval_minutes": 60,
            "model_name": "auto",
            "model_version": "v1.0.0",
            "algorithm": "linear_v1",
            "as_of": datetime(2025, 1, 1, tzinfo=UTC),
            "history_source": "body",
            "inputs_digest": "0" * 64,
            "first_target_at": datetime(2025, 1, 1, tzinfo=UTC),
            "p10": [value - 1 for value in medians],
            "p50": medians,
            "p90": [value + 1 for value in medians],
            "confidence": [0.8] * len(medians),
            "features_used": ["lag_24h"],
            "training_samples": 840,
            **fields,
        }
    )
    row.save(force_insert=True)
    return row


def make_score_row(owner: Principal, **fields: Any) -> ForecastScore:
    """A day of forecasts that was scored."""
    told = {
        "asset_id": "main-meter",
        "model_name": "auto",
        "model_version": "v1.0.0",
        "algorithm": "linear_v1",
        "lead_hours": 24,
        "day": datetime(2025, 1, 2, tzinfo=UTC).date(),
        "count": 24,
        "mae": 1.5,
        "pinball": 0.6,
        "coverage": 0.75,
        "bias": -0.2,
        "size": 12.0,
        "scored_at": datetime(2025, 1, 3, tzinfo=UTC),
    }
    return ForecastScore.objects.create(tenant_id=owner.tenant_id, **{**told, **fields})


def make_drift_flag(owner: Principal, **fields: Any) -> DriftFlag:
    """A band that holds too little."""
    moment = datetime(2025, 1, 3, tzinfo=UTC)
    told = {
        "asset_id": "main-meter",
        "kind": "coverage",
        "value": 0.5,
        "limit": 0.15,
        "model_name": "auto",
        "model_version": "v1.0.0",
        "algorithm": "linear_v1",
    }
    return DriftFlag.objects.create(
        tenant_id=owner.tenant_id, raised_at=moment, seen_at=moment, **{**told, **fields}
    )


def make_detection_row(owner: Principal, *, scores: Sequence[float] = (3.2,), **fields: Any) -> Detection:
    """A kept detection of a week of hours that flagged one point an hour from midnight on."""
    first_at = datetime(2025, 1, 1, tzinfo=UTC)
    anomalies = [
        {
            "timestamp": f"{first_at + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}",
            "value": 68.0,
            "anomaly_score": score,
            "is_anomaly": True,
            "expected_range": {"min": 27.0, "max": 36.0, "mean": 31.2, "std": 1.6},
            "severity": "medium",
            "kind": "spike",
            "explanation": "68.0 at 00:00; 31.2 ± 1.6 expected: a spike.",
        }
        for hour, score in enumerate(scores)
    ]
    return Detection.objects.create(
        **{
            "tenant_id": owner.tenant_id,
            "asset_id": "main-meter",
            "unit": "kW",
            "method": "isolation_forest",
            "sensitivity": 3.0,
            "series_source": "body",
            "inputs_digest": "0" * 64,
            "first_at": first_at,
            "last_at": first_at + timedelta(days=7),
            "total_points": 168,
            "anomalies_detected": len(anomalies),
            "mean_score": 0.8,
            "max_score": max(scores, default=0.0),
            "anomalies": anomalies,
            **fields,
        }
    )


def make_alert(watch: Watch, **fields: Any) -> Alert:
    """One spike that nobody is to be told of."""
    at = datetime(2025, 1, 1, tzinfo=UTC)
    known = {
        "watch": watch,
        "tenant_id": watch.tenant_id,
        "kind": "spike",
        "severity": "high",
        "sending": "none",
        "first_at": at,
        "last_at": at,
        "peak_at": at,
        "points": 1,
        "peak_value": 95.0,
        "peak_score": 4.0,
        "explanation": "95.0 at 00:00; 20.0 ± 1.0 expected",
        **fields,
    }
    return Alert.objects.create(**known)


def make_asset(owner: Principal, *, asset_id: str = "main-meter", **fields: Any) -> Asset:
    """An hourly load in kW."""
    known = {"kind": "load", "unit": "kW", "interval_minutes": 60, **fields}
    return Asset.objects.create(tenant_id=owner.tenant_id, asset_id=asset_id, **known)


def make_readings(
    owner: Principal,
    values: Sequence[float] | np.ndarray[Any, Any],
    *,
    asset_id: str = "main-meter",
    start: datetime = datetime(2025, 1, 1, tzinfo=UTC),
    interval_minutes: int = 60,
    metric: str = "value",
    quality: Sequence[str | None] | None = None,
    **asset_fields: Any,
) -> Asset:
    """Readings at an even distance from `start`, of an asset that is made when it is not there yet."""
    numbers = np.asarray(values, dtype=np.float64)
    said = None if quality is None else pa.array(quality, pa.string())
    rows, times_us = _evenly(numbers.size, start, interval_minutes)
    store_readings(
        tenant_id=owner.tenant_id,
        asset_id=asset_id,
        batches=[ReadingBatch(metric, rows, times_us, numbers, said)],
        rejections=Rejections(),
        about_asset=asset_fields,
    )
    return Asset.objects.get(tenant_id=owner.tenant_id, asset_id=asset_id)


def make_weather(
    owner: Principal,
    columns: Mapping[str, Sequence[float] | np.ndarray[Any, Any]],
    *,
    asset_id: str = "main-meter",
    start: datetime = datetime(2025, 1, 1, tzinfo=UTC),
    interval_minutes: int = 60,
) -> None:
    """Weather at an even distance from `start`, such as {"temperature": [...]}; NaN where nothing is known."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    rows, times_us = _evenly(next(iter(arrays.values())).size, start, interval_minutes)
    store_weather(
        tenant_id=owner.tenant_id,
        asset_id=asset_id,
        batches=[WeatherBatch(rows, times_us, arrays)],
        rejections=Rejections(),
    )


def _evenly(count: int, start: datetime, interval_minutes: int) -> tuple[Any, Any]:
    first = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return np.arange(1, count + 1), first + np.arange(count, dtype=np.int64) * interval_minutes * 60_000_000


def make_export(owner: Principal, **fields: Any) -> FeatureExport:
    """A week of forecast_basic, waiting for a worker."""
    chosen = FEATURE_SETS[fields.get("feature_set", "forecast_basic")]
    known = {
        "tenant_id": owner.tenant_id,
        "requested_by": owner.subject,
        "feature_set": chosen.name,
        "feature_set_version": chosen.version,
        "feature_names": list(chosen.names),
        "start_time": datetime(2025, 1, 1, tzinfo=UTC),
        "end_time": datetime(2025, 1, 8, tzinfo=UTC),
        "file_name": "features.parquet",
        "request_digest": "0" * 64,
        **fields,
    }
    return FeatureExport.objects.get(pk=FeatureExport.objects.create(**known).pk)


def make_version(
    owner: Principal,
    *,
    name: str = "site-load",
    version: str = "v1.0.0",
    stage: str = Stage.STAGING,
    artifact: bytes | None = None,
    artifact_format: str = "lightgbm",
    **fields: Any,
) -> ModelVersion:
    """A registered version with its files; with the history that its stage implies."""
    model, _ = RegisteredModel.objects.get_or_create(tenant_id=owner.tenant_id, name=name)
    row = ModelVersion(
        tenant_id=owner.tenant_id,
        model=model,
        version=version,
        stage=stage,
        framework="lightgbm",
        uploaded_by=owner.username,
        **fields,
    )
    with artifacts.received([artifact or b""]) as upload:
        if artifact is not None:
            predictor = load(artifact_format, artifact)
            count = predictor.feature_count
            row.format, row.sha256, row.size_bytes = artifact_format, upload.sha256, upload.size_bytes
            row.feature_names = list(predictor.feature_names) or [f"f{index}" for index in range(count)]
            row.portrait = Portrait(
                format=artifact_format,
                task=predictor.task,
                feature_count=count,
                class_labels=list(predictor.class_labels),
                takes_missing=artifact_format != "skops",
                additive=predictor.additive,
            ).as_dict()
        row.save(force_insert=True)
        artifacts.store(row, upload if artifact is not None else None)
    row.refresh_from_db()
    for before, after in (("", Stage.STAGING), (Stage.STAGING, stage))[: 1 if stage == Stage.STAGING else 2]:
        Transition.objects.create(
            tenant_id=owner.tenant_id,
            model=model,
            version_id=row.pk,
            version=version,
            from_stage=before,
            to_stage=after,
            by=owner.subject,
            by_name=owner.username,
            metrics=row.metrics,
        )
    return row


def make_explanation_row(owner: Principal, **fields: Any) -> Explanation:
    """Why 12 kW: 10 are usual, 3 are of the hour, and the temperature takes one away."""
    parts = [("hour_of_day", 18.0, 3.0), ("temperature", 4.5, -1.0)]
    attribution = Attribution(
        tuple(name for name, _, _ in parts),
        np.array([[value for _, value, _ in parts]]),
        np.array([10.0]),
        np.array([[amount for _, _, amount in parts]]),
        np.array([12.0]),
    )
    method = Method("linear, exact", "the prediction", "the training rows")
    now = datetime.now(UTC)
    return Explanation.objects.create(
        **{
            "tenant_id": owner.tenant_id,
            "requested_by": owner.subject,
            "status": "completed",
            "progress": 1.0,
            "started_at": now,
            "completed_at": now,
            "scope": "local",
            "subject": "model",
            "subject_id": uuid.uuid4(),
            "model_name": "site-load",
            "model_version": "v1.0.0",
            "question_digest": uuid.uuid4().hex * 2,
            "answer": local_answer(attribution, method, About("The prediction is", "its base", "kW")),
            **fields,
        }
    )
