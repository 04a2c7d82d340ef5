"""What one can do with models: register, complete, promote, approve, set the rules, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from omarino import audit
from omarino.authentication import Principal
from omarino.errors import NotFound, NotYours
from registry import artifacts, traffic
from registry.artifacts import Upload
from registry.errors import (
    ArtifactExists,
    ArtifactLate,
    FeaturesMismatch,
    InProduction,
    NoProductionVersion,
    PromotionRefused,
    QuantileModelRefused,
    StorageUnavailable,
    TransitionRefused,
    VersionBusy,
    VersionExists,
)
from registry.formats.base import Declared, Portrait
from registry.models import (
    ALLOWED,
    DELETED,
    Approval,
    ModelVersion,
    Reference,
    RegisteredModel,
    Stage,
    Transition,
    declared_by,
)
from registry.quarantine import open_apart

log = structlog.get_logger(__name__)


def version_of(*, tenant_id: str, reference: Reference | None) -> ModelVersion:
    """The version an id names; `latest` is the one in production, else the newest."""
    if reference is not None and reference.tenant_id != tenant_id:
        raise NotYours()
    if reference is None or not reference.version:
        raise NotFound()
    versions = (
        ModelVersion.objects.for_tenant(tenant_id)
        .select_related("model__split__challenger")
        .filter(model__name=reference.name)
    )
    if reference.version not in ("production", "latest"):
        found = versions.filter(version=reference.version).first()
    else:
        found = versions.production().first()
        if found is None and reference.version == "latest":
            found = versions.first()
        if found is None and versions.exists():
            raise NoProductionVersion(model=f"{tenant_id}:{reference.name}")
    if found is None:
        raise NotFound()
    return found


def model_of(*, tenant_id: str, reference: Reference | None) -> RegisteredModel:
    if reference is not None and reference.tenant_id != tenant_id:
        raise NotYours()
    if reference is None or reference.version:
        raise NotFound()
    found = RegisteredModel.objects.for_tenant(tenant_id).filter(name=reference.name).first()
    if found is None:
        raise NotFound()
    return found


def register_version(
    *,
    tenant_id: str,
    by: Principal,
    model_name: str,
    version: str,
    metadata: Mapping[str, Any],
    metrics: Mapping[str, Any],
    model_type: str = "",
    stage: str = Stage.STAGING,
    upload: Upload | None = None,
) -> ModelVersion:
    """Register a version with its artifact, or without one that then comes by `attach_artifact`.

    The artifact is opened apart before anything is written.
    """
    if ModelVersion.objects.for_tenant(tenant_id).named(model_name, version).exists():
        raise VersionExists(model_id=f"{tenant_id}:{model_name}:{version}")
    given = metadata.get("feature_names") or []
    portrait = _inspect(upload, declared_by(metadata, given)) if upload is not None else None
    row = ModelVersion(
        tenant_id=tenant_id,
        version=version,
        model_type=model_type,
        framework=metadata.get("framework") or (portrait.format if portrait else ""),
        algorithm=metadata.get("algorithm") or "",
        metadata=dict(metadata),
        metrics=dict(metrics),
        feature_names=_feature_names(given, portrait),
        uploaded_by=by.username,
        **_columns_of(upload, portrait),
    )
    _check_quantile_models(row, f"{model_name}:{version}")
    _write(row, model_name, Stage(stage), by=by, upload=upload)
    row.refresh_from_db()
    return row


def _write(row: ModelVersion, model_name: str, stage: Stage, *, by: Principal, upload: Upload | None) -> None:
    """The files are written before the row is committed, and deleted when it is not, so neither stands without the
    other; after a crash in between `check_artifacts` does it."""
    stored = False
    try:
        with transaction.atomic():
            artifacts.hold(row.tenant_id, model_name, row.version)
            row.model = model_row(row.tenant_id, model_name)
            if row.model.versions.filter(version=row.version).exists():
                raise VersionExists(model_id=str(row))
            row.save(force_insert=True)
            _note(row, "", Stage.STAGING, by=by, reason="registered")
            _tell("model_registered", row, format=row.format, size_bytes=row.size_bytes)
            if stage != Stage.STAGING:
                _move(row, stage, by=by, reason="registered")
            stored = True
            artifacts.store(row, upload)
    except BaseException:  # whatever it was, also the end of the process: no file without its row
        if stored:
            with suppress(StorageUnavailable):
                _delete_files(row)
        raise


def attach_artifact(*, tenant_id: str, reference: Reference | None, upload: Upload) -> ModelVersion:
    """Give a version its artifact. The same bytes again change nothing; others are refused."""
    row = version_of(tenant_id=tenant_id, reference=reference)
    if row.sha256 == upload.sha256:
        return row
    if row.sha256:
        raise ArtifactExists(model_id=str(row))
    if row.stage == Stage.PRODUCTION:
        raise ArtifactLate(model_id=str(row))
    portrait = _inspect(upload, row.declared)
    changes = {**_columns_of(upload, portrait), "feature_names": _feature_names(row.feature_names, portrait)}
    try:
        with transaction.atomic():
            artifacts.hold(tenant_id, row.model.name, row.version)
            rows = ModelVersion.objects.for_tenant(tenant_id).filter(pk=row.pk, sha256="")
            held = rows.exclude(stage=Stage.PRODUCTION).select_for_update(of=("self",)).first()
            if held is None:
                raise ArtifactExists(model_id=str(row))
            for name, value in changes.items():
                setattr(row, name, value)
            _check_quantile_models(row, f"{row.model.name}:{row.version}")
            row.save(update_fields=list(changes))
            artifacts.store(row, upload)
            audit.record(tenant_id, "attached", "model version", row, after=row, sha256=row.sha256)
    except BaseException:  # no file without its row
        if row.sha256:
            with suppress(StorageUnavailable):
                artifacts.discard(row)
        raise
    return row


def promote_version(
    *, tenant_id: str, reference: Reference | None, target_stage: str, by: Principal, reason: str = ""
) -> tuple[ModelVersion, Transition]:
    """Move a version to another stage; what was in production is archived by the same transaction.

    Promotions of one model queue on the model's row, so each sees the one before it.
    """
    with transaction.atomic():
        row = _held(tenant_id, reference)
        target = Stage(target_stage)
        if target not in ALLOWED[Stage(row.stage)]:
            allowed = ", ".join(ALLOWED[Stage(row.stage)])
            raise TransitionRefused(model_id=str(row), stage=row.stage, target=target.value, allowed=allowed)
        return row, _move(row, target, by=by, reason=reason)


@transaction.atomic
def approve_version(
    *, tenant_id: str, reference: Reference | None, by: Principal, reason: str = ""
) -> ModelVersion:
    """Say that a version may go to production; saying it twice is saying it once."""
    row = version_of(tenant_id=tenant_id, reference=reference)
    approval, is_new = Approval.objects.get_or_create(
        version=row, by=by.subject, defaults={"by_name": by.username, "reason": reason}
    )
    if is_new:
        audit.record(tenant_id, "approved", "model version", row, after=approval)
    return row


@transaction.atomic
def set_gates(*, tenant_id: str, reference: Reference | None, gates: Mapping[str, Any]) -> RegisteredModel:
    """Replace the rules that versions of a model must meet to go to production."""
    model = model_of(tenant_id=tenant_id, reference=reference)
    was = audit.digest(model)
    model.gates = dict(gates)
    model.save(update_fields=["gates"])
    audit.record(tenant_id, "changed", "gates", f"{tenant_id}:{model.name}", before=was, after=model)
    return model


def delete_version(
    *, tenant_id: str, reference: Reference | None, by: Principal, force: bool = False, reason: str = ""
) -> tuple[ModelVersion, int]:
    """Delete a version and its files; its history stays. Gives the number of files deleted."""
    with transaction.atomic():
        row = _held(tenant_id, reference)
        if row.stage == Stage.PRODUCTION and not force:
            raise InProduction(model_id=str(row))
        traffic.end_with(row.model, [row], f"{row.version} was deleted by {by.username}")
        _note(row, row.stage, DELETED, by=by, reason=reason)
        row.model.versions.filter(pk=row.pk).delete()
        _tell("model_deleted", row, stage=row.stage)
    return row, _delete_files(row)


def production_at(*, tenant_id: str, reference: Reference | None, as_of: datetime) -> Transition:
    """What was in production at that time, by the transition that put it there."""
    model = model_of(tenant_id=tenant_id, reference=reference)
    found = model.production_at(as_of)
    if found is None:
        raise NoProductionVersion(model=f"{tenant_id}:{model.name} at {as_of:%Y-%m-%d %H:%M:%S} UTC")
    return found


def _held(tenant_id: str, reference: Reference | None) -> ModelVersion:
    """The version an id names, as it is once this transaction holds its model's row."""
    named = version_of(tenant_id=tenant_id, reference=reference)
    model = RegisteredModel.objects.for_tenant(tenant_id).select_for_update().get(pk=named.model_id)
    row = model.versions.filter(pk=named.pk).first()
    if row is None:  # deleted while we waited
        raise NotFound()
    row.model = model
    return row


