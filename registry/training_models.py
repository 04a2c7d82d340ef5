"""The record of a training: what was asked, how far it is, and the version that came of it."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MinLengthValidator
from django.db import models

from omarino.jobs import Job, JobQuerySet
from registry.models import ModelVersion


class TrainingRunQuerySet(JobQuerySet["TrainingRun"]):
    """Of one tenant, like every other."""


class TrainingRun(Job):
    """One training. What is trained, and how, is known by the trainer that `kind` names (see registry.training)."""

    task: ClassVar[str] = "registry.train"
    trains_models: ClassVar[bool] = True

    kind = models.CharField(max_length=32, validators=[MinLengthValidator(1)], editable=False)
    subject = models.CharField(max_length=128, editable=False)  # what it is about, such as an asset
    parameters = models.JSONField(default=dict, editable=False)
    version = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, editable=False, related_name="training_runs"
    )
    samples = models.PositiveIntegerField(null=True, editable=False)  # rows learned from
    message = models.TextField(blank=True, editable=False)  # what came of it, in a sentence

    objects = TrainingRunQuerySet.as_manager()

    class Meta(Job.Meta):
        ordering = ["-requested_at", "-id"]
        indexes = [
            *Job.Meta.indexes,
            models.Index(
                fields=["tenant_id", "kind", "subject", "-requested_at"], name="registry_training_newest"
            ),  # the last training of a device
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.subject}"
