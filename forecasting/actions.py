"""What one can do with forecasts: make one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import structlog
from django.db import transaction

from features.models import Asset
from forecasting import sent_histories
from forecasting.answered import BUILT_IN_VERSION, REGISTERED
from forecasting.errors import NoProductionVersion, UnknownForecaster
from forecasting.forecasters import FORECASTERS, forecaster_named
from forecasting.forecasters.base import Forecaster, Outcome, Problem, Series
from forecasting.horizon import moment_of, target_times
from forecasting.inputs import SEED, Asked, digest_of, problem_of, stored_points
from forecasting.models import Forecast, HistorySource
from forecasting.registered import registered_forecaster
from omarino import metrics
from omarino.series import Points

STALE = timedelta(days=2)
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
    asked = Asked(tenant_id, asset_id, horizon_hours, interval_minutes, as_of, features or {})
    is_stored = historical_data is None
    points = stored_points(asked) if historical_data is None else historical_data
    problem, notes = problem_of(asked, points, asset)
    algorithm = forecaster.name if forecaster.name in FORECASTERS else REGISTERED
    with metrics.inference("forecast", algorithm):
        outcome = forecaster.forecast(problem, seed=SEED)
    warnings = [
        *(f"The field {name!r} is not known and was ignored." for name in ignored_fields),
        *_start_warning(problem.series, as_of, is_stored=is_stored),
        *notes,
        *outcome.warnings,
    ]
    forecast = Forecast(
        forecast_type=forecast_type,
        model_name=forecaster.name,
        model_version=version,
        history_source=HistorySource.STORED if is_stored else HistorySource.BODY,
        inputs_digest=digest_of(identity, problem),
        warnings=list(dict.fromkeys(warnings)),
        **_columns_asked(asked, asset),
        **_columns_found(outcome),
    )
    _keep(forecast, None if is_stored else problem)
    metrics.PREDICTIONS.labels("forecast", algorithm).inc()
    _tell(forecast, began)
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


def _start_warning(series: Series, as_of: datetime, *, is_stored: bool) -> list[str]:
    """Say so when stored readings end long before the time of the forecast, or a given history long after it: a wrong
    year in its timestamps moves the whole forecast."""
    starts_at = moment_of(target_times(series, 1)[0])
    usual = max(STALE, 2 * timedelta(minutes=series.interval_minutes))
    at = f"the forecast starts there, at {starts_at:%Y-%m-%d %H:%M} UTC."
    if is_stored and as_of - starts_at > usual:
        return [f"The last reading is {(as_of - starts_at).days} days old; {at}"]
    if not is_stored and starts_at - as_of > usual:
        ends = f"The history ends after {as_of:%Y-%m-%d %H:%M} UTC"
        return [f"{ends}; {at} Check the timestamps when that is not meant."]
    return []


def _columns_asked(asked: Asked, asset: Asset | None) -> dict[str, object]:
    return {
        "tenant_id": asked.tenant_id,
        "asset_id": asked.asset_id,
        "unit": asset.unit if asset else "",
        "horizon_hours": asked.horizon_hours,
        "interval_minutes": asked.interval_minutes,
        "as_of": asked.as_of,
        "given_features": dict(asked.given),
        "seed": SEED,
    }


def _columns_found(outcome: Outcome) -> dict[str, object]:
    p10, p50, p90 = outcome.quantiles.T.tolist()
    accuracy = outcome.accuracy
    return {
        "algorithm": outcome.algorithm,
        "first_target_at": moment_of(outcome.times[0]),
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


def _keep(forecast: Forecast, sent: Problem | None) -> None:
    """The row, and the history that came with the request, or neither."""
    with transaction.atomic():
        forecast.save(force_insert=True)
        if sent is not None:
            sent_histories.keep(forecast, sent)


def _tell(forecast: Forecast, began: float) -> None:
    log.info(
        "forecast_generated",
        tenant_id=forecast.tenant_id,
        asset_id=forecast.asset_id,
        model_name=forecast.model_name,
        horizon_hours=forecast.horizon_hours,
        latency_ms=metrics.elapsed_ms(began),
        forecast_id=str(forecast.pk),
    )