def _move(row: ModelVersion, target: Stage, *, by: Principal, reason: str) -> Transition:
    """The caller holds the model's row."""
    before = Stage(row.stage)
    incumbent = row.model.versions.production().exclude(pk=row.pk).first()
    replaced = archived_at = None
    if target == Stage.PRODUCTION:
        refused = [
            finding for finding in row.findings(incumbent, promoted_by=by.subject) if not finding.holds
        ]
        if refused:
            why = " ".join(f"it must be {finding.rule}. {finding.detail}" for finding in refused)
            findings = [{"rule": finding.rule, "detail": finding.detail} for finding in refused]
            raise PromotionRefused(model_id=str(row), reason=why, findings=findings)
        if incumbent is not None:
            replaced, incumbent.model = incumbent, row.model
            incumbent.stage = Stage.ARCHIVED
            incumbent.save(update_fields=["stage"])
            left = _note(incumbent, Stage.PRODUCTION, Stage.ARCHIVED, by=by, reason=reason, beside=row)
            archived_at = left.at  # the same moment for both, so that at no time nothing was in production
    traffic.end_with(row.model, [row, replaced], f"{row.version} went to {target} by {by.username}")
    row.stage = target
    row.save(update_fields=["stage"])
    _tell("model_promoted", row, stage=target.value, previous_stage=before.value)
    return _note(row, before, target, by=by, reason=reason, beside=replaced, at=archived_at)


