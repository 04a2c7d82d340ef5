"""Detections on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers

from anomalies.models import Detection, Method, Severity
from features.models import validate_asset_id
from omarino.api import TenantField
from omarino.number_fields import NumberField, WholeNumberField
from omarino.series import EARLIEST, LATEST, SeriesField

OF_STORED = ("lookback_hours", "as_of")  # fields


class DetectionRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField()
    asset_id = serializers.CharField(max_length=128, validators=[validate_asset_id])
    time_series = SeriesField(
        min_points=2,
        required=False,
        allow_null=True,
        help_text="The window to judge; without it the asset's newest stored readings are judged.",
    )
    method = serializers.ChoiceField(choices=Method.values, default=Method.ISOLATION_FOREST)
    sensitivity = NumberField(min_value=1, max_value=5, required=False, help_text="1 finds most, 5 least.")
    lookback_hours = WholeNumberField(
        min_value=1,
        max_value=8760,
        default=168,
        help_text="How many hours of stored readings are judged when there is no time_series; "
        "the eight weeks before them teach what is usual.",
    )
    training_data = SeriesField(
        required=False,
        allow_null=True,
        help_text="Readings of a time that was mostly normal. They may hold faults, and overlap.",
    )
    include_scores = serializers.BooleanField(
        default=False, help_text="Answer every point, not only the flagged ones."
    )
    as_of = serializers.DateTimeField(
        required=False,
        allow_null=True,
        default_timezone=UTC,
        help_text="Stored readings at or after this time are not used. Now, when not given.",
    )

    def validate_as_of(self, as_of: datetime | None) -> datetime | None:
        if as_of is not None and not EARLIEST <= as_of < LATEST:
            raise serializers.ValidationError("A time from 1970 to 2199.")
        return as_of

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("sensitivity", settings.ANOMALY_THRESHOLD)
        attrs["as_of"] = attrs.get("as_of") or timezone.now()
        return attrs

    def unknown_fields(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.initial_data) - set(self.fields)))

    def unheeded_fields(self) -> tuple[str, ...]:
        """What was said of stored readings beside a series, of which nothing is stored."""
        if self.validated_data.get("time_series") is None:
            return ()
        return tuple(name for name in OF_STORED if self.initial_data.get(name) is not None)


class ExpectedRangeSerializer(serializers.Serializer[Any]):
    min = serializers.FloatField(
        allow_null=True,
        help_text="Every value of this window beyond min..max is flagged; one within may be, for its step, its stretch "
        "or a run. Not negative where no reading was.",
    )
    max = serializers.FloatField(allow_null=True)
    mean = serializers.FloatField(
        allow_null=True, help_text="What was expected; within min..max, and not in their middle as a rule."
    )
    std = serializers.FloatField(
        allow_null=True, help_text="Of like days around that hour, the mean of both sides."
    )


class AnomalySerializer(serializers.Serializer[Any]):
    timestamp = serializers.DateTimeField()
    value = serializers.FloatField(allow_null=True, help_text="null where a reading is missing.")
    anomaly_score = serializers.FloatField(help_text="Standard deviations of the method's own residual.")
    is_anomaly = serializers.BooleanField()
    expected_range = ExpectedRangeSerializer(help_text="At that very time.")
    severity = serializers.ChoiceField(choices=Severity.choices, allow_null=True)
    kind = serializers.CharField(
        allow_null=True,
        help_text="spike, drop_to_zero, stuck, level_shift, scale_error, missing_block, drift, night_load or unusual.",
    )
    explanation = serializers.CharField(allow_null=True)


class DetectionSummaryFields(serializers.Serializer[Any]):
    total_points = serializers.IntegerField()
    anomalies_detected = serializers.IntegerField()
    anomaly_rate = serializers.FloatField()
    mean_anomaly_score = serializers.FloatField()
    max_anomaly_score = serializers.FloatField()
    method_used = serializers.CharField()
    sensitivity = serializers.FloatField()
    training_points = serializers.IntegerField()


class DetectionListSerializer(serializers.Serializer[Detection]):
    """A detection without its points, as lists show it."""

    detection_id = serializers.UUIDField()
    tenant_id = serializers.CharField()
    asset_id = serializers.CharField()
    unit = serializers.CharField()
    window_start = serializers.DateTimeField()
    window_end = serializers.DateTimeField()
    summary: Any = DetectionSummaryFields()
    warnings = serializers.ListField(child=serializers.CharField())
    generated_at = serializers.DateTimeField()

    def to_representation(self, instance: Detection) -> dict[str, Any]:
        return {
            "detection_id": instance.id,
            "tenant_id": instance.tenant_id,
            "asset_id": instance.asset_id,
            "unit": instance.unit,
            "window_start": instance.first_at.astimezone(UTC),
            "window_end": instance.last_at.astimezone(UTC),
            "summary": {
                "total_points": instance.total_points,
                "anomalies_detected": instance.anomalies_detected,
                "anomaly_rate": instance.anomaly_rate,
                "mean_anomaly_score": instance.mean_score,
                "max_anomaly_score": instance.max_score,
                "method_used": instance.method,
                "sensitivity": instance.sensitivity,
                "training_points": instance.training_points,
            },
            "warnings": instance.warnings,
            "generated_at": instance.made_at.astimezone(UTC),
        }


class DetectionSerializer(DetectionListSerializer):
    """A detection with its points. The fields document; the points are plain dicts already."""

    anomalies = AnomalySerializer(many=True)

    def to_representation(self, instance: Detection) -> dict[str, Any]:
        points = self.context.get("points")
        answer = super().to_representation(instance)
        return {**answer, "anomalies": instance.anomalies if points is None else points}


class DetectionFilterSerializer(serializers.Serializer[Any]):
    asset_id = serializers.CharField(required=False, max_length=128)
    method = serializers.ChoiceField(choices=Method.values, required=False)


class FeedbackRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField(required=False)
    timestamp = serializers.DateTimeField(default_timezone=UTC, help_text="Of a flagged point.")
    is_true = serializers.BooleanField(help_text="false: a false alarm.")
    comment = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")


class FeedbackSerializer(serializers.Serializer[Any]):
    detection_id = serializers.UUIDField()
    timestamp = serializers.DateTimeField()
    is_true = serializers.BooleanField()
    comment = serializers.CharField()
    given_at = serializers.DateTimeField()
    suggested_sensitivity = serializers.FloatField(
        allow_null=True,
        help_text="From all verdicts on this asset and method; null while there are fewer than five.",
    )
