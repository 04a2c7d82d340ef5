"""Models on the wire."""

from __future__ import annotations

import base64
import binascii
import math
from datetime import UTC, datetime
from typing import Any

import orjson
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from omarino.api import TenantField
from omarino.number_fields import NumberField
from registry.errors import ArtifactTooLarge
from registry.formats.safetensors_file import FUNCTIONS, OUTPUTS
from registry.formats.safetensors_file import problems_of as problems_of_declaration
from registry.gates import Finding
from registry.models import ModelType, ModelVersion, Stage, Transition, validate_name, validate_version
from registry.quantiles import problems_of

MAX_METADATA_BYTES = 262_144
MAX_FEATURES = 20_000
MAX_METRICS = 200
MAX_BASE64_BYTES = 67_108_864
METRICS = ("rmse", "mae", "mape", "r2_score", "accuracy", "precision", "recall", "f1_score")


@extend_schema_field({"type": "string", "format": "byte", "description": "The artifact in base64."})
class Base64Field(serializers.Field[bytes, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str) or not data:
            raise serializers.ValidationError("The artifact in base64.")
        if len(data) > MAX_BASE64_BYTES:
            raise ArtifactTooLarge(limit_bytes=MAX_BASE64_BYTES * 3 // 4)
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise serializers.ValidationError("This is not base64.") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            **{name: {"type": "number", "nullable": True} for name in METRICS},
            "custom_metrics": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "additionalProperties": {"type": "number", "nullable": True},
    }
)
class MetricsField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """Numbers by name; null is not given."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        custom = data.get("custom_metrics") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(custom, dict | None) or len(data) > MAX_METRICS:
            raise serializers.ValidationError(f"An object of at most {MAX_METRICS} numbers.")
        own = {name: value for name, value in data.items() if name != "custom_metrics" and value is not None}
        extra = {name: value for name, value in (custom or {}).items() if value is not None}
        if len(extra) > MAX_METRICS:
            raise serializers.ValidationError(f"An object of at most {MAX_METRICS} numbers.")
        if wrong := {
            name: ["A number."] for name, value in {**extra, **own}.items() if not _is_number(value)
        }:
            raise serializers.ValidationError(wrong)
        return {**own, "custom_metrics": extra} if extra else own


@extend_schema_field(
    {
        "type": "object",
        "required": ["framework"],
        "properties": {
            "framework": {"type": "string", "minLength": 1, "maxLength": 64},
            "model_type": {"type": "string", "enum": ModelType.values},
            "algorithm": {"type": "string", "maxLength": 128},
            "hyperparameters": {"type": "object", "additionalProperties": {}},
            "feature_names": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_FEATURES},
            "target_variable": {"type": "string", "maxLength": 256},
            "description": {"type": "string"},
            "architecture": {
                "type": "object",
                "required": ["kind", "layers"],
                "properties": {
                    "kind": {"type": "string", "enum": ["mlp"]},
                    "layers": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100},
                    "activation": {"type": "string", "enum": list(FUNCTIONS), "default": "relu"},
                    "output": {"type": "string", "enum": list(OUTPUTS), "default": "identity"},
                },
                "description": "Of weights in safetensors: what is done with them.",
            },
            "class_labels": {
                "type": "array",
                "items": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
                "minItems": 2,
                "description": "Of a network whose outputs are probabilities: the class of each.",
            },
            "residual_quantiles": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "description": "Of the outcome less the prediction, such as {p10: -1.5, p90: 1.7}.",
            },
            "quantile_models": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Versions that predict quantiles, such as {p10: site-load-p10:v1.0.0}.",
            },
        },
        "additionalProperties": {},
    }
)
class MetadataField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """What is known of a model. What is not listed is kept as it came."""

    TEXTS = {"framework": 64, "algorithm": 128, "target_variable": 256, "description": 20_000}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("An object.")
        said = {name: value for name, value in data.items() if value is not None}
        wrong: dict[str, list[str]] = {
            name: [f"A text of at most {most} characters."]
            for name, most in self.TEXTS.items()
            if name in said and not (isinstance(said[name], str) and len(said[name]) <= most)
        }
        if not said.get("framework"):
            wrong["framework"] = ["This field is required."]
        if said.get("model_type", ModelType.FORECAST) not in ModelType.values:
            wrong["model_type"] = [f"One of {', '.join(ModelType.values)}."]
        if not isinstance(said.get("hyperparameters", {}), dict):
            wrong["hyperparameters"] = ["An object."]
        wrong.update(problems_of(said))
        wrong.update(problems_of_declaration(said))
        names = said.get("feature_names", [])
        if not isinstance(names, list) or not all(
            isinstance(name, str) and 0 < len(name) <= 256 for name in names
        ):
            wrong["feature_names"] = ["A list of texts of 1 to 256 characters."]
        elif len(set(names)) != len(names) or len(names) > MAX_FEATURES:
            wrong["feature_names"] = [f"Each name once, at most {MAX_FEATURES}."]
        if wrong:
            raise serializers.ValidationError(wrong)
        try:
            size = len(orjson.dumps(said))
        except TypeError:
            raise serializers.ValidationError("A number is too large.") from None
        if size > MAX_METADATA_BYTES:
            raise serializers.ValidationError(f"At most {MAX_METADATA_BYTES} bytes.")
        return said


class RegisterRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField()
    model_name = serializers.CharField(max_length=128, validators=[validate_name])
    version = serializers.CharField(max_length=50, validators=[validate_version])
    model_type = serializers.ChoiceField(choices=ModelType.choices, required=False, allow_null=True)
    metadata = MetadataField()
    metrics = MetricsField(required=False, allow_null=True)
    stage = serializers.ChoiceField(choices=Stage.choices, default=Stage.STAGING)
    model_file = Base64Field(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        within = attrs["metadata"].get("model_type")
        named = attrs.get("model_type") or within or ""
        if within and within != named:
            raise serializers.ValidationError({"model_type": "It is not the model_type of metadata."})
        attrs["model_type"] = named
        attrs["metrics"] = attrs.get("metrics") or {}
        return attrs


class RegisteredSerializer(serializers.Serializer[ModelVersion]):
    """What registering answers."""

    model_id = serializers.CharField()
    tenant_id = serializers.CharField()
    model_name = serializers.CharField()
    version = serializers.CharField()
    stage = serializers.ChoiceField(choices=Stage.choices)
    status = serializers.CharField()
    storage_path = serializers.CharField()
    message = serializers.CharField()
    uploaded_at = serializers.DateTimeField()

    def to_representation(self, instance: ModelVersion) -> dict[str, Any]:
        return {
            "model_id": str(instance),
            "tenant_id": instance.tenant_id,
            "model_name": instance.model.name,
            "version": instance.version,
            "stage": instance.stage,
            "status": "registered",
            "storage_path": instance.storage_path,
            "message": message_of(instance),
            "uploaded_at": utc(instance.uploaded_at),
        }


def message_of(version: ModelVersion) -> str:
    """What its artifact allows, in a sentence."""
    if not version.format:
        return f"Registered without an artifact, so it cannot predict. Send one: PUT /ai/models/{version}/artifact."
    if version.missing_extra:
        return f"Registered. The runtime of {version.format} is not installed here; the extra {version.missing_extra!r} serves it."
    return f"Registered; its {version.format} artifact was opened apart and can predict."


class TransitionSerializer(serializers.Serializer[Transition]):
    version = serializers.CharField()
    from_stage = serializers.CharField(allow_null=True)
    to_stage = serializers.CharField()
    at = serializers.DateTimeField()
    by = serializers.CharField()
    by_name = serializers.CharField()
    reason = serializers.CharField()
    metrics = serializers.DictField()
    incumbent = serializers.CharField(
        allow_null=True, help_text="The version it replaced or was replaced by."
    )
    incumbent_metrics = serializers.DictField(allow_null=True)

    def to_representation(self, instance: Transition) -> dict[str, Any]:
        return {
            "version": instance.version,
            "from_stage": instance.from_stage or None,
            "to_stage": instance.to_stage,
            "at": utc(instance.at),
            "by": instance.by,
            "by_name": instance.by_name,
            "reason": instance.reason,
            "metrics": instance.metrics,
            "incumbent": instance.incumbent or None,
            "incumbent_metrics": instance.incumbent_metrics,
        }


class VersionSummarySerializer(serializers.Serializer[ModelVersion]):
    """A version as lists show it."""

    model_id = serializers.CharField()
    tenant_id = serializers.CharField()
    model_name = serializers.CharField()
    version = serializers.CharField()
    model_type = serializers.CharField(allow_null=True)
    framework = serializers.CharField()
    algorithm = serializers.CharField()
    stage = serializers.ChoiceField(choices=Stage.choices)
    metrics = serializers.DictField()
    format = serializers.CharField(allow_null=True, help_text="Of the artifact, found by opening it.")
    missing_extra = serializers.CharField(allow_null=True, help_text="Install it to serve this version.")
    storage_path = serializers.CharField()
    model_size_bytes = serializers.IntegerField(allow_null=True)
    sha256 = serializers.CharField(allow_null=True)
    uploaded_at = serializers.DateTimeField()
    uploaded_by = serializers.CharField()

    def to_representation(self, instance: ModelVersion) -> dict[str, Any]:
        return {
            "model_id": str(instance),
            "tenant_id": instance.tenant_id,
            "model_name": instance.model.name,
            "version": instance.version,
            "model_type": instance.model_type or None,
            "framework": instance.framework,
            "algorithm": instance.algorithm,
            "stage": instance.stage,
            "metrics": instance.metrics,
            "format": instance.format or None,
            "missing_extra": instance.missing_extra or None,
            "storage_path": instance.storage_path,
            "model_size_bytes": instance.size_bytes,
            "sha256": instance.sha256 or None,
            "uploaded_at": utc(instance.uploaded_at),
            "uploaded_by": instance.uploaded_by,
        }


class FindingSerializer(serializers.Serializer[Finding]):
    rule = serializers.CharField()
    holds = serializers.BooleanField()
    detail = serializers.CharField()


class VersionSerializer(VersionSummarySerializer):
    """A version with everything that is known of it."""

    feature_names = serializers.ListField(child=serializers.CharField())
    takes_missing = serializers.BooleanField()
    metadata = serializers.DictField()
    gates = serializers.DictField()
    history: Any = TransitionSerializer(many=True)

    def to_representation(self, instance: ModelVersion) -> dict[str, Any]:
        history = instance.model.transitions.filter(version_id=instance.pk)
        as_of = self.context.get("as_of")
        if as_of is not None:
            history = history.filter(at__lte=as_of)
        past = list(history)
        answer = {
            **super().to_representation(instance),
            "feature_names": instance.feature_names,
            "takes_missing": bool(instance.portrait.get("takes_missing")),
            "metadata": instance.metadata,
            "gates": instance.model.gates,
            "history": [TransitionSerializer(row).data for row in past],
        }
        if as_of is not None and past:
            answer["stage"] = past[-1].to_stage
        return answer


class AsOfSerializer(serializers.Serializer[Any]):
    as_of = serializers.DateTimeField(
        required=False, default_timezone=UTC, help_text="As it was at this time; now, when not given."
    )


class ListFilterSerializer(serializers.Serializer[Any]):
    tenant_id = serializers.CharField(required=False, max_length=64)
    model_name = serializers.CharField(required=False, max_length=128)
    stage = serializers.ChoiceField(choices=Stage.choices, required=False)
    model_type = serializers.ChoiceField(choices=ModelType.choices, required=False)


class PromoteRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField(required=False)
    target_stage = serializers.ChoiceField(choices=Stage.choices)
    reason = serializers.CharField(required=False, allow_blank=True, allow_null=True, max_length=2000)


class PromotedSerializer(serializers.Serializer[Any]):
    model_id = serializers.CharField()
    model_name = serializers.CharField()
    version = serializers.CharField()
    previous_stage = serializers.CharField()
    current_stage = serializers.CharField()
    promoted_at = serializers.DateTimeField()
    message = serializers.CharField()


class DeleteQuerySerializer(serializers.Serializer[Any]):
    force = serializers.BooleanField(default=False)


class DeletedSerializer(serializers.Serializer[Any]):
    model_id = serializers.CharField()
    status = serializers.CharField()
    files_deleted = serializers.IntegerField()
    message = serializers.CharField()


class ReasonSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField(required=False)
    reason = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")


class ApprovedSerializer(serializers.Serializer[Any]):
    model_id = serializers.CharField()
    approved_by = serializers.ListField(child=serializers.CharField())


class NotWorseSerializer(serializers.Serializer[Any]):
    metric = serializers.CharField(max_length=128)
    percent = NumberField(min_value=0, max_value=1000)
    higher_is_better = serializers.BooleanField(
        required=False, help_text="Known for the usual metrics; say it for your own."
    )


class GatesSerializer(serializers.Serializer[Any]):
    required_metrics = serializers.ListField(
        child=serializers.CharField(max_length=128), max_length=50, default=list
    )
    not_worse: Any = NotWorseSerializer(many=True, default=list)
    two_person = serializers.BooleanField(
        default=False, help_text="Somebody else than who promotes must have approved the version."
    )


class GatesRequestSerializer(GatesSerializer):
    tenant_id = TenantField(required=False)


def without_tenant(said: dict[str, Any]) -> dict[str, Any]:
    """What was asked for; the tenant was checked, and is the token's."""
    return {name: value for name, value in said.items() if name != "tenant_id"}


def utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
