"""Explanations on the wire."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from explanations.models import Explanation, Scope
from features.models import validate_asset_id
from omarino.api import TenantField
from omarino.jobs import JobStatus
from omarino.number_fields import WholeNumberField
from registry.models import validate_name

MOST_ROWS = 1000
MOST_FEATURES = 20_000


@extend_schema_field(
    {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": "number", "nullable": True},
        "example": {"lag_24h": 58.2, "hour_of_day": 18, "temperature": 3.5},
    }
)
class RowField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """Features of one row by name; the registry says which are missing, unknown or no numbers."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict) or not data or len(data) > MOST_FEATURES:
            raise serializers.ValidationError("An object of numbers by the name of their feature.")
        return data


@extend_schema_field(
    {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_ROWS,
        "items": {"type": "object", "additionalProperties": {"type": "number", "nullable": True}},
    }
)
class RowsField(serializers.Field[list[dict[str, Any]], Any, Any, Any]):
    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        if (
            not isinstance(data, list)
            or not 1 <= len(data) <= MOST_ROWS
            or not all(isinstance(row, dict) for row in data)
        ):
            raise serializers.ValidationError(f"A list of 1 to {MOST_ROWS} objects of numbers by feature.")
        return data


class _QuestionSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField()
    model_name = serializers.CharField(
        max_length=128,
        required=False,
        allow_null=True,
        validators=[validate_name],
        help_text="Of a registered model. Of a prediction it may be left out.",
    )
    model_version = serializers.CharField(
        max_length=50,
        default="latest",
        help_text="A version, production, or latest: production, else the newest.",
    )
    prediction_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="Of a forecast or of a detection."
    )
    asset_id = serializers.CharField(
        max_length=128,
        required=False,
        allow_null=True,
        validators=[validate_asset_id],
        help_text="Whose stored readings stand for what is usual; else those the model's metadata names, else the newest.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in attrs.items() if value is not None}


class ExplainRequestSerializer(_QuestionSerializer):
    input_features = RowField(required=False, allow_null=True)
    explanation_type = serializers.ChoiceField(choices=["shap"], default="shap")
    max_samples = WholeNumberField(
        min_value=10,
        max_value=1000,
        required=False,
        help_text="Rows that stand for what is usual, where the model can only be asked. SHAP_MAX_SAMPLES, when not given.",
    )
    step = WholeNumberField(
        min_value=0,
        max_value=100_000,
        required=False,
        allow_null=True,
        help_text="Which of the forecast's steps, the first is 0 (default); of a detection, which anomaly (default: the highest score).",
    )
    timestamp = serializers.DateTimeField(
        required=False, allow_null=True, default_timezone=UTC, help_text="The same by its time."
    )
    background = RowsField(
        required=False,
        allow_null=True,
        help_text="Rows that stand for what is usual, instead of stored readings.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.pop("explanation_type", None)
        return super().validate(attrs)


class GlobalRequestSerializer(_QuestionSerializer):
    dataset_sample_size = WholeNumberField(min_value=10, max_value=1000, default=100)
    dataset = RowsField(
        required=False,
        allow_null=True,
        help_text="Rows to look at; else features of stored readings, drawn by seed.",
    )


class PartSerializer(serializers.Serializer[Any]):
    feature_name = serializers.CharField()
    importance = serializers.FloatField(help_text="The size of the contribution.")
    value = serializers.FloatField(allow_null=True)
    contribution = serializers.FloatField()
    rank = serializers.IntegerField()


class WaterfallSerializer(serializers.Serializer[Any]):
    feature_name = serializers.CharField()
    contribution = serializers.FloatField()
    cumulative_value = serializers.FloatField()


class ForceSerializer(serializers.Serializer[Any]):
    feature_name = serializers.CharField()
    feature_value = serializers.FloatField(allow_null=True)
    shap_value = serializers.FloatField()
    is_positive = serializers.BooleanField()


class GroupSerializer(serializers.Serializer[Any]):
    group = serializers.CharField(help_text="calendar, recent_readings, weather, adjustment or other.")
    label: Any = serializers.CharField()
    contribution = serializers.FloatField()


class ExplanationMetadataSerializer(serializers.Serializer[Any]):
    explained_at = serializers.DateTimeField()
    model_name = serializers.CharField()
    model_version = serializers.CharField()
    explanation_method = serializers.CharField()
    base_value = serializers.FloatField()
    prediction_value = serializers.FloatField(help_text="base_value and all contributions together.")
    samples_used = serializers.IntegerField()
    output = serializers.CharField(
        help_text="What prediction_value is: the prediction, log-odds of a class, ..."
    )
    background = serializers.CharField(help_text="What base_value is the mean over.")
    unit = serializers.CharField(required=False)
    timestamp = serializers.DateTimeField(required=False, help_text="The time that is explained.")
    step = serializers.IntegerField(required=False)
    background_from = serializers.CharField(
        required=False, help_text="Where rows that were not sent were drawn."
    )
    algorithm = serializers.CharField(required=False, help_text="Of a forecast.")
    anomaly_score = serializers.FloatField(required=False, help_text="Of a finding, as are those below.")
    severity = serializers.CharField(required=False)
    kind = serializers.CharField(required=False, allow_null=True)
    finding = serializers.CharField(required=False)


class ExplanationSummarySerializer(serializers.Serializer[Any]):
    top_3_features = serializers.ListField(child=serializers.CharField())
    total_contribution = serializers.FloatField()
    explanation = serializers.CharField(help_text="A sentence.")


class _HeadSerializer(serializers.Serializer[Any]):
    explanation_id = serializers.UUIDField()
    tenant_id = serializers.CharField()
    model_name = serializers.CharField()
    model_version = serializers.CharField()
    status = serializers.ChoiceField(choices=JobStatus.choices)


class PendingSerializer(_HeadSerializer):
    """An explanation that is being worked out, or that failed."""

    progress = serializers.FloatField(help_text="Share done, 0 to 1.")
    error = serializers.CharField(required=False)


class ExplanationSerializer(_HeadSerializer):
    prediction_id = serializers.UUIDField(allow_null=True)
    feature_importances = PartSerializer(many=True)
    metadata: Any = ExplanationMetadataSerializer()
    waterfall_data = WaterfallSerializer(many=True)
    force_data = ForceSerializer(many=True)
    groups = GroupSerializer(many=True)
    summary = ExplanationSummarySerializer()


class ImportanceSerializer(serializers.Serializer[Any]):
    feature_name = serializers.CharField()
    mean_abs_shap = serializers.FloatField()
    mean_shap = serializers.FloatField()
    importance_rank = serializers.IntegerField()


class GlobalGroupSerializer(serializers.Serializer[Any]):
    group = serializers.CharField(help_text="As of one prediction.")
    label: Any = serializers.CharField()
    mean_abs_shap = serializers.FloatField()


class GlobalMetadataSerializer(serializers.Serializer[Any]):
    explanation_method = serializers.CharField()
    base_value = serializers.FloatField(help_text="The mean over the rows.")
    samples_used = serializers.IntegerField()
    output = serializers.CharField()
    background = serializers.CharField()
    unit = serializers.CharField()
    algorithm = serializers.CharField(required=False, help_text="Of a forecast.")
    rows_from = serializers.CharField(required=False, help_text="Where rows that were not sent were drawn.")


class GlobalSummarySerializer(serializers.Serializer[Any]):
    explanation = serializers.CharField(help_text="A sentence.")


class GlobalExplanationSerializer(_HeadSerializer):
    prediction_id = serializers.UUIDField(allow_null=True)
    global_importances = ImportanceSerializer(many=True)
    samples_analyzed = serializers.IntegerField()
    groups = GlobalGroupSerializer(many=True)
    metadata: Any = GlobalMetadataSerializer()
    summary = GlobalSummarySerializer()
    generated_at = serializers.DateTimeField()


def as_answer(explanation: Explanation) -> dict[str, Any]:
    """The whole answer, or how far it is."""
    head: dict[str, Any] = {
        "explanation_id": explanation.pk,
        "tenant_id": explanation.tenant_id,
        "model_name": explanation.model_name,
        "model_version": explanation.model_version,
        "status": explanation.status,
    }
    if explanation.status != JobStatus.COMPLETED:
        return {
            **head,
            "progress": explanation.progress,
            **({"error": explanation.error} if explanation.error else {}),
        }
    assert explanation.completed_at is not None  # noqa: S101  completed rows have it
    answered_at = explanation.completed_at.astimezone(UTC)
    head["prediction_id"] = None if explanation.subject == "model" else explanation.subject_id
    answer = explanation.answer
    if explanation.scope == Scope.GLOBAL:
        return {**head, **answer, "generated_at": answered_at}
    point = (
        {} if explanation.point is None else {"step": explanation.point, "timestamp": explanation.target_at}
    )
    metadata = {
        "explained_at": answered_at,
        "model_name": explanation.model_name,
        "model_version": explanation.model_version,
        **answer["metadata"],
        **point,
    }
    return {**head, **answer, "metadata": metadata}
