"""What one can do with forecasts: make one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import structlog
from django.db import transaction

from features.models import Asset
from forecasting import sent_histories
from forecasting.errors import NoProductionVersion, UnknownForecaster
from forecasting.forecasters import FORECASTERS, forecaster_named
from forecasting.forecasters.base import Forecaster, Outcome, Series
from forecasting.horizon import target_times
from forecasting.inputs import SEED, Asked, digest_of, problem_of, stored_points
from forecasting.models import Forecast, HistorySource
from forecasting.registered import registered_forecaster
from omarino import metrics
from omarino.series import Points

STALE = timedelta(days=2)
BUILT_IN_VERSION = "v1.0.0"
log = structlog.get_logger(__name__)


def make_forecast(
    *,
    tenant_id: str,
    asset_id: str,
    forecast_type: str,
    horizon_hours: int,
    interval_minutes: int,
    model_name: str,
    as_of: datetime,
    historical_data: Points | None = None,
    features: Mapping[str, Sequence[float] | float] | None = None,
    ignored_fields: Sequence[str] = (),
) -> Forecast:
    """Forecast an asset from the given history, else from its stored readings, and keep the forecast."""
    began = time.perf_counter()
    forecaster, version, identity = _forecaster(tenant_id, model_name)
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=asset_id).first()
    is_stored = historical_data is None
    asked = Asked(tenant_id, asset_id, horizon_hours, interval_minutes, as_of, features or {})
    points = stored_points(asked) if historical_data is None else historical_data
    problem, notes = problem_of(asked, points, asset)
    algorithm = forecaster.name if forecaster.name in FORECASTERS else "registered"
    with metrics.inference("forecast", algorithm):
        outcome = forecaster.forecast(problem, seed=SEED)
    warnings = [
        *(f"The field {name!r} is not known and was ignored." for name in ignored_fields),
        *(_age_warning(problem.series, as_of) if is_stored else _ahead_warning(problem.series, as_of)),
        *notes,
        *outcome.warnings,
    ]
    forecast = Forecast(
        tenant_id=tenant_id,
        asset_id=asset_id,
        forecast_type=forecast_type,
        unit=asset.unit if asset else "",
        horizon_hours=horizon_hours,
        interval_minutes=interval_minutes,
        model_name=forecaster.name,
        model_version=version,
        as_of=as_of,
        history_source=HistorySource.STORED if is_stored else HistorySource.BODY,
        inputs_digest=digest_of(identity, problem),
        given_features=dict(features or {}),
        seed=SEED,
        warnings=list(dict.fromkeys(warnings)),
        **_columns_of(outcome),
    )
    with transaction.atomic():
        forecast.save(force_insert=True)
        if not is_stored:
            sent_histories.keep(forecast, problem)
    metrics.PREDICTIONS.labels("forecast", algorithm).inc()
    log.info(
        "forecast_generated",
        tenant_id=tenant_id,
        asset_id=asset_id,
        model_name=forecaster.name,
        horizon_hours=horizon_hours,
        latency_ms=metrics.elapsed_ms(began),
        forecast_id=str(forecast.pk),
    )
    return forecast


def _forecaster(tenant_id: str, model_name: str) -> tuple[Forecaster, str, str]:
    """A built-in algorithm or the tenant's registered model, its version, and what tells it from all others."""
    try:
        built_in = forecaster_named(model_name)
    except UnknownForecaster:
        found = registered_forecaster(tenant_id, model_name)
        if found is None:
            raise NoProductionVersion(model_name=model_name, built_in=", ".join(FORECASTERS)) from None
        return found, found.version.version, found.identity
    return built_in, BUILT_IN_VERSION, built_in.name


def _age_warning(series: Series, as_of: datetime) -> list[str]:
    """Say so when the forecast starts long before the time it is asked for."""
    last = target_times(series, 1)[0].astype("datetime64[us]").item().replace(tzinfo=UTC)
    age = as_of - last
    if age <= max(STALE, 2 * timedelta(minutes=series.interval_minutes)):
        return []
    return [
        f"The last reading is {age.days} days old; the forecast starts there, at {last:%Y-%m-%d %H:%M} UTC."
    ]


def _ahead_warning(series: Series, as_of: datetime) -> list[str]:
    """Say so when the given history ends after the time it is asked for: a wrong year moves the whole forecast."""
    first = target_times(series, 1)[0].astype("datetime64[us]").item().replace(tzinfo=UTC)
    if first - as_of <= max(STALE, 2 * timedelta(minutes=series.interval_minutes)):
        return []
    return [
        f"The history ends after {as_of:%Y-%m-%d %H:%M} UTC; the forecast starts there, at {first:%Y-%m-%d %H:%M} UTC. "
        "Check the timestamps when that is not meant."
    ]


def _columns_of(outcome: Outcome) -> dict[str, object]:
    p10, p50, p90 = outcome.quantiles.T.tolist()
    accuracy = outcome.accuracy
    return {
        "algorithm": outcome.algorithm,
        "first_target_at": outcome.times[0].astype("datetime64[us]").item().replace(tzinfo=UTC),
        "p10": p10,
        "p50": p50,
        "p90": p90,
        "confidence": [None if np.isnan(share) else share for share in outcome.coverage_by_step.tolist()],
        "mae": accuracy and accuracy.mae,
        "rmse": accuracy and accuracy.rmse,
        "mape": accuracy and accuracy.mape,
        "coverage": accuracy and accuracy.coverage,
        "windows": accuracy.windows if accuracy else 0,
        "features_used": list(outcome.features_used),
        "training_samples": outcome.training_samples,
    }
