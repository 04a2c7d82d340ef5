"""Forecasts on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from features.models import validate_asset_id
from forecasting.forecasters import FORECASTERS
from forecasting.models import Forecast, ForecastType
from omarino.api import TenantField
from omarino.number_fields import WholeNumberField
from omarino.series import LARGEST_VALUE, SeriesField

MAX_FEATURES = 32


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": MAX_FEATURES,
        "additionalProperties": {
            "oneOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]
        },
        "example": {"temperature": 21.5},
    }
)
class KnownFeaturesField(serializers.Field[dict[str, list[float] | float], Any, Any, Any]):
    """What is known of the time ahead: one number for all steps, or one for each."""

    def to_internal_value(self, data: Any) -> dict[str, list[float] | float]:
        if not isinstance(data, dict) or len(data) > MAX_FEATURES:
            raise serializers.ValidationError(f"An object of at most {MAX_FEATURES} features.")
        wrong = {
            name: ["A number, or a list of numbers with one for each step."]
            for name, value in data.items()
            if not _is_number(value)
            and not (isinstance(value, list) and value and all(map(_is_number, value)))
        }
        if wrong:
            raise serializers.ValidationError(wrong)
        return data


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_VALUE


class ForecastRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField()
    asset_id = serializers.CharField(max_length=128, validators=[validate_asset_id])
    forecast_type = serializers.ChoiceField(choices=ForecastType.choices)
    horizon_hours = WholeNumberField(min_value=1, max_value=168, required=False)
    interval_minutes = WholeNumberField(min_value=15, max_value=1440, required=False)
    include_quantiles = serializers.BooleanField(default=True)
    historical_data = SeriesField(
        required=False,
        allow_null=True,
        help_text="The history; without it the asset's stored readings are used.",
    )
    model_name = serializers.CharField(
        max_length=128,
        required=False,
        allow_null=True,
        help_text="auto, lightgbm_v1, linear_v1, prophet_like_v1, seasonal_naive_v1, or a registered model.",
    )
    features = KnownFeaturesField(
        required=False, allow_null=True, help_text="Known values of the time ahead, such as temperature."
    )
    as_of = serializers.DateTimeField(
        required=False,
        allow_null=True,
        default_timezone=UTC,
        help_text="Forecast as if it were this time: later readings are not used. Now, when not given.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("horizon_hours", settings.DEFAULT_FORECAST_HORIZON)
        attrs.setdefault("interval_minutes", settings.DEFAULT_FORECAST_INTERVAL)
        as_of, history = attrs.get("as_of"), attrs.get("historical_data")
        if as_of and history:
            attrs["historical_data"] = history.before(as_of)
        attrs["as_of"] = as_of or timezone.now()
        attrs["model_name"] = attrs.get("model_name") or "auto"
        return attrs

    def unknown_fields(self) -> list[str]:
        return sorted(set(self.initial_data) - set(self.fields))


class QuantilesSerializer(serializers.Serializer[Any]):
    p10 = serializers.FloatField()
    p50 = serializers.FloatField()
    p90 = serializers.FloatField()


class StepSerializer(serializers.Serializer[Any]):
    timestamp = serializers.DateTimeField()
    point_forecast = serializers.FloatField(help_text="The median.")
    quantiles = QuantilesSerializer(allow_null=True)
    confidence = serializers.FloatField(
        allow_null=True, help_text="Measured share of outcomes inside p10..p90 at this lead time."
    )
    prediction_interval_lower = serializers.FloatField()
    prediction_interval_upper = serializers.FloatField()


class ForecastMetadataSerializer(serializers.Serializer[Any]):
    generated_at = serializers.DateTimeField()
    model_name = serializers.CharField()
    model_version = serializers.CharField()
    algorithm = serializers.CharField()
    features_used = serializers.ListField(child=serializers.CharField())
    training_samples = serializers.IntegerField()
    training_date = serializers.DateTimeField(allow_null=True, help_text="Null for a registered model.")
    mae = serializers.FloatField(allow_null=True)
    rmse = serializers.FloatField(allow_null=True)
    mape = serializers.FloatField(allow_null=True, help_text="0.05 is 5 %.")
    coverage = serializers.FloatField(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField())


class ForecastSummarySerializer(serializers.Serializer[Forecast]):
    """A forecast without its steps, as lists show it."""

    forecast_id = serializers.UUIDField()
    tenant_id = serializers.CharField()
    asset_id = serializers.CharField()
    forecast_type = serializers.ChoiceField(choices=ForecastType.choices)
    unit = serializers.CharField()
    horizon_hours = serializers.IntegerField()
    interval_minutes = serializers.IntegerField()
    as_of = serializers.DateTimeField()
    model_name = serializers.CharField()
    model_version = serializers.CharField()
    metadata: Any = ForecastMetadataSerializer()

    def to_representation(self, instance: Forecast) -> dict[str, Any]:
        made_at = _utc(instance.made_at)
        return {
            "forecast_id": instance.id,
            "tenant_id": instance.tenant_id,
            "asset_id": instance.asset_id,
            "forecast_type": instance.forecast_type,
            "unit": instance.unit,
            "horizon_hours": instance.horizon_hours,
            "interval_minutes": instance.interval_minutes,
            "as_of": _utc(instance.as_of),
            "model_name": instance.model_name,
            "model_version": instance.model_version,
            "metadata": {
                "generated_at": made_at,
                "model_name": instance.model_name,
                "model_version": instance.model_version,
                "algorithm": instance.algorithm,
                "features_used": instance.features_used,
                "training_samples": instance.training_samples,
                # a built-in algorithm is fitted anew for each forecast; a registered model was, some day before
                "training_date": made_at if instance.model_name in FORECASTERS else None,
                "mae": instance.mae,
                "rmse": instance.rmse,
                "mape": instance.mape,
                "coverage": instance.coverage,
                "warnings": instance.warnings,
            },
        }


class ForecastSerializer(ForecastSummarySerializer):
    """A forecast with its steps. The fields document; plain dicts are made, since field objects for
    672 steps would cost more than the forecast."""

    forecasts = StepSerializer(many=True)

    def to_representation(self, instance: Forecast) -> dict[str, Any]:
        with_quantiles = self.context.get("include_quantiles", True)
        steps = [
            {
                "timestamp": _utc(step.timestamp),
                "point_forecast": step.p50,
                "quantiles": {"p10": step.p10, "p50": step.p50, "p90": step.p90} if with_quantiles else None,
                "confidence": step.confidence,
                "prediction_interval_lower": step.p10,
                "prediction_interval_upper": step.p90,
            }
            for step in instance.steps()
        ]
        summary = super().to_representation(instance)
        metadata = summary.pop("metadata")
        return {**summary, "forecasts": steps, "metadata": metadata}


class ForecastFilterSerializer(serializers.Serializer[Any]):
    asset_id = serializers.CharField(required=False, max_length=128)
    forecast_type = serializers.ChoiceField(choices=ForecastType.choices, required=False)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
