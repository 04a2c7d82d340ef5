"""What MLflow clients send. Fields that are not named here are theirs and are left alone."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from omarino.api import TenantField
from registry.models import validate_name

MAX_TEXT = 6000


class _Call(serializers.Serializer[Any]):
    tenant_id = TenantField(required=False)


class _Pair(serializers.Serializer[Any]):
    key = serializers.CharField(max_length=250)
    value = serializers.CharField(max_length=MAX_TEXT, allow_blank=True, default="")


class MetricSerializer(serializers.Serializer[Any]):
    key = serializers.CharField(max_length=250)
    value = serializers.FloatField()
    timestamp = serializers.IntegerField(required=False, min_value=0, max_value=2**62)
    step = serializers.IntegerField(required=False, min_value=-(2**62), max_value=2**62)


def _name(**kwargs: Any) -> serializers.CharField:
    return serializers.CharField(max_length=128, validators=[validate_name], **kwargs)


def _text(most: int = MAX_TEXT) -> serializers.CharField:
    return serializers.CharField(required=False, allow_blank=True, allow_null=True, max_length=most)


class NameSerializer(_Call):
    name = serializers.CharField(max_length=256)


class CreateModelSerializer(_Call):
    name = _name()


class NumberSerializer(_Call):
    name = serializers.CharField(max_length=256)
    version = serializers.CharField(max_length=20)


class LatestSerializer(_Call):
    name = serializers.CharField(max_length=256)
    stages = serializers.ListField(child=serializers.CharField(max_length=50), required=False)


class SearchSerializer(_Call):
    filter = _text()
    max_results = serializers.IntegerField(required=False, min_value=1, max_value=200_000)
    page_token = _text(20)
    order_by = serializers.ListField(child=serializers.CharField(max_length=200), required=False)


class CreateVersionSerializer(_Call):
    name = _name()
    source = serializers.CharField(max_length=1024)  # type: ignore[assignment]
    run_id = _text(64)
    model_id = _text(64)
    description = _text()
    tags: Any = _Pair(many=True, required=False)


class TransitionSerializer(NumberSerializer):
    stage = serializers.CharField(max_length=20)
    archive_existing_versions = serializers.BooleanField(required=False)


class AliasSerializer(_Call):
    name = serializers.CharField(max_length=256)
    alias = serializers.CharField(max_length=256)


class SetAliasSerializer(AliasSerializer):
    version = serializers.CharField(max_length=20)


class ExperimentSerializer(_Call):
    experiment_id = _text(64)
    experiment_name = _text(256)


class CreateRunSerializer(_Call):
    experiment_id = _text(64)
    run_name = _text(256)
    start_time = serializers.IntegerField(required=False, min_value=0, max_value=2**62)
    tags: Any = _Pair(many=True, required=False)


class RunSerializer(_Call):
    run_id = serializers.CharField(max_length=64)


class MetricHistorySerializer(RunSerializer):
    metric_key = serializers.CharField(max_length=250)


class UpdateRunSerializer(RunSerializer):
    status = serializers.ChoiceField(
        choices=["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"], required=False
    )
    end_time = serializers.IntegerField(required=False, min_value=0, max_value=2**62)


class LogMetricSerializer(RunSerializer, MetricSerializer):
    pass


class LogParamSerializer(RunSerializer, _Pair):
    pass


class LogBatchSerializer(RunSerializer):
    metrics: Any = MetricSerializer(many=True, required=False)
    params: Any = _Pair(many=True, required=False)
    tags: Any = _Pair(many=True, required=False)


class CreateLoggedModelSerializer(_Call):
    experiment_id = _text(64)
    name = _text(256)
    model_type = _text(64)
    source_run_id = _text(64)
    params: Any = _Pair(many=True, required=False)
    tags: Any = _Pair(many=True, required=False)


class FinishLoggedModelSerializer(_Call):
    status = serializers.CharField(max_length=50, required=False)


class TagsSerializer(_Call):
    tags: Any = _Pair(many=True, required=False)


class PathSerializer(_Call):
    path = serializers.CharField(max_length=1000, required=False, allow_blank=True)


class AnswerSerializer(serializers.Serializer[Any]):
    """Whatever MLflow's own REST API says it is; https://mlflow.org/docs/latest/rest-api.html."""
