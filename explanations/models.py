"""What was explained, and how: the record of an answer, and of one that is still being worked out."""

from __future__ import annotations

from typing import Any, ClassVar, Self
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from omarino.jobs import Job, JobQuerySet, JobStatus


class Scope(models.TextChoices):
    LOCAL = "local"  # one prediction
    GLOBAL = "global"  # a model over many rows


class Subject(models.TextChoices):
    MODEL = "model"
    FORECAST = "forecast"
    DETECTION = "detection"


class ExplanationQuerySet(JobQuerySet["Explanation"]):
    def of(self, subject: str, subject_id: UUID) -> Self:
        return self.filter(subject=subject, subject_id=subject_id).order_by("-requested_at", "-id")

    def that_answers(self, digest: str) -> Explanation | None:
        """The same question on the same data, answered or being worked on."""
        alive = self.filter(question_digest=digest).exclude(
            status__in=(JobStatus.FAILED, JobStatus.CANCELLED)
        )
        return alive.order_by("-requested_at").first()

    def without_pictures(self) -> Self:
        """For lists: the rows are many numbers."""
        return self.defer("answer", "swarm", "question")


class Explanation(Job):
    """Why one prediction is what it is, or what a model looks at. Light ones are written when they are answered."""

    task: ClassVar[str] = "explanations.explain"

    scope = models.CharField(max_length=6, choices=Scope)
    subject = models.CharField(max_length=9, choices=Subject)
    subject_id = (
        models.UUIDField()
    )  # of the model's version, the forecast or the detection; it may be gone by now
    model_name = models.CharField(max_length=128)
    model_version = models.CharField(max_length=50)
    asset_id = models.CharField(max_length=128, blank=True)
    unit = models.CharField(max_length=32, blank=True)
    point = models.PositiveIntegerField(null=True)  # the step of a forecast, the anomaly of a detection
    target_at = models.DateTimeField(null=True)  # the time that is explained
    question = models.JSONField(
        default=dict, encoder=DjangoJSONEncoder
    )  # for the worker; empty when it is answered
    question_digest = models.CharField(max_length=64)  # sha256 of all the answer is a function of
    answer = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    swarm = models.JSONField(default=dict)  # contributions and values of some rows, for the picture

    objects = ExplanationQuerySet.as_manager()

    class Meta(Job.Meta):
        ordering = ["-requested_at", "-id"]
        indexes = [
            *Job.Meta.indexes,
            models.Index(fields=["tenant_id", "question_digest"], name="explanations_same_question"),
            models.Index(fields=["tenant_id", "subject_id", "-requested_at"], name="explanations_of_subject"),
            models.Index(fields=["tenant_id", "-requested_at", "-id"], name="explanations_newest"),
        ]
        constraints = [
            *Job.Meta.constraints,
            models.CheckConstraint(condition=Q(scope__in=Scope.values), name="explanations_scope_known"),
            models.CheckConstraint(
                condition=Q(subject__in=Subject.values), name="explanations_subject_known"
            ),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.COMPLETED) | ~Q(answer={}),
                name="explanations_completed_says_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_name} {self.model_version}, {self.scope}"

    @property
    def parts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.answer.get("feature_importances", [])
        return found
