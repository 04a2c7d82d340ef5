"""Readings, weather and assets on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from features import sets
from features.errors import TooManyReadings
from features.models import (
    ASSET_FIELDS,
    WEATHER_COLUMNS,
    Asset,
    Kind,
    holiday_calendars,
    time_zones,
    validate_asset_id,
)
from features.online import Question
from omarino.api import TenantField
from omarino.kept_fields import KeptFields
from omarino.number_fields import WholeNumberField
from omarino.series import EARLIEST, LATEST

MAX_READINGS = 500_000
MAX_ASSETS = 1_000


class _ItemsField(serializers.Field[list[Any], Any, Any, Any]):
    """A list that is looked at item by item later, where each may be refused on its own."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list) or not data:
            raise serializers.ValidationError("A list of at least one reading.")
        if len(data) > MAX_READINGS:
            raise TooManyReadings(limit=MAX_READINGS)
        return data


def _items_of(**properties: Any) -> dict[str, Any]:
    times = {"timestamp": {"type": "string", "format": "date-time"}}
    item = {"type": "object", "required": ["timestamp"], "properties": {**times, **properties}}
    return {"type": "array", "minItems": 1, "maxItems": MAX_READINGS, "items": item}


@extend_schema_field(
    _items_of(
        metric={"type": "string", "maxLength": 64, "default": "value"},
        value={"type": "number"},
        values={"type": "object", "additionalProperties": {"type": "number"}},
        quality={"type": "string", "nullable": True, "maxLength": 32},
    )
)
class ReadingsField(_ItemsField):
    pass


@extend_schema_field(_items_of(**{name: {"type": "number", "nullable": True} for name in WEATHER_COLUMNS}))
class WeatherField(_ItemsField):
    pass


class ReadingsRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField()
    asset_id = serializers.CharField(max_length=128, validators=[validate_asset_id])
    unit = serializers.CharField(max_length=32, required=False, help_text="Unit of `value`, such as kW.")
    readings = ReadingsField(
        help_text="A reading has a `value`, and of another metric its `metric`; or `values` of several metrics."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        said = {*self.initial_data, *self.context["request"].query_params}
        for name in said:  # ignored, it would store one metric over the other
            if name.lower().rstrip("s") == "metric":
                raise serializers.ValidationError({name: "Say the metric in each reading, beside its value."})
        return attrs


class WeatherRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField()
    asset_id = serializers.CharField(max_length=128, validators=[validate_asset_id])
    readings = WeatherField(help_text="degC, %, W/m2, m/s, degrees, %, mm, hPa; past or ahead.")


class TableQuerySerializer(serializers.Serializer[Any]):
    """What a CSV or Parquet body cannot say itself."""

    asset_id = serializers.CharField(max_length=128, validators=[validate_asset_id])
    unit = serializers.CharField(max_length=32, required=False)
    metric = serializers.CharField(max_length=64, required=False, help_text="`value`, when not given.")
    wide = serializers.BooleanField(default=False, help_text="Every other column is a metric.")
    timezone = serializers.CharField(
        max_length=64, default="UTC", help_text="IANA zone of times that name none."
    )


class RejectionSerializer(serializers.Serializer[Any]):
    row = serializers.IntegerField(help_text="Line of a CSV file, else position from 1.")
    reason = serializers.CharField()


class OutcomeSerializer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField(help_text="New ones.")
    updated = serializers.IntegerField(help_text="Stored before with another value.")
    unchanged = serializers.IntegerField(help_text="Stored before, just so.")
    duplicates = serializers.IntegerField(help_text="Came twice in this body; the last one counts.")
    rejected = RejectionSerializer(many=True, source="rejections", help_text="The first hundred.")
    rejected_total = serializers.IntegerField(source="rejected")


class AssetSerializer(serializers.ModelSerializer[Asset]):
    tenant_id = TenantField(required=False)
    kind = serializers.ChoiceField(choices=Kind.choices, required=False)

    class Meta:
        model = Asset
        fields = [
            "tenant_id",
            "asset_id",
            *ASSET_FIELDS,
            "first_seen_at",
        ]
        read_only_fields = ["asset_id", "first_seen_at"]

    def validate_timezone(self, timezone: str) -> str:
        if timezone not in time_zones():
            raise serializers.ValidationError("An IANA time zone such as Europe/Berlin.")
        return timezone

    def validate_country(self, country: str) -> str:
        if country and country not in holiday_calendars():
            raise serializers.ValidationError("An ISO 3166-1 alpha-2 country such as DE, or empty.")
        return country

    def changes(self) -> dict[str, Any]:
        return {name: value for name, value in self.validated_data.items() if name != "tenant_id"}


class AssetFilterSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=Kind.choices, required=False)
    country = serializers.CharField(max_length=2, required=False)


