"""What MLflow clients began to upload and never finished goes after a while, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from omarino.authentication import Principal
from omarino.metrics import MLFLOW_UPLOADS_EXPIRED
from registry.mlflow import actions, folders
from registry.mlflow.expiry import expire
from registry.models import Tracked
from tests.factories import make_version
from tests.registry.test_mlflow_client import files as files

pytestmark = pytest.mark.django_db
RUN, MODEL = Tracked.Kind.RUN, Tracked.Kind.MODEL


def upload(owner: Principal, **body: Any) -> Tracked:
    row = actions.track_run(by=owner, name="run", body=body)
    folders.keep(owner.tenant_id, f"runs/{row.pk}/artifacts/model/model.txt", [b"tree"])
    return row


def later(days: int = 31) -> Any:
    return timezone.now() + timedelta(days=days)


def test_unfinished_uploads_go_with_their_files_and_are_counted(
    alice: Principal, charlie: Principal, files: Path
) -> None:
    upload(alice, status="RUNNING")
    upload(charlie)
    logged = actions.track_model(by=alice, name="model", body={"status": "LOGGED_MODEL_PENDING"})
    folders.keep("alpha", f"models/{logged.pk}/data/model.lgb", [b"tree"])
    before = MLFLOW_UPLOADS_EXPIRED.labels("run")._value.get()

    assert expire(now=later()) == 3

    assert not Tracked.objects.exists()
    assert not [path for path in files.rglob("*") if path.is_file()]
    assert MLFLOW_UPLOADS_EXPIRED.labels("run")._value.get() - before == 2


def test_what_is_finished_young_or_registered_stays(alice: Principal, files: Path) -> None:
    upload(alice, status="FINISHED")
    actions.track_model(by=alice, name="model", body={"status": "LOGGED_MODEL_READY"})
    named = upload(alice, status="RUNNING")
    make_version(alice, metadata={"mlflow_run_id": named.pk})

    assert expire(now=later()) == 0

    upload(alice, status="RUNNING")
    assert expire(now=later(29)) == 0
    assert Tracked.objects.count() == 4


def test_none_goes_where_a_deployment_keeps_them(alice: Principal, files: Path, settings: Any) -> None:
    settings.MLFLOW_UPLOAD_KEEP_DAYS = 0
    upload(alice, status="RUNNING")

    assert expire(now=later(36_000)) == 0
