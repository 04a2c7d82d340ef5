"""Models, their versions, and how each came to where it is."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Now

from omarino.tenancy import TenantOwned, TenantQuerySet
from registry.formats import FORMATS, Declared
from registry.gates import Finding, Gates, flat

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}"
VERSION_PATTERN = r"v?(?:[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}|[0-9]{8}-[0-9]{6})"
validate_name = RegexValidator(
    rf"\A{NAME_PATTERN}\Z", "At most 128 letters, digits, - or _, beginning with a letter or digit."
)
validate_version = RegexValidator(rf"\A{VERSION_PATTERN}\Z", "Such as v1.2.3, 1.2.3 or v20251009-120000.")
DELETED = "deleted"


class Stage(models.TextChoices):
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


class ModelType(models.TextChoices):
    FORECAST = "forecast"
    ANOMALY = "anomaly"
    OPTIMIZATION = "optimization"
    CLASSIFICATION = "classification"
    REGRESSION = "regression"


ALLOWED = {
    Stage.STAGING: (Stage.PRODUCTION, Stage.ARCHIVED),
    Stage.PRODUCTION: (Stage.ARCHIVED,),
    Stage.ARCHIVED: (Stage.STAGING, Stage.PRODUCTION),
}


class RegisteredModelQuerySet(TenantQuerySet["RegisteredModel"]):
    def with_versions(self) -> Self:
        """For lists: what is in production and since when, the newest version, and how many there are."""
        versions = ModelVersion.objects.filter(model=models.OuterRef("pk"))
        entered = Transition.objects.filter(model=models.OuterRef("pk"), to_stage=Stage.PRODUCTION)
        return self.annotate(
            production_version=models.Subquery(versions.production().values("version")[:1]),
            production_since=models.Subquery(entered.order_by("-id").values("at")[:1]),
            newest_version=models.Subquery(versions.values("version")[:1]),
            version_count=models.Count("versions"),
        )


class RegisteredModel(TenantOwned):
    """A name that stands for one version at a time. Never deleted: its history hangs on it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=128, validators=[validate_name])
    gates = models.JSONField(default=dict, blank=True)  # rules of promotion, see registry.gates
    split = models.ForeignKey(  # the one that is under way, so that a prediction needs no second query
        "registry.TrafficSplit", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = RegisteredModelQuerySet.as_manager()

    class Meta:
        ordering = ["tenant_id", "name"]
        verbose_name = "model"
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "name"], name="registry_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    def production_at(self, moment: datetime) -> Transition | None:
        """The transition that put into production what was there at that time."""
        last = (
            self.transitions.filter(
                Q(to_stage=Stage.PRODUCTION) | Q(from_stage=Stage.PRODUCTION), at__lte=moment
            )
            .order_by("-id")
            .first()
        )
        return last if last is not None and last.to_stage == Stage.PRODUCTION else None


class ModelVersionQuerySet(TenantQuerySet["ModelVersion"]):
    def named(self, name: str, version: str) -> Self:
        return self.filter(model__name=name, version=version)

    def production(self) -> Self:
        return self.filter(stage=Stage.PRODUCTION)


class ModelVersion(TenantOwned):
    """One version of a model. Its stage changes; everything else is written once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="versions")
    version = models.CharField(max_length=50, validators=[validate_version])
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.STAGING)
    model_type = models.CharField(max_length=14, choices=ModelType, blank=True)
    framework = models.CharField(max_length=64)
    algorithm = models.CharField(max_length=128, blank=True)
    metadata = models.JSONField(default=dict)  # as it was given
    metrics = models.JSONField(default=dict)
    feature_names = ArrayField(models.TextField(), default=list)  # in the order of the model's columns
    format = models.CharField(max_length=16, blank=True)  # of the artifact, found by opening it
    sha256 = models.CharField(max_length=64, blank=True)
    size_bytes = models.BigIntegerField(null=True)
    portrait = models.JSONField(default=dict)  # what was found when it was opened apart
    uploaded_at = models.DateTimeField(db_default=Now(), editable=False)
    uploaded_by = models.CharField(max_length=255)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-uploaded_at", "-id"]
        indexes = [
            models.Index(fields=["tenant_id", "-uploaded_at", "-id"], name="registry_newest"),  # the list
        ]
        constraints = [
            models.UniqueConstraint(fields=["model", "version"], name="registry_version_once"),
            models.UniqueConstraint(
                fields=["model"], condition=Q(stage=Stage.PRODUCTION), name="registry_one_production"
            ),
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="registry_stage_known"),
            models.CheckConstraint(
                condition=Q(model_type__in=["", *ModelType.values]), name="registry_type_known"
            ),
            models.CheckConstraint(
                condition=Q(format="", sha256="", size_bytes__isnull=True)
                | (Q(size_bytes__gt=0) & ~Q(format="") & ~Q(sha256="")),
                name="registry_artifact_whole_or_none",
            ),
        ]

    def __str__(self) -> str:
        return self.model_id_text

    @property
    def model_id_text(self) -> str:
        """`{tenant}:{model}:{version}`, the id of the API."""
        return f"{self.tenant_id}:{self.model.name}:{self.version}"

    @property
    def folder(self) -> str:
        return f"{self.tenant_id}/{self.model.name}/{self.version}"

    @property
    def storage_path(self) -> str:
        return f"{self.folder}/model.{FORMATS[self.format].suffix}" if self.format else f"{self.folder}/"

    @property
    def plain_metrics(self) -> list[tuple[str, float]]:
        return list(flat(self.metrics).items())

    @property
    def declared(self) -> Declared:
        """What its metadata say of an artifact that does not say it itself."""
        return declared_by(self.metadata, self.feature_names)

    @property
    def load_key(self) -> str:
        """The same for versions that load as the same model: the same bytes, and where the bytes do not say all,
        the same declaration."""
        known = FORMATS.get(self.format)
        if known is None or not known.is_declared:
            return self.sha256
        said = json.dumps(self.declared.as_dict(), sort_keys=True)
        return f"{self.sha256}:{hashlib.sha256(said.encode()).hexdigest()}"

    @property
    def missing_extra(self) -> str:
        """The extra that would serve it, when its runtime is not installed in this process."""
        known = FORMATS.get(self.format)
        return known.extra if known is not None and not known.is_served else ""

    @property
    def has_served(self) -> bool:
        """Whether it was in production before: going back to it is a rollback."""
        return self.model.transitions.filter(version_id=self.pk, to_stage=Stage.PRODUCTION).exists()

    def findings(self, incumbent: ModelVersion | None, *, promoted_by: str) -> list[Finding]:
        """What the model's gates say of putting this version in the incumbent's place. A version that was
        in production before passes: a rollback must not wait for numbers."""
        if self.has_served:
            return []
        return Gates.of(self.model.gates).judge(
            flat(self.metrics),
            None if incumbent is None else flat(incumbent.metrics),
            approved_by=frozenset(self.approvals.values_list("by", flat=True)),
            promoted_by=promoted_by,
        )


class Approval(models.Model):
    """Somebody says that a version may go to production."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="approvals")
    by = models.CharField(max_length=255)  # the subject of the token
    by_name = models.CharField(max_length=255)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["version", "by"], name="registry_approved_once")]

    def __str__(self) -> str:
        return f"{self.by_name} approves {self.version}"


