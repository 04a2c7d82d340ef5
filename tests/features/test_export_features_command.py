"""manage.py export_features."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from features import parquet
from features.models import FeatureExport
from omarino.authentication import Principal
from tests.factories import make_export, make_readings
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    place = tmp_path / "exports"
    kept = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(place)}}
    settings.STORAGES = {**settings.STORAGES, "exports": kept}
    return place


def run(*said: str, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    start_and_end = ("--start", "2025-01-01", "--end", "2025-01-03T00:00+01:00")
    call_command(
        "export_features", "--tenant", "alpha", "--feature-set", "forecast_basic", *start_and_end, *said,
        stdout=out, stderr=out,
    )  # fmt: skip
    return out.getvalue()


def test_it_writes_the_file_into_the_storage_and_where_it_was_told(
    alice: Principal, folder: Path, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        make_readings(alice, np.arange(100.0), asset_id=name)

    said = run("--assets", "a,b", "--output", str(tmp_path / "load.parquet"))

    export = FeatureExport.objects.get()
    assert (export.status, export.requested_by) == ("completed", "manage.py export_features")
    assert export.storage_path == f"alpha/{export.pk}/load.parquet"
    rows = pq.read_table(tmp_path / "load.parquet")
    assert rows.num_rows == export.row_count == 2 * 47  # until 23:00 UTC of the second day
    assert (tmp_path / "load.parquet").read_bytes() == (folder / export.storage_path).read_bytes()
    assert "94 rows" in said
    assert str(export.sha256) in said
    assert str(folder / export.storage_path) in said


def test_it_waits_until_another_export_of_the_tenant_is_over(alice: Principal) -> None:
    make_readings(alice, np.arange(10.0))
    other = FeatureExport.objects.claim(make_export(alice).pk)
    assert other is not None
    out = io.StringIO()

    def export() -> None:
        run(out=out)
        connection.close()

    thread = threading.Thread(target=export)
    thread.start()
    wait_until(lambda: "waiting for its end" in out.getvalue())
    other.fail("Broken.")
    thread.join()

    assert "10 rows" in out.getvalue()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["--feature-set", "no_such_set"], "There is no feature set"),
        (["--assets", "no-such-meter"], "does not have these assets"),
        (["--end", "2024-01-01"], "start_time must be before end_time"),
        (["--start", "soon"], "no ISO 8601 time"),
        (["--tenant", "../x"], "is no tenant"),
        (["--output", "/no/such/folder/x.parquet"], "is no file in a folder"),
        (["--start", "2026-01-01", "--end", "2026-02-01"], "no data"),
    ],
    ids=str,
)
def test_it_refuses_with_a_sentence(alice: Principal, said: list[str], reason: str, folder: Path) -> None:
    make_readings(alice, np.arange(10.0))

    with pytest.raises(CommandError, match=reason):
        run(*said)

    assert not any(path.is_file() for path in folder.rglob("*"))


def test_interrupted_it_cancels_the_export_and_keeps_nothing(
    alice: Principal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_readings(alice, np.arange(10.0))

    def press_ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(parquet.ExportWriter, "close", press_ctrl_c)
    with pytest.raises(CommandError, match="nothing of it is kept"):
        run()

    assert FeatureExport.objects.get().status == "cancelled"
    assert not any(path.is_file() for path in folder.rglob("*"))
