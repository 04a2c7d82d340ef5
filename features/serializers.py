"""Readings, weather and assets on the wire."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from features.errors import TooManyReadings
from features.models import WEATHER_COLUMNS, Asset, Kind, holiday_calendars, time_zones, validate_asset_id
from omarino.api import TenantField

MAX_READINGS = 500_000


class _ItemsField(serializers.Field[list[Any], Any, Any, Any]):
    """A list that is looked at item by item later, where each may be refused on its own."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list) or not data:
            raise serializers.ValidationError("A list of at least one reading.")
        if len(data) > MAX_READINGS:
            raise TooManyReadings(limit=MAX_READINGS)
        return data


@extend_schema_field(
    {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_READINGS,
        "items": {
            "type": "object",
            "required": ["timestamp"],
            "properties": {
                "timestamp": {"type": "string", "format": "date-time"},
                "value": {"type": "number"},
                "values": {"type": "object", "additionalProperties": {"type": "number"}},
                "quality": {"type": "string", "nullable": True, "maxLength": 32},
            },
        },
    }
)
class ReadingsField(_ItemsField):
    pass


@extend_schema_field(
    {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_READINGS,
        "items": {
            "type": "object",
            "required": ["timestamp"],
            "properties": {
                "timestamp": {"type": "string", "format": "date-time"},
                **{name: {"type": "number", "nullable": True} for name in WEATHER_COLUMNS},
            },
        },
    }
)
class WeatherField(_ItemsField):
    pass


class ReadingsRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField()
    asset_id = serializers.CharField(max_length=128, validators=[validate_asset_id])
    unit = serializers.CharField(max_length=32, required=False, help_text="Unit of `value`, such as kW.")
    readings = ReadingsField(help_text="A reading of one metric has `value`, of several `values`.")


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
            "name",
            "kind",
            "unit",
            "timezone",
            "country",
            "subdivision",
            "latitude",
            "longitude",
            "interval_minutes",
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
