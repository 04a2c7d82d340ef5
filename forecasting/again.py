"""A kept forecast once more: from the rows it was made from, proved by its digest."""

from __future__ import annotations

import numpy as np

from features.models import Asset
from forecasting import sent_histories
from forecasting.answered import BUILT_IN_VERSION
from forecasting.errors import (
    FeatureLengthMismatch,
    InputsChanged,
    MadeByAnotherVersion,
    NoReadings,
    ReadingsTooFarApart,
    SeriesTooShort,
)
from forecasting.forecasters import FORECASTERS
from forecasting.forecasters.base import Attribution, Problem
from forecasting.inputs import Asked, digest_of, problem_around, problem_of, stored_points
from forecasting.models import Forecast, HistorySource
from forecasting.recursive import Floats
from forecasting.registered import forecaster_of
from registry.models import ModelVersion

SAME = 1e-6  # of the largest median: one processor rounds as another does, to here


def attribution_again(forecast: Forecast) -> Attribution:
    """What adds up to each median of a forecast by a built-in forecaster.

    Raises:
        HistoryNotKept: its history came with the request, and is no longer kept.
        InputsChanged: what is stored is no longer what it was made from.
        MadeByAnotherVersion: the same rows give another forecast today.
    """
    forecaster = FORECASTERS.get(forecast.model_name)
    if forecaster is None or forecast.model_version != BUILT_IN_VERSION:
        raise _by_another(forecast, f"{forecast.model_name} {forecast.model_version}")
    problem = _problem_again(forecast, forecaster.name)
    outcome = forecaster.forecast(problem, seed=forecast.seed, explained=True)
    same = np.abs(outcome.quantiles[:, 1] - forecast.p50).max() <= SAME * max(map(abs, forecast.p50))
    if not same or outcome.attribution is None:
        raise _by_another(forecast, "an earlier version of this service")
    return outcome.attribution


def rows_again(forecast: Forecast, version: ModelVersion) -> Floats:
    """What a registered model was asked for each step, shape (steps, features). Raises as `attribution_again`."""
    forecaster = forecaster_of(version)
    return forecaster.rows_asked(_problem_again(forecast, forecaster.identity))


def _problem_again(forecast: Forecast, identity: str) -> Problem:
    """The problem as it was known when the forecast was made, else as it is known now; its digest decides."""
    told = sent_histories.kept(forecast) if forecast.history_source == HistorySource.BODY else None
    asset = Asset.objects.for_tenant(forecast.tenant_id).filter(asset_id=forecast.asset_id).first()
    for as_known_at in (forecast.made_at, None):
        asked = Asked(
            forecast.tenant_id,
            forecast.asset_id,
            forecast.horizon_hours,
            forecast.interval_minutes,
            forecast.as_of,
            forecast.given_features,
            as_known_at,
        )
        try:
            if told is None:
                problem, _ = problem_of(asked, stored_points(asked), asset)
            else:
                problem, _ = problem_around(asked, *told)
        except (NoReadings, SeriesTooShort, ReadingsTooFarApart, FeatureLengthMismatch):
            continue  # too little is left of it
        if digest_of(identity, problem) == forecast.inputs_digest:
            return problem
    raise InputsChanged(forecast_id=forecast.pk, asset_id=forecast.asset_id)


def _by_another(forecast: Forecast, made_by: str) -> MadeByAnotherVersion:
    return MadeByAnotherVersion(forecast_id=forecast.pk, made_by=made_by)
