"""What MLflow clients ask for, by the registry's own verbs: inspection, gates and history are the same."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import orjson
from django.db import transaction

from omarino import audit
from omarino.authentication import Principal
from omarino.errors import NotFound
from registry import actions, artifacts
from registry.errors import MlflowUnsupported, ModelExists, SourceRefused
from registry.mlflow import folders
from registry.mlflow.shapes import numbers_of, unpaired
from registry.models import ModelVersion, Reference, RegisteredModel, Stage, Tracked
from registry.serializers import MetadataField

OURS = "omarino."  # tags of this prefix are fields of metadata: omarino.feature_set
MOST_NAMED = 1000
UNDERWAY = ("RUNNING", "SCHEDULED")  # of runs: a logged model is told of a few times only
SOURCES = re.compile(
    r"(?:models:/(?P<model>m-[0-9a-f]{32})|runs:/(?P<run>[0-9a-f]{32})/(?P<part>.+)|mlflow-artifacts:(?://[^/]*)?/(?P<path>.+))/?"
)


def model_named(tenant_id: str, name: str) -> RegisteredModel:
    return actions.model_of(tenant_id=tenant_id, reference=Reference.parse(f"{tenant_id}:{name}"))


def version_numbered(tenant_id: str, name: str, number: str) -> tuple[RegisteredModel, ModelVersion, int]:
    """Raises NotFound."""
    model = model_named(tenant_id, name)
    for version_id, found in numbers_of(model).items():
        if str(found) == number:
            version = model.versions.filter(pk=version_id).first()
            if version is not None:
                version.model = model
                return model, version, found
    raise NotFound()


def create_model(*, tenant_id: str, name: str) -> RegisteredModel:
    with transaction.atomic():
        if RegisteredModel.objects.for_tenant(tenant_id).filter(name=name).exists():
            raise ModelExists(name=name)
        model = actions.model_row(tenant_id, name)
        audit.record(tenant_id, "created", "model", f"{tenant_id}:{name}", after=model)
        return model


def create_version(
    *, by: Principal, name: str, source: str, run_id: str, tags: Mapping[str, str], description: str
) -> tuple[RegisteredModel, ModelVersion, int]:
    """Register the model file of an uploaded folder, with the metrics and parameters of its run."""
    tenant_id = by.tenant_id
    model = model_named(tenant_id, name)
    path, logged = _folder_of(tenant_id, source)
    run_id = run_id or logged.get("source_run_id", "")
    run = Tracked.objects.for_tenant(tenant_id).filter(kind=Tracked.Kind.RUN, id=run_id).first()
    said = run.body if run is not None else {}
    metrics = {key: value["value"] for key, value in said.get("metrics", {}).items()}
    metadata = _metadata(tags, {**said.get("params", {}), **logged.get("params", {})}, description, run_id)
    with (
        folders.opened(tenant_id, folders.model_file(tenant_id, path)) as file,
        artifacts.received(file.chunks(artifacts.CHUNK_BYTES)) as upload,
    ):
        taken = set(model.versions.values_list("version", flat=True))
        labels = (f"v{number}.0.0" for number in count(len(numbers_of(model)) + 1))
        label = next(label for label in labels if label not in taken)
        version = actions.register_version(
            tenant_id=tenant_id,
            by=by,
            model_name=name,
            version=label,
            metadata=metadata,
            metrics=metrics,
            model_type=metadata.get("model_type", ""),
            upload=upload,
        )
    version.model = model
    return model, version, numbers_of(model)[version.pk]


def move(
    *, by: Principal, name: str, number: str, stage: str, reason: str
) -> tuple[RegisteredModel, ModelVersion, int]:
    """To another stage, by its gates; what it replaces in production is archived, whatever the client says."""
    model, version, found = version_numbered(by.tenant_id, name, number)
    if version.stage != stage:
        actions.promote_version(
            tenant_id=by.tenant_id,
            reference=Reference.parse(str(version)),
            target_stage=stage,
            by=by,
            reason=reason,
        )
        version.refresh_from_db(fields=["stage"])
    return model, version, found


def delete(*, by: Principal, name: str, number: str) -> None:
    _, version, _ = version_numbered(by.tenant_id, name, number)
    actions.delete_version(
        tenant_id=by.tenant_id, reference=Reference.parse(str(version)), by=by, reason="deleted by MLflow"
    )


def in_production(tenant_id: str, name: str) -> tuple[RegisteredModel, ModelVersion, int]:
    model = model_named(tenant_id, name)
    version = model.versions.filter(stage=Stage.PRODUCTION).first()
    if version is None:
        raise NotFound()
    return model, version, numbers_of(model)[version.pk]


@transaction.atomic
def track_run(*, by: Principal, name: str, body: Mapping[str, Any]) -> Tracked:
    row = Tracked(
        tenant_id=by.tenant_id,
        kind=Tracked.Kind.RUN,
        id=uuid.uuid4().hex,
        name=name or "run",
        body=dict(body),
    )
    row.body["user_id"] = by.username
    row.save(force_insert=True)
    row.refresh_from_db()
    audit.record(by.tenant_id, "created", "run", row.id, after=row)
    return row


@transaction.atomic
def track_model(*, by: Principal, name: str, body: Mapping[str, Any]) -> Tracked:
    row = Tracked(
        tenant_id=by.tenant_id,
        kind=Tracked.Kind.MODEL,
        id=f"m-{uuid.uuid4().hex}",
        name=name or "model",
        body=dict(body),
    )
    row.save(force_insert=True)
    row.refresh_from_db()
    audit.record(by.tenant_id, "created", "logged model", row.id, after=row)
    return row


def tracked(tenant_id: str, kind: str, key: str) -> Tracked:
    found = Tracked.objects.for_tenant(tenant_id).filter(kind=kind, id=key).first()
    if found is None:
        raise NotFound()
    return found


def note(
    *,
    tenant_id: str,
    kind: str,
    key: str,
    values: Mapping[str, Any] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    params: Sequence[Mapping[str, Any]] = (),
    tags: Sequence[Mapping[str, Any]] = (),
) -> Tracked:
    """Write what a client tells of a run or a logged model; of a metric the last step is kept.

    What is noted of a run under way is not recorded: the record of its end has the digest of all of it.
    """
    with transaction.atomic():
        row = Tracked.objects.for_tenant(tenant_id).select_for_update().filter(kind=kind, id=key).first()
        if row is None:
            raise NotFound()
        status = row.body.get("status", "")
        is_recorded = bool(values) or status not in UNDERWAY
        was = audit.digest(row) if is_recorded else ""
        _keep_last_steps(row.body.setdefault("metrics", {}), metrics)
        row.body.setdefault("params", {}).update(unpaired(params))
        row.body.setdefault("tags", {}).update(unpaired(tags))
        row.body.update(values or {})
        if max(len(row.body[part]) for part in ("metrics", "params", "tags")) > MOST_NAMED:
            raise MlflowUnsupported(
                reason=f"A run keeps at most {MOST_NAMED} metrics, parameters and tags each"
            )
        row.save(update_fields=["body"])
        if is_recorded and audit.digest(row) != was:
            now = row.body.get("status", "")
            told: dict[str, Any] = {"status": [status, now]} if now != status else {}
            named = "run" if kind == Tracked.Kind.RUN else "logged model"
            audit.record(tenant_id, "changed", named, key, before=was, after=row, **told)
    return row


def _keep_last_steps(kept: dict[str, Any], metrics: Sequence[Mapping[str, Any]]) -> None:
    for metric in metrics:
        before = kept.get(metric["key"])
        if before is None or metric.get("step", 0) >= before["step"]:
            kept[metric["key"]] = {
                "value": metric["value"],
                "timestamp": metric.get("timestamp", 0),
                "step": metric.get("step", 0),
            }


def keep_file(*, tenant_id: str, path: str, chunks: Iterable[bytes]) -> None:
    """Store an uploaded file; recorded once it lies there, since no transaction spans the storage."""
    upload, replaced = folders.keep(tenant_id, path, chunks)
    verb = "replaced" if replaced else "stored"
    told: dict[str, Any] = {"before": replaced, "after": upload.sha256, "size_bytes": upload.size_bytes}
    audit.record(tenant_id, verb, "artifact", path, **told)


def _folder_of(tenant_id: str, source: str) -> tuple[str, dict[str, Any]]:
    """Where the uploaded folder of a source lies, and what is known of it as a logged model."""
    found = SOURCES.fullmatch(source)
    if found is None:
        raise SourceRefused(
            reason="it must be what was uploaded here: models:/m-..., runs:/... or mlflow-artifacts:/..."
        )
    if found["model"]:
        return f"models/{found['model']}", tracked(tenant_id, Tracked.Kind.MODEL, found["model"]).body
    path = f"runs/{found['run']}/artifacts/{found['part']}" if found["run"] else found["path"]
    path = path.rstrip("/")
    parts = path.split("/")
    if parts[0] == "models" and len(parts) == 2:
        return path, tracked(tenant_id, Tracked.Kind.MODEL, parts[1]).body
    return path, {"source_run_id": parts[1] if parts[0] == "runs" and len(parts) > 1 else ""}


def _metadata(
    tags: Mapping[str, str], params: Mapping[str, Any], description: str, run_id: str
) -> dict[str, Any]:
    ours = {key.removeprefix(OURS): _value(value) for key, value in tags.items() if key.startswith(OURS)}
    said = {"framework": "mlflow", "hyperparameters": dict(params), "description": description, **ours}
    if run_id:
        said["mlflow_run_id"] = run_id
    checked: dict[str, Any] = MetadataField().run_validation(said)
    if "framework" not in ours:
        checked.pop("framework")  # the format that is found stands for it
    return checked


def _value(text: str) -> Any:
    """Tags are texts: what reads as JSON is meant so, such as a number or a list."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