class TransitionQuerySet(TenantQuerySet["Transition"]):
    """Of one tenant, like every other."""


class Transition(TenantOwned):
    """A version went from one stage to another. Append-only: the database refuses changes. It names its
    version by words and id, not by a key, since it outlives it."""

    id = models.BigAutoField(primary_key=True)
    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="transitions")
    version_id = models.UUIDField()
    version = models.CharField(max_length=50)
    from_stage = models.CharField(max_length=10, blank=True)  # empty: it was registered
    to_stage = models.CharField(max_length=10)
    at = models.DateTimeField(
        db_default=Now(), editable=False
    )  # of the statement, so after the wait for the lock
    by = models.CharField(max_length=255)
    by_name = models.CharField(max_length=255)
    reason = models.TextField(blank=True)
    metrics = models.JSONField(default=dict)
    incumbent = models.CharField(max_length=50, blank=True)  # the version it replaced, or was replaced by
    incumbent_metrics = models.JSONField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)

    objects = TransitionQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["model", "-id"], name="registry_history")]
        constraints = [
            models.CheckConstraint(
                condition=Q(to_stage__in=[*Stage.values, DELETED]), name="registry_transition_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.from_stage or 'new'} to {self.to_stage}"


FINISHED = ("FINISHED", "READY", "LOGGED_MODEL_READY")


class TrackedQuerySet(TenantQuerySet["Tracked"]):
    def unfinished(self, before: datetime) -> Self:
        """Begun before that time, and not said to be finished since."""
        known = self.annotate(said=KeyTextTransform("status", "body"))
        return known.filter(Q(said__isnull=True) | ~Q(said__in=FINISHED), made_at__lt=before)


class Tracked(TenantOwned):
    """What an MLflow client tells before it registers: a run, or a model it has logged."""

    class Kind(models.TextChoices):
        RUN = "run"
        MODEL = "model"

    id = models.CharField(
        primary_key=True, max_length=34, editable=False
    )  # as MLflow writes them: hex, or m-hex
    kind = models.CharField(max_length=5, choices=Kind)
    name = models.CharField(max_length=256)
    body = models.JSONField(default=dict)  # status, metrics, params, tags
    made_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TrackedQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["run", "model"]), name="registry_tracked_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


REFERENCE = re.compile(rf"([^:/]{{1,64}}):({NAME_PATTERN})(?::({VERSION_PATTERN}|production|latest))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model id as it stands in an address."""

    tenant_id: str
    name: str
    version: str  # empty: the model itself

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """None for what can be no id at all.

        >>> Reference.parse("alpha:site-load:v1.2.0")
        Reference(tenant_id='alpha', name='site-load', version='v1.2.0')
        >>> Reference.parse("alpha:../x:v1.2.0")
        """
        found = REFERENCE.fullmatch(text)
        return cls(found[1], found[2], found[3] or "") if found else None


def declared_by(metadata: Mapping[str, Any], feature_names: Sequence[str]) -> Declared:
    return Declared(
        architecture=metadata.get("architecture"),
        class_labels=tuple(metadata.get("class_labels") or ()),
        feature_count=len(feature_names) or None,
    )


def as_metadata(version: ModelVersion) -> dict[str, Any]:
    """What metadata.json beside the artifact says."""
    return {
        "model_id": version.model_id_text,
        "tenant_id": version.tenant_id,
        "model_name": version.model.name,
        "version": version.version,
        "model_type": version.model_type,
        "framework": version.framework,
        "algorithm": version.algorithm,
        "format": version.format,
        "sha256": version.sha256,
        "size_bytes": version.size_bytes,
        "feature_names": version.feature_names,
        "uploaded_by": version.uploaded_by,
        "metadata": version.metadata,
    }


# Declared apart; Django finds models here.
from registry.traffic_models import Outcome as Outcome  # noqa: E402
from registry.traffic_models import TrafficSplit as TrafficSplit  # noqa: E402
from registry.traffic_models import VariantCount as VariantCount  # noqa: E402
from registry.training_models import TrainingRun as TrainingRun  # noqa: E402