def _tell(event: str, row: ModelVersion, **facts: Any) -> None:
    """A line in the log, once what it tells is committed."""
    told = {"tenant_id": row.tenant_id, "model_name": row.model.name, "version": row.version, **facts}
    transaction.on_commit(lambda: log.info(event, **told))


def _note(
    row: ModelVersion,
    before: str,
    after: str,
    *,
    by: Principal,
    reason: str,
    beside: ModelVersion | None = None,
    at: datetime | None = None,
) -> Transition:
    noted = Transition(
        tenant_id=row.tenant_id,
        model=row.model,
        version_id=row.pk,
        version=row.version,
        from_stage=before,
        to_stage=after,
        by=by.subject,
        by_name=by.username,
        reason=reason,
        metrics=row.metrics,
        incumbent=beside.version if beside else "",
        incumbent_metrics=beside.metrics if beside else None,
        sha256=row.sha256,
        **({} if at is None else {"at": at}),
    )
    noted.save(force_insert=True)
    noted.refresh_from_db(fields=["at"])
    verb = DELETED if after == DELETED else "moved" if before else "registered"
    was, now = (audit.digest(row, stage=stage) if stage in Stage.values else "" for stage in (before, after))
    stages = {"from_stage": before, "to_stage": after}
    audit.record(row.tenant_id, verb, "model version", row, before=was, after=now, **stages)
    return noted


def model_row(tenant_id: str, name: str) -> RegisteredModel:
    """The model's row, made on first use and held, so that its stages do not move meanwhile."""
    rows = RegisteredModel.objects.for_tenant(tenant_id)
    if not rows.filter(name=name).exists():
        try:
            with transaction.atomic():
                RegisteredModel(tenant_id=tenant_id, name=name).save(force_insert=True)
        except IntegrityError:
            pass  # somebody else was first
    return rows.select_for_update().get(name=name)


def _inspect(upload: Upload, declared: Declared) -> Portrait:
    portrait, _ = open_apart(
        upload.path,
        seconds=settings.MODEL_INSPECTION_SECONDS,
        memory_mb=settings.MODEL_INSPECTION_MEMORY_MB,
        declared=declared,
    )
    return portrait


def _columns_of(upload: Upload | None, portrait: Portrait | None) -> dict[str, Any]:
    if upload is None or portrait is None:
        return {}
    return {
        "format": portrait.format,
        "sha256": upload.sha256,
        "size_bytes": upload.size_bytes,
        "portrait": portrait.as_dict(),
    }


def _feature_names(given: Sequence[str], portrait: Portrait | None) -> list[str]:
    """In the order of the model's columns: the file's own names, else those given, else f0, f1, ..."""
    if portrait is None or portrait.feature_count is None:
        return list(given)
    own, count = portrait.feature_names, portrait.feature_count
    if not given:
        return own or [f"f{index}" for index in range(count)]
    if len(given) != count:
        raise FeaturesMismatch(reason=f"it names {len(given)} features, the model has {count}")
    if own and [name.replace(" ", "_") for name in given] != [name.replace(" ", "_") for name in own]:
        raise FeaturesMismatch(reason=f"the model's own names are, in this order, {', '.join(own)[:500]}")
    return list(given)


def _check_quantile_models(row: ModelVersion, own: str) -> None:
    """Those that its metadata name are this tenant's, say numbers, and take the features it takes, where it says them.
    Raises QuantileModelRefused."""
    for quantile, named in (row.metadata.get("quantile_models") or {}).items():
        name, _, version = named.partition(":")
        other = ModelVersion.objects.for_tenant(row.tenant_id).named(name, version).first()
        reason = ""
        if named == own:
            reason = "which is this version itself"
        elif other is None:
            reason = f"which is no version of tenant {row.tenant_id}; register it first"
        elif not other.format:
            reason = "which has no artifact yet"
        elif other.portrait.get("class_labels"):
            reason = "which tells classes, not numbers"
        elif row.feature_names and other.feature_names != row.feature_names:
            theirs, ours = ", ".join(other.feature_names)[:300], ", ".join(row.feature_names)[:300]
            reason = f"which takes other features: {theirs} instead of {ours}"
        if reason:
            raise QuantileModelRefused(quantile=quantile, named=named, reason=reason)


def _delete_files(row: ModelVersion) -> int:
    """The files of a version that has no row, unless somebody registers it anew at this moment."""
    try:
        with transaction.atomic():
            artifacts.hold(row.tenant_id, row.model.name, row.version)
            if ModelVersion.objects.for_tenant(row.tenant_id).named(row.model.name, row.version).exists():
                return 0
            return artifacts.delete(row.folder)
    except VersionBusy:
        return 0