class FeatureQuestionSerializer(serializers.Serializer[Any]):
    """Which features, as of when."""

    tenant_id = TenantField()
    timestamp = serializers.DateTimeField(
        required=False,
        allow_null=True,
        default_timezone=UTC,
        help_text="Features as of this time: no reading at or after it is used. The present second, when not given.",
    )
    lookback_hours = WholeNumberField(
        min_value=1,
        max_value=8760,
        default=168,
        help_text="A feature that looks back further is null.",
    )
    feature_set = serializers.CharField(max_length=64, required=False, allow_null=True)
    feature_names = serializers.ListField(
        child=serializers.CharField(max_length=64),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=100,
        help_text="Instead of a set.",
    )
    as_known_at = serializers.DateTimeField(
        required=False,
        allow_null=True,
        default_timezone=UTC,
        help_text="Leave out what reached this service later.",
    )

    def validate_timestamp(self, timestamp: datetime | None) -> datetime | None:
        if timestamp is not None and not EARLIEST <= timestamp < LATEST:
            raise serializers.ValidationError("A time from 1970 to 2199.")
        return timestamp

    def question(self, tenant_id: str) -> Question:
        said = self.validated_data
        return Question(
            choice=sets.choice(tenant_id, said.get("feature_set"), said.get("feature_names")),
            as_of=said.get("timestamp") or timezone.now().replace(microsecond=0),
            lookback=timedelta(hours=said["lookback_hours"]),
            as_known_at=said.get("as_known_at"),
        )


class GetFeaturesRequestSerializer(KeptFields, FeatureQuestionSerializer):
    asset_id = serializers.CharField(max_length=128, validators=[validate_asset_id])


class GetFeaturesBatchRequestSerializer(FeatureQuestionSerializer):
    asset_ids = serializers.ListField(
        child=serializers.CharField(max_length=128, validators=[validate_asset_id]),
        min_length=1,
        max_length=MAX_ASSETS,
    )


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "number", "nullable": True},
        "example": {"hour_of_day": 14, "lag_24h": 41.5, "temperature": None},
    }
)
class FeatureValuesField(serializers.DictField):
    """Null where nothing is known; yes is 1."""


class AssetFeaturesSerializer(serializers.Serializer[Any]):
    asset_id = serializers.CharField()
    features = FeatureValuesField()
    feature_count = serializers.IntegerField()
    computed_at = serializers.DateTimeField()
    cache_hit = serializers.BooleanField()


class FeaturesSerializer(AssetFeaturesSerializer):
    tenant_id = serializers.CharField()
    timestamp = serializers.DateTimeField()
    feature_set = serializers.CharField(allow_null=True, help_text="Null when asked for by name.")


class FeaturesBatchSerializer(serializers.Serializer[Any]):
    tenant_id = serializers.CharField()
    timestamp = serializers.DateTimeField()
    feature_set = serializers.CharField(allow_null=True, help_text="Null when asked for by name.")
    assets = AssetFeaturesSerializer(many=True)
    unknown_assets = serializers.ListField(
        child=serializers.CharField(), help_text="Those that this tenant does not have."
    )


class FeatureSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    unit = serializers.CharField()
    description = serializers.CharField()
    looks_back_hours = serializers.FloatField()


class FeatureSetSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    version = serializers.IntegerField()
    description = serializers.CharField()
    features = serializers.ListField(child=serializers.CharField())
    use_cases = serializers.ListField(child=serializers.CharField())
    latency = serializers.CharField()
    storage = serializers.CharField()
    built_in = serializers.BooleanField()
    stored = serializers.BooleanField(help_text="Whether a row an hour is written to ai_features.")
    removed_at = serializers.DateTimeField(allow_null=True)


class FeatureSetsSerializer(serializers.Serializer[Any]):
    feature_sets = serializers.DictField(child=FeatureSetSerializer())
    total = serializers.IntegerField()
    features = FeatureSerializer(many=True, help_text="All that can be asked for by name.")
