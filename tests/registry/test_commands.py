"""manage.py register_model, promote_model, list_models, check_artifacts."""

from __future__ import annotations

import os
import time
from io import StringIO
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from django.core.management import CommandError, call_command

from omarino.audit_models import AuditRecord
from omarino.authentication import Principal
from registry import serving
from registry.models import ModelVersion, Stage, Transition
from tests.factories import make_version
from tests.registry import models_made
from tests.registry.hostile import PICKLES

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def register(path: Path, *arguments: str) -> str:
    return run(
        "register_model", str(path), "--tenant", "alpha", "--name", "load", "--version", "v1.0.0", *arguments
    )


def test_a_file_is_registered(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(models_made.lightgbm_text())

    said = register(tmp_path / "m", "--type", "forecast", "--metric", "mae=1.5", "--features", "a,b,c,d")

    assert "alpha:load:v1.0.0 (staging)" in said
    version = ModelVersion.objects.get()
    assert (version.format, version.metrics, version.model_type) == ("lightgbm", {"mae": 1.5}, "forecast")
    assert (version.framework, version.metadata) == ("lightgbm", {"feature_names": ["a", "b", "c", "d"]})
    assert Transition.objects.get().by.startswith("command:")


def test_a_pickle_is_refused_unless_its_maker_trusts_it(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(models_made.ridge(), path)

    with pytest.raises(CommandError, match=r"skops\.io\.dump"):
        register(path)
    register(path, "--trust-pickle")

    version = ModelVersion.objects.get()
    rows = np.array([[0.5, -1.0, 2.0, 0.0]])
    assert version.format == "skops"
    assert serving.predict(version, rows).prediction.values == models_made.ridge().predict(rows)


def test_a_hostile_pickle_is_not_executed_without_trust(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(PICKLES["joblib"](tmp_path / "proof"))

    with pytest.raises(CommandError, match="pickle"):
        register(tmp_path / "m")

    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metric", "mae"], "NAME=NUMBER"),
        (["--name", "a/b"], "model_name"),
        (["--tenant", "../x"], "no tenant"),
        (["--version", "newest"], "version"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "m").write_bytes(models_made.lightgbm_text())

    with pytest.raises(CommandError, match=said):
        register(tmp_path / "m", *arguments)


def test_a_version_is_promoted_and_listed(alice: Principal) -> None:
    make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION, metrics={"mae": 2.0})
    make_version(alice, version="v1.1.0", artifact=models_made.lightgbm_text(), metrics={"mae": 1.0})

    said = run("promote_model", "alpha:site-load:v1.1.0", "--reason", "better")

    assert "staging -> production, in the place of v1.0.0" in said
    listed = run("list_models", "--tenant", "alpha", "--stage", "production")
    assert listed.split()[:5] == ["site-load", "v1.1.0", "production", "lightgbm", "mae=1"]
    with pytest.raises(CommandError, match="cannot go to"):
        run("promote_model", "alpha:site-load:v1.1.0", "--to", "staging")
    assert "None." in run("list_models", "--tenant", "gamma")


def test_the_sweep_finds_what_does_not_fit_and_deletes_only_orphans(alice: Principal, folder: Path) -> None:
    whole, gone, changed = (
        make_version(alice, version=f"v1.{index}.0", artifact=models_made.lightgbm_text())
        for index in range(3)
    )
    assert "Every row has its files" in run("check_artifacts")
    (folder / gone.storage_path).unlink()
    (folder / changed.storage_path).write_bytes(b"tree\n")
    orphan, underway = (
        folder / "alpha/site-load/v9.0.0/model.txt",
        folder / "alpha/site-load/v9.1.0/model.txt",
    )
    for path in (orphan, underway):
        path.parent.mkdir(parents=True)
        path.touch()
    an_hour_ago = time.time() - 3600
    os.utime(orphan, (an_hour_ago, an_hour_ago))

    with pytest.raises(CommandError, match="1 missing, 1 changed, 0 without a row"):
        run("check_artifacts", "--delete-orphans")

    assert (orphan.parent.exists(), underway.exists()) == (False, True)
    (record,) = AuditRecord.objects.for_tenant("alpha").filter(verb="deleted")
    assert (record.kind, record.object_id) == ("file without a row", "alpha/site-load/v9.0.0/model.txt")
    assert (folder / whole.storage_path).exists()


def test_the_sweep_works_on_s3(alice: Principal, bucket: Any) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text())
    assert "Every row has its files" in run("check_artifacts")
    bucket.Object(f"models/{version.storage_path}").delete()

    with pytest.raises(CommandError, match="1 missing"):
        run("check_artifacts")
