"""Exports on the wire."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from rest_framework import serializers

from features.export_actions import ExportRequest
from features.models import FeatureExport, validate_asset_id
from omarino.api import StrictSerializer, TenantField
from omarino.jobs import JobStatus
from omarino.series import EARLIEST, LATEST

MAX_EXPORT_ASSETS = 10_000  # by name; without names it is all of the tenant's
LONGEST = timedelta(days=20 * 366)
PART_OF_PATH = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # begins neither with a dot nor with a slash
OUTPUT_PATH = re.compile(rf"\A{PART_OF_PATH}(/{PART_OF_PATH}){{0,9}}\Z")
validate_output_path = RegexValidator(
    OUTPUT_PATH,
    "A name below the export's folder such as 2025/load.parquet: letters, digits or . _ - in parts that begin "
    "with a letter or digit.",
)
MESSAGES = {
    JobStatus.PENDING: "Waiting for a worker, or for another export of this tenant to end.",
    JobStatus.PROCESSING: "Being written.",
    JobStatus.COMPLETED: "Complete. Fetch the file under /ai/features/exports/{id}/download.",
    JobStatus.FAILED: "Failed: {error}",
    JobStatus.CANCELLED: "Cancelled.",
}


class PathField(serializers.CharField):
    """A number is no name."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class ExportRequestSerializer(StrictSerializer):
    """What to export. Other fields are refused: a misspelt asset_ids would export every asset."""

    tenant_id = TenantField()
    feature_set = serializers.CharField(max_length=64, trim_whitespace=False)
    start_time = serializers.DateTimeField(
        default_timezone=UTC, help_text="Of the first reading; features look back further."
    )
    end_time = serializers.DateTimeField(
        default_timezone=UTC, help_text="Readings at or after it are left out. At most 20 years later."
    )
    asset_ids = serializers.ListField(
        child=serializers.CharField(max_length=128, validators=[validate_asset_id]),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MAX_EXPORT_ASSETS,
        help_text="All of the tenant's assets, when not given.",
    )
    output_path = PathField(
        required=False,
        allow_null=True,
        max_length=200,
        trim_whitespace=False,
        validators=[validate_output_path],
        help_text="Name of the file below the export's own folder; .parquet is added where it lacks.",
    )

    def validate_start_time(self, moment: datetime) -> datetime:
        return _within_time(moment)

    def validate_end_time(self, moment: datetime) -> datetime:
        return _within_time(moment)

    def validate_output_path(self, path: str | None) -> str | None:
        if path is None or path.endswith(".parquet"):
            return path
        if len(path) > 192:
            raise serializers.ValidationError("At most 200 characters with .parquet.")
        return f"{path}.parquet"

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["end_time"] - attrs["start_time"] > LONGEST:
            raise serializers.ValidationError({"end_time": "At most 20 years after start_time."})
        return attrs

    def wanted(self) -> ExportRequest:
        said = self.validated_data
        return ExportRequest(
            feature_set=said["feature_set"],
            start_time=said["start_time"],
            end_time=said["end_time"],
            asset_ids=said.get("asset_ids"),
            output_path=said.get("output_path"),
        )


def _within_time(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise serializers.ValidationError("A time from 1970 to 2199.")
    return moment


class ExportFilterSerializer(serializers.Serializer[Any]):
    feature_set = serializers.CharField(max_length=64, required=False)
    status_filter = serializers.ChoiceField(choices=JobStatus.choices, required=False)


class ExportSummarySerializer(serializers.ModelSerializer[FeatureExport]):
    export_id = serializers.UUIDField(source="pk")
    status = serializers.ChoiceField(choices=JobStatus.choices)
    message = serializers.SerializerMethodField()
    progress = serializers.FloatField(help_text="Share done, 0 to 1.")
    storage_path = serializers.SerializerMethodField(help_text="Null until it is completed.")
    file_size_mb = serializers.SerializerMethodField(help_text="In millions of bytes.")
    kept_until = serializers.SerializerMethodField(help_text="Null where it is kept for ever, or not over.")

    class Meta:
        model = FeatureExport
        fields = [
            "export_id",
            "tenant_id",
            "feature_set",
            "feature_set_version",
            "start_time",
            "end_time",
            "status",
            "message",
            "progress",
            "attempts",
            "error",
            "storage_path",
            "row_count",
            "file_size_bytes",
            "file_size_mb",
            "sha256",
            "requested_by",
            "requested_at",
            "started_at",
            "completed_at",
            "kept_until",
        ]

    def get_message(self, export: FeatureExport) -> str:
        return MESSAGES[JobStatus(export.status)].format(id=export.pk, error=export.error)

    def get_storage_path(self, export: FeatureExport) -> str | None:
        return export.storage_path if export.status == JobStatus.COMPLETED else None

    def get_file_size_mb(self, export: FeatureExport) -> float | None:
        return None if export.file_size_bytes is None else round(export.file_size_bytes / 1e6, 3)

    def get_kept_until(self, export: FeatureExport) -> datetime | None:
        if export.completed_at is None or not settings.EXPORT_KEEP_DAYS:
            return None
        return export.completed_at + timedelta(days=settings.EXPORT_KEEP_DAYS)


class ExportSerializer(ExportSummarySerializer):
    features = serializers.ListField(
        child=serializers.CharField(), source="feature_names", help_text="The columns, in their order."
    )
    asset_ids = serializers.ListField(
        child=serializers.CharField(), allow_null=True, help_text="Null for all of the tenant's."
    )

    class Meta(ExportSummarySerializer.Meta):
        fields = [*ExportSummarySerializer.Meta.fields, "features", "asset_ids"]
