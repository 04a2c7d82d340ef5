"""Our rows in MLflow's words. Its versions are numbers: ours are counted in the order they were registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from registry.models import ModelVersion, RegisteredModel, Stage, Tracked, Transition

EXPERIMENT_ID = "0"
STAGES = {Stage.STAGING: "Staging", Stage.PRODUCTION: "Production", Stage.ARCHIVED: "Archived"}


def numbers_of(model: RegisteredModel) -> dict[UUID, int]:
    """The number of each version that ever was, from 1; the history is never deleted, so no number comes twice."""
    ids = (
        Transition.objects.filter(model=model, from_stage="")
        .order_by("id")
        .values_list("version_id", flat=True)
    )
    return {version_id: number for number, version_id in enumerate(ids, 1)}


def of_model(model: RegisteredModel) -> dict[str, Any]:
    numbers = numbers_of(model)
    versions = list(model.versions.all())
    newest: dict[str, ModelVersion] = {}
    for version in versions:
        newest.setdefault(version.stage, version)
    updated = max([model.created_at, *(version.uploaded_at for version in versions)])
    serving = newest.get(Stage.PRODUCTION)
    aliases = [{"alias": "production", "version": str(numbers[serving.pk])}] if serving else []
    return {
        "name": model.name,
        "creation_timestamp": milliseconds(model.created_at),
        "last_updated_timestamp": milliseconds(updated),
        "latest_versions": [of_version(version, numbers[version.pk], model) for version in newest.values()],
        "aliases": aliases,
    }


def of_version(version: ModelVersion, number: int, model: RegisteredModel) -> dict[str, Any]:
    in_production = version.stage == Stage.PRODUCTION
    facts = {
        "omarino.model_id": f"{version.tenant_id}:{model.name}:{version.version}",
        "omarino.format": version.format,
        "omarino.sha256": version.sha256,
    }
    return {
        "name": model.name,
        "version": str(number),
        "creation_timestamp": milliseconds(version.uploaded_at),
        "last_updated_timestamp": milliseconds(version.uploaded_at),
        "current_stage": STAGES[Stage(version.stage)],
        "description": str(version.metadata.get("description") or ""),
        "user_id": version.uploaded_by,
        "source": download_uri(model.name, number),
        "run_id": str(version.metadata.get("mlflow_run_id") or ""),
        "status": "READY",
        "tags": pairs(facts),
        "aliases": ["production"] if in_production else [],
    }


def download_uri(name: str, number: int) -> str:
    return f"mlflow-artifacts:/registered/{name}/{number}"


def of_run(run: Tracked) -> dict[str, Any]:
    said = run.body
    info = {
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.name,
        "experiment_id": EXPERIMENT_ID,
        "user_id": said.get("user_id", ""),
        "status": said.get("status", "RUNNING"),
        "start_time": said.get("start_time", 0),
        "artifact_uri": f"mlflow-artifacts:/runs/{run.id}/artifacts",
        "lifecycle_stage": "active",
    }
    if said.get("end_time"):
        info["end_time"] = said["end_time"]
    metrics = [{"key": key, **value} for key, value in said.get("metrics", {}).items()]
    return {
        "info": info,
        "data": {
            "metrics": metrics,
            "params": pairs(said.get("params", {})),
            "tags": pairs(said.get("tags", {})),
        },
        "inputs": {},
        "outputs": {},
    }


def of_logged_model(logged: Tracked) -> dict[str, Any]:
    said = logged.body
    at = milliseconds(logged.made_at)
    return {
        "info": {
            "model_id": logged.id,
            "experiment_id": EXPERIMENT_ID,
            "name": logged.name,
            "creation_timestamp_ms": at,
            "last_updated_timestamp_ms": at,
            "artifact_uri": f"mlflow-artifacts:/models/{logged.id}",
            "status": said.get("status", "LOGGED_MODEL_PENDING"),
            "model_type": said.get("model_type", ""),
            "source_run_id": said.get("source_run_id", ""),
            "tags": pairs(said.get("tags", {})),
        },
        "data": {"params": pairs(said.get("params", {})), "metrics": []},
    }


def experiment() -> dict[str, Any]:
    """The one experiment there is: this service keeps models, and what runs say of them."""
    return {
        "experiment_id": EXPERIMENT_ID,
        "name": "Default",
        "artifact_location": "mlflow-artifacts:/runs",
        "lifecycle_stage": "active",
    }


def pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def unpaired(said: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: pair["value"] for pair in said}


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
