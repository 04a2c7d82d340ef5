"""Predictions that were kept, explained: the steps of a forecast, the findings of a detection."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from anomalies.models import Detection
from explanations import model_questions
from explanations.answers import About
from explanations.attribution import Attribution, Method
from explanations.errors import NoSuchPoint, NotAdditive, NothingFlagged
from explanations.wording import moment, number
from features.models import Asset
from forecasting import again
from forecasting.errors import MadeByAnotherVersion
from forecasting.forecasters import FORECASTERS
from forecasting.models import Forecast
from registry.models import ModelVersion

DETECTOR_VERSION = "v1.0.0"
FORECAST_METHODS = {
    "auto": "the parts of linear_v1 and lightgbm_v1 by their weights, exact",
    "lightgbm_v1": "TreeSHAP by LightGBM, exact",
    "linear_v1": "linear, exact",
    "prophet_like_v1": "components, exact",
    "seasonal_naive_v1": "past values by their weights, exact",
}
USUAL = "the mean of the last four weeks, and what the model adds to it on average"


def step_of(forecast: Forecast, step: int | None, timestamp: datetime | None) -> int:
    """Index of the step, by itself or by its time; the first when neither is said. Raises NoSuchPoint."""
    count = len(forecast.p50)
    if timestamp is not None:
        behind = timestamp - forecast.first_target_at
        index, rest = divmod(behind, timedelta(minutes=forecast.interval_minutes))
        if rest or not 0 <= index < count or (step is not None and step != index):
            raise NoSuchPoint(
                what="The forecast",
                there=f"no step at {timestamp.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
                + ("" if step is None else f" with the number {step}"),
                remedy="Give the timestamp of one of its steps, or step alone.",
            )
        return int(index)
    index = step or 0
    if index >= count:
        raise NoSuchPoint(what="The forecast", there=f"{count} steps", remedy=f"step is 0 to {count - 1}.")
    return index


def time_of(forecast: Forecast, index: int) -> datetime:
    return forecast.first_target_at + index * timedelta(minutes=forecast.interval_minutes)


def attribution_of(forecast: Forecast) -> tuple[Attribution, Method]:
    """What adds up to each of its medians, from the rows it was made from; checked.

    Raises what `forecasting.again` raises.
    """
    if forecast.model_name in FORECASTERS:
        found = again.attribution_again(forecast)
        attribution = Attribution(
            found.names, found.values, found.base, found.contributions, np.array(forecast.p50)
        )
        more = {"algorithm": forecast.algorithm, "unit": forecast.unit}
        method = Method(
            FORECAST_METHODS[forecast.model_name], "the median", USUAL, forecast.training_samples, more
        )
        return attribution.settled(again.SAME), method
    return _of_registered(forecast)


def _of_registered(forecast: Forecast) -> tuple[Attribution, Method]:
    """A registered model's steps: what it was asked for each is explained as any row of it."""
    versions = ModelVersion.objects.for_tenant(forecast.tenant_id).select_related("model")
    version = versions.named(forecast.model_name, forecast.model_version).first()
    if version is None:
        raise MadeByAnotherVersion(
            forecast_id=forecast.pk,
            made_by=f"{forecast.model_name} {forecast.model_version}, which was deleted",
        )
    rows = again.rows_again(forecast, version)
    asked = model_questions.asked_of(
        version, rows=rows, size=100, background=None, asset_id=forecast.asset_id, is_global=False
    )
    if model_questions.explainer_of(version) is None:
        raise NotAdditive(
            what=f"A forecast by {version}",
            reason="its format can only be asked, not looked into; explain single rows of it by input_features",
        )
    attribution, method = model_questions.attribution_of(
        asked, by_asking=None, report=model_questions.unheard
    )
    medians = np.array(forecast.p50)
    left = medians - attribution.predictions
    if method.output != "the prediction":
        raise NotAdditive(what=f"A forecast by {version}", reason=f"its parts add up to the {method.output}")
    names, values, contributions = attribution.names, attribution.values, attribution.contributions
    if (np.abs(left) > again.SAME * np.abs(medians).max()).any():  # a load is never below nought
        names = (*names, "limits")
        values = np.column_stack((values, np.full(left.size, np.nan)))
        contributions = np.column_stack((contributions, left))
    return Attribution(names, values, attribution.base, contributions, medians).settled(again.SAME), method


