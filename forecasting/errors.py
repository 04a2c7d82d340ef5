"""What can be wrong with a request for a forecast, in the words of forecasting."""

from __future__ import annotations

from omarino.errors import HubError


class SeriesTooShort(HubError):
    status = 422
    code = "series_too_short"
    title = "Series too short"
    detail = "A forecast needs at least {need} usable points; the series has {have}. Send more history."


class ReadingsTooFarApart(HubError):
    status = 422
    code = "readings_too_far_apart"
    title = "Readings too far apart"
    detail = (
        "Readings come every {days} days; a forecast of up to a week needs one at least every two days. "
        "Send daily or finer readings, and check the years of the timestamps."
    )


class UnknownForecaster(HubError):
    status = 404
    code = "unknown_forecaster"
    title = "Unknown forecaster"
    detail = "There is no built-in forecaster {name!r}. Known are: {known}."


class NoReadings(HubError):
    status = 422
    code = "no_readings"
    title = "No readings"
    detail = (
        "There are no readings of the asset {asset_id!r} before {before}. "
        "Send historical_data, or load readings first (POST /ai/features/readings)."
    )


class NoProductionVersion(HubError):
    status = 409
    code = "no_production_version"
    title = "No production version"
    detail = (
        "No version of a model {model_name!r} is in production for this tenant. "
        "Promote one, or name a built-in algorithm: {built_in}."
    )


class ModelCannotForecast(HubError):
    status = 409
    code = "model_cannot_forecast"
    title = "Model cannot forecast"
    detail = (
        "The model {model_name!r} is in production, but cannot forecast: {reason}. "
        "Ask it for predictions by POST /ai/models/{{id}}/predict."
    )


class FeatureLengthMismatch(HubError):
    status = 422
    code = "feature_length_mismatch"
    title = "Unprocessable content"
    detail = (
        "The feature {name!r} has {have} values; this forecast has {need} steps. Send one number or {need}."
    )


class HistoryNotKept(HubError):
    status = 409
    code = "history_not_kept"
    title = "Conflict"
    detail = (
        "The history of the forecast {forecast_id} came with its request {reason}, so it cannot be made again. "
        "Store the readings (POST /ai/features/readings) and forecast from them."
    )


class InputsChanged(HubError):
    status = 409
    code = "inputs_changed"
    title = "Conflict"
    detail = (
        "What is stored of {asset_id!r} is no longer what the forecast {forecast_id} was made from: readings were "
        "corrected or removed, or the asset was changed. Make the forecast anew."
    )


class MadeByAnotherVersion(HubError):
    status = 409
    code = "made_by_another_version"
    title = "Conflict"
    detail = (
        "The forecast {forecast_id} was made by {made_by}, which cannot make it again here. Make it anew."
    )
