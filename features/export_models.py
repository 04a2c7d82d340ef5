"""Exports: what was asked for, how far it is, and where its file lies."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from features.errors import ExportNotReady
from omarino.jobs import Job, JobQuerySet, JobStatus


class ExportQuerySet(JobQuerySet["FeatureExport"]):
    def waiting(self) -> Self:
        return self.filter(status__in=(JobStatus.PENDING, JobStatus.PROCESSING))

    def over_before(self, moment: datetime) -> Self:
        """Those that came to their end before that."""
        return self.exclude(status__in=(JobStatus.PENDING, JobStatus.PROCESSING)).filter(
            completed_at__lt=moment
        )

    def under_key(self, requested_by: str, idempotency_key: str) -> Self:
        """The one that an earlier request of the same caller made under this key."""
        return self.filter(requested_by=requested_by, idempotency_key=idempotency_key)


class FeatureExport(Job):
    """A set's features as of every reading of a time, as one Parquet file.

    The row names the features themselves: a set may be changed, or removed, before a worker comes to it.
    """

    task: ClassVar[str] = "features.write_export"

    feature_set = models.CharField(max_length=64, editable=False)
    feature_set_version = models.PositiveIntegerField(editable=False)
    feature_names = ArrayField(models.CharField(max_length=64), editable=False)
    start_time = models.DateTimeField(editable=False)  # of the first reading; the features look back further
    end_time = models.DateTimeField(editable=False)  # readings at or after it are left out
    asset_ids = ArrayField(models.CharField(max_length=128), null=True, editable=False)  # NULL: all there are
    file_name = models.CharField(max_length=200, editable=False)  # below the export's own folder
    idempotency_key = models.CharField(max_length=255, blank=True, editable=False)
    request_digest = models.CharField(max_length=64, editable=False)  # what the key stands for
    row_count = models.PositiveBigIntegerField(null=True, editable=False)
    file_size_bytes = models.PositiveBigIntegerField(null=True, editable=False)
    sha256 = models.CharField(max_length=64, blank=True, editable=False)

    objects = ExportQuerySet.as_manager()

    class Meta(Job.Meta):
        db_table = "feature_exports"
        verbose_name = "export"
        ordering = ["-requested_at", "-id"]
        constraints = [
            *Job.Meta.constraints,
            models.UniqueConstraint(
                fields=["tenant_id", "requested_by", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="features_export_once_for_a_key",
            ),
            models.CheckConstraint(
                condition=Q(start_time__lt=models.F("end_time")), name="features_export_times_in_order"
            ),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.COMPLETED)
                | Q(row_count__isnull=False, file_size_bytes__isnull=False) & ~Q(sha256=""),
                name="features_export_completed_whole",
            ),
        ]
        indexes = [
            *Job.Meta.indexes,
            models.Index(  # the list, newest first
                fields=["tenant_id", "-requested_at", "-id"], name="features_export_list"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.feature_set} {self.start_time:%Y-%m-%d} to {self.end_time:%Y-%m-%d}"

    @property
    def storage_path(self) -> str:
        """Where its file is once it is completed: a folder of its own below the tenant's, so that two never meet."""
        return f"{self.tenant_id}/{self.pk}/{self.file_name}"

    @property
    def download_name(self) -> str:
        return self.file_name.rpartition("/")[2]

    def refuse_unless_completed(self) -> None:
        """Raises ExportNotReady, where there is no file."""
        if self.status != JobStatus.COMPLETED:
            raise ExportNotReady(state=self.status)