def about_forecast(forecast: Forecast, index: int) -> About:
    """In the words of somebody at the site when the forecast was made."""
    zone = _zone(forecast.tenant_id, forecast.asset_id)
    at, said_at = time_of(forecast, index).astimezone(zone), forecast.as_of.astimezone(zone)
    usual = "usual" if forecast.model_name in FORECASTERS else "its base"
    return About(f"{moment(at, said_at)} is forecast at", usual, forecast.unit)


def anomaly_of(detection: Detection, index: int | None, timestamp: datetime | None) -> int:
    """Index of the finding, by itself or by its time; the one with the highest score and a value when neither is said."""
    found = detection.anomalies
    if not found:
        raise NothingFlagged(detection_id=detection.pk)
    if timestamp is not None:
        for at, anomaly in enumerate(found):
            if datetime.fromisoformat(anomaly["timestamp"]) == timestamp and index in (None, at):
                return at
        raise NoSuchPoint(
            what="The detection",
            there=f"flagged nothing at {timestamp.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            remedy="Give the timestamp of one of its anomalies.",
        )
    if index is None:
        return max(range(len(found)), key=lambda at: (_is_additive(found[at]), found[at]["anomaly_score"]))
    if index >= len(found):
        raise NoSuchPoint(
            what="The detection", there=f"{len(found)} anomalies", remedy=f"step is 0 to {len(found) - 1}."
        )
    return index


def attribution_of_anomaly(detection: Detection, index: int) -> tuple[Attribution, Method, About]:
    """A flagged reading as what was expected, the spread that is usual, and what lies beyond it.

    All of it was kept with the finding, so nothing is computed anew. A score is the largest of several
    measures of the same reading, not their sum; it stands beside. Raises NotAdditive where nothing was read.
    """
    found = detection.anomalies[index]
    value, usual = found["value"], found["expected_range"]
    if not _is_additive(found):
        raise NotAdditive(
            what=f"The finding at {found['timestamp']}",
            reason="nothing was read then, so there is no value that parts could add up to"
            if value is None
            else "nothing is known of what was to be expected",
        )
    mean = usual["mean"]
    edge = min(max(value, _or(usual["min"], mean)), _or(usual["max"], mean))
    zone = _zone(detection.tenant_id, detection.asset_id)
    at = datetime.fromisoformat(found["timestamp"]).astimezone(zone)
    attribution = Attribution(
        ("usual_spread", "beyond_usual"),
        np.array([[_or(usual["std"], math.nan), value]]),
        np.array([mean]),
        np.array([[edge - mean, value - edge]]),
        np.array([value]),
    )
    more = {
        "anomaly_score": found["anomaly_score"],
        "severity": found["severity"],
        "kind": found.get("kind"),
        "finding": found["explanation"],
        "unit": detection.unit,
    }
    method = Method(
        "the expected range of the detection",
        "the reading",
        f"what {detection.get_method_display()} expected at that time",
        detection.training_points,
        more,
    )
    return attribution.settled(), method, _about_reading(at, mean, edge, value, detection.unit)


def _about_reading(at: datetime, mean: float, edge: float, value: float, unit: str) -> About:
    """How far off, and how much of that is usual.

    >>> _about_reading(datetime(2026, 1, 5, 3), 31.2, 36.0, 68.0, "kW").said
    'On 5 January 2026 at 03:00 the reading is 68.0 kW, 36.8 above what was expected: 4.80 is within the usual spread, 32.0 beyond it.'
    """
    off, side = value - mean, "above" if value >= mean else "below"
    tail = f" {unit}" if unit else ""
    said = (
        f"On {at:%-d %B %Y} at {at:%H:%M} the reading is {number(value)}{tail}, {number(abs(off))} {side} what was "
        f"expected: {number(abs(edge - mean))} is within the usual spread, {number(abs(value - edge))} beyond it."
    )
    return About("The reading is", "what was expected", unit, said)


def _is_additive(anomaly: dict[str, Any]) -> bool:
    return anomaly["value"] is not None and anomaly["expected_range"]["mean"] is not None


def _or(said: Any, otherwise: float) -> float:
    return otherwise if said is None else float(said)


def _zone(tenant_id: str, asset_id: str) -> ZoneInfo:
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=asset_id).first()
    return ZoneInfo(asset.timezone if asset else "UTC")
