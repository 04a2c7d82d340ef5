"""Predictions on the wire: JSON, and the same as columns of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from omarino.api import TenantField
from omarino.kept_fields import KeptFields
from registry.serving import Answer

MAX_ROWS = 100_000


class OptionsSerializer(serializers.Serializer[Any]):
    includeConfidence = serializers.BooleanField(default=False)  # noqa: N815  the contract's name
    includeFeatureImportance = serializers.BooleanField(default=False)  # noqa: N815
    routing_key = serializers.CharField(
        required=False, max_length=256, help_text="In a split of traffic: the same key, the same version."
    )


NUMBER = {"type": "number", "nullable": True}
ROW = {"type": "object", "additionalProperties": NUMBER}


@extend_schema_field({**ROW, "example": {"temperature": 21.5, "hour_of_day": 9}})
class RowField(serializers.Field[dict[str, Any], Any, Any, Any]):
    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("An object of numbers by feature.")
        return data


@extend_schema_field({"type": "array", "items": ROW, "minItems": 1, "maxItems": MAX_ROWS})
class RowsField(serializers.Field[list[dict[str, Any]], Any, Any, Any]):
    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        if not isinstance(data, list) or not 0 < len(data) <= MAX_ROWS or set(map(type, data)) != {dict}:
            raise serializers.ValidationError(f"A list of 1 to {MAX_ROWS} objects of numbers by feature.")
        return data


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": "array", "items": NUMBER, "minItems": 1}}
)
class ColumnsField(serializers.Field[dict[str, list[Any]], Any, Any, Any]):
    def to_internal_value(self, data: Any) -> dict[str, list[Any]]:
        if not isinstance(data, dict) or not all(isinstance(column, list) for column in data.values()):
            raise serializers.ValidationError("An object of lists of numbers by feature.")
        if not all(0 < len(column) <= MAX_ROWS for column in data.values()):
            raise serializers.ValidationError(f"1 to {MAX_ROWS} numbers in each column.")
        return data


class PredictRequestSerializer(KeptFields, serializers.Serializer[Any]):
    tenant_id = TenantField(required=False)
    input = RowField()
    options = OptionsSerializer(required=False)


class BatchRequestSerializer(serializers.Serializer[Any]):
    """Rows, or the same by column."""

    tenant_id = TenantField(required=False)
    inputs = RowsField(required=False)
    columns = ColumnsField(required=False)
    options = OptionsSerializer(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("inputs" in attrs) == ("columns" in attrs):
            raise serializers.ValidationError({"inputs": "Either inputs or columns."})
        return attrs


class PredictedSerializer(serializers.Serializer[Any]):
    model_id = serializers.CharField()
    prediction = serializers.JSONField(help_text="A number, or the label of a class.")
    confidence = serializers.FloatField(
        required=False,
        allow_null=True,
        help_text="Probability of the class; null where a number is predicted.",
    )
    probabilities = serializers.DictField(required=False)
    quantiles = serializers.DictField(
        required=False, help_text="Of a predicted number, such as p10 and p90, where the version has them."
    )
    confidence_note = serializers.CharField(required=False, help_text="Why there are no quantiles.")
    feature_importance = serializers.DictField(required=False, help_text="What each feature adds.")
    base_value = serializers.FloatField(required=False)
    traffic = serializers.DictField(
        required=False,
        help_text="In a split: its id, the variant, and the prediction_id to tell the outcome by.",
    )


class BatchPredictedSerializer(serializers.Serializer[Any]):
    model_id = serializers.CharField()
    predictions = serializers.ListField(child=serializers.JSONField())
    count = serializers.IntegerField()


def as_batch(answer: Answer, *, with_confidence: bool) -> dict[str, Any]:
    """The answer by column: a list for each thing that was asked for."""
    probabilities = answer.prediction.probabilities
    out: dict[str, Any] = {"predictions": answer.prediction.values.tolist()}
    if with_confidence and probabilities is not None:
        out["confidence"] = probabilities.max(axis=1).tolist()
        out["probabilities"] = dict(zip(_labels(answer), probabilities.T.tolist(), strict=False))
    elif with_confidence:
        out["confidence"] = None
        if answer.quantiles is not None:
            out["quantiles"] = {name: column.tolist() for name, column in answer.quantiles.items()}
        else:
            out["confidence_note"] = answer.without_quantiles
    if answer.contributions is not None:
        columns = answer.contributions.values.T.tolist()
        out["feature_importance"] = dict(zip(answer.version.feature_names, columns, strict=False))
        out["base_value"] = answer.contributions.base.tolist()
    return out


def as_columns(answer: Answer, *, with_confidence: bool) -> dict[str, pa.Array]:
    """The same for a table: prediction, confidence, probability_*, p10, ..., importance_*, base_value."""
    values, probabilities = answer.prediction.values, answer.prediction.probabilities
    out: dict[str, Any] = {"prediction": values if values.dtype.kind in "fiu" else values.tolist()}
    if with_confidence and probabilities is not None:
        out["confidence"] = probabilities.max(axis=1)
        for label, column in zip(_labels(answer), probabilities.T, strict=False):
            out[f"probability_{label}"] = column
    elif with_confidence:
        out.update(answer.quantiles or {})
    if answer.contributions is not None:
        for name, column in zip(answer.version.feature_names, answer.contributions.values.T, strict=False):
            out[f"importance_{name}"] = column
        out["base_value"] = answer.contributions.base
    return {
        name: pa.array(np.ascontiguousarray(column) if isinstance(column, np.ndarray) else column)
        for name, column in out.items()
    }


def _labels(answer: Answer) -> list[str]:
    return [str(label) for label in answer.version.portrait.get("class_labels") or []]


def as_single(answer: Answer, *, with_confidence: bool) -> dict[str, Any]:
    """The same for one row."""
    batch = as_batch(answer, with_confidence=with_confidence)
    single = {"prediction": batch.pop("predictions")[0]}
    for name, value in batch.items():
        if isinstance(value, dict):
            single[name] = {key: column[0] for key, column in value.items()}
        else:
            single[name] = value[0] if isinstance(value, list) else value
    return single
