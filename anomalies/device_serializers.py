"""Devices with several metrics on the wire, in the words of the routes they were asked by before."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from anomalies.device_actions import Found
from anomalies.multivariate import severity_of
from registry.models import ModelVersion, TrainingRun

SEVERITIES = [("normal", "normal"), ("warning", "warning"), ("critical", "critical")]


class TrainDeviceSerializer(serializers.Serializer[Any]):
    hours = serializers.IntegerField(
        min_value=24, max_value=720, default=168, help_text="Of the newest readings."
    )
    contamination = serializers.FloatField(
        min_value=0.001, max_value=0.5, default=0.01, help_text="Share of them taken to be unusual."
    )


class DetectOnDeviceSerializer(serializers.Serializer[Any]):
    hours = serializers.IntegerField(
        min_value=1, max_value=168, default=24, help_text="Of the newest readings."
    )


class TrainingRunSerializer(serializers.Serializer[TrainingRun]):
    message = serializers.CharField()
    device_uuid = serializers.CharField()
    training_samples = serializers.IntegerField(allow_null=True)
    features = serializers.ListField(child=serializers.CharField())
    contamination = serializers.FloatField()
    run_id = serializers.UUIDField()
    status = serializers.CharField()
    error = serializers.CharField()
    model_id = serializers.CharField(allow_null=True)
    stage = serializers.CharField(allow_null=True)

    def to_representation(self, instance: TrainingRun) -> dict[str, Any]:
        version = instance.version
        return {
            "message": instance.message or f"The training is {instance.status}.",
            "device_uuid": instance.subject,
            "training_samples": instance.samples,
            "features": version.metadata["device_metrics"] if version else [],
            "contamination": instance.parameters["contamination"],
            "run_id": instance.pk,
            "status": instance.status,
            "error": instance.error,
            "model_id": str(version) if version else None,
            "stage": version.stage if version else None,
        }


class ModelInfoSerializer(serializers.Serializer[ModelVersion]):
    device_uuid = serializers.CharField()
    model_id = serializers.CharField()
    algorithm = serializers.CharField()
    features = serializers.ListField(child=serializers.CharField())
    training_samples = serializers.IntegerField()
    trained_from = serializers.DateTimeField()
    trained_until = serializers.DateTimeField()
    trained_at = serializers.DateTimeField()
    contamination = serializers.FloatField()
    threshold = serializers.FloatField(help_text="anomaly_score from which a point is an anomaly.")
    metrics = serializers.DictField(
        child=serializers.FloatField(), help_text="Measured on held-back readings."
    )

    def to_representation(self, instance: ModelVersion) -> dict[str, Any]:
        told = instance.metadata
        return {
            "device_uuid": told["device"],
            "model_id": str(instance),
            "algorithm": instance.algorithm,
            "features": told["device_metrics"],
            "training_samples": told["training_samples"],
            "trained_from": told["trained_from"],
            "trained_until": told["trained_until"],
            "trained_at": instance.uploaded_at.astimezone(UTC),
            "contamination": told["contamination"],
            "threshold": told["calibration"]["threshold"],
            "metrics": dict(instance.plain_metrics),
        }


class DevicePointSerializer(serializers.Serializer[Any]):
    """And a number for each metric, under its name; one named like a field here has a line after it, `severity_`."""

    timestamp = serializers.DateTimeField()
    is_anomaly = serializers.BooleanField()
    anomaly_score = serializers.FloatField(help_text="Standard deviations; comparable between devices.")
    severity = serializers.ChoiceField(choices=SEVERITIES)
    driven_by = serializers.ListField(
        child=serializers.CharField(), help_text="Metrics, the strongest first."
    )


class FoundSerializer(serializers.Serializer[Any]):
    device_uuid = serializers.CharField()
    analyzed_points = serializers.IntegerField()
    anomalies_detected = serializers.IntegerField()
    anomalies = DevicePointSerializer(many=True)
    model_info = ModelInfoSerializer()

    def to_representation(self, instance: Found) -> dict[str, Any]:
        names = list(answered_as(instance.table.metrics).values())
        return {
            "device_uuid": instance.device,
            "analyzed_points": len(instance.table.times_us),
            "anomalies_detected": len(instance.flagged),
            "anomalies": [
                _point(instance, names, row, drivers)
                for row, drivers in zip(instance.flagged, instance.driven_by, strict=True)
            ],
            "model_info": ModelInfoSerializer(instance.version).data,
        }


def answered_as(metrics: Sequence[str]) -> dict[str, str]:
    """By metric the name it has in a point, which has fields of its own.

    >>> answered_as(["load", "severity", "severity_"])
    {'load': 'load', 'severity': 'severity__', 'severity_': 'severity_'}
    """
    taken = set(metrics) | set(DevicePointSerializer().fields)
    names = {}
    for metric in metrics:
        name = metric
        if metric in DevicePointSerializer().fields:
            name = next(told for lines in itertools.count(1) if (told := metric + "_" * lines) not in taken)
        names[metric] = name
    return names


def _point(found: Found, names: list[str], row: int, drivers: list[str]) -> dict[str, Any]:
    score = float(found.scores[row])
    return {
        **dict(zip(names, found.table.values[row].tolist(), strict=True)),
        "timestamp": datetime.fromtimestamp(found.table.times_us[row] / 1e6, UTC),
        "is_anomaly": True,
        "anomaly_score": score,
        "severity": severity_of(score, found.calibration.threshold),
        "driven_by": drivers,
    }
