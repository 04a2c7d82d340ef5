"""Exports whose worker is killed, that are cancelled, delivered twice, or whose storage is away: folder and S3."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from features import export_files
from features.export_actions import sweep_exports, write_export
from features.models import FeatureExport
from omarino.authentication import Principal
from omarino.celery import app
from tests.conftest import ClientOf
from tests.factories import make_asset, make_export
from tests.registry.conftest import KEY, SECRET, s3_server
from tests.workers import Worker, running_worker, servers, wait_until

__all__ = ["s3_server"]
pytestmark = pytest.mark.django_db(transaction=True)
YEAR = {"start_time": "2024-01-01T00:00:00Z", "end_time": "2025-01-01T00:00:00Z"}
ASSETS = 8
ROWS = ASSETS * 35_136
WITHOUT_NETWORK = "http://127.0.0.1:9"


@pytest.fixture
def year(alice: Principal) -> None:
    """A year of quarter-hours of some meters: several parts, more than a second of work."""
    for number in range(ASSETS):
        make_asset(alice, asset_id=f"meter-{number}", interval_minutes=15)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO timeseries_data (tenant_id, asset_id, metric, timestamp, value) "
            "SELECT 'alpha', 'meter-' || a, 'value', t, random() FROM generate_series(0, %s) a, "
            "generate_series('2024-01-01Z'::timestamptz, '2024-12-31T23:45Z', '15 min') t",
            [ASSETS - 1],
        )


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """An empty storage of exports for the test and for its workers."""
    place = tmp_path / "exports"
    settings.EXPORT_STORAGE_PATH = place
    kept = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(place)}}
    settings.STORAGES = {**settings.STORAGES, "exports": kept}
    return place


@pytest.fixture
def bucket(s3_server: str, settings: Any) -> tuple[Any, dict[str, str]]:
    """The service with its exports on S3, in a bucket that is not there yet; and the same for a worker."""
    name = f"exports-{time.monotonic_ns()}"
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        connect_timeout=3,
        read_timeout=10,
        retries={"total_max_attempts": 2},
    )
    options = {
        "endpoint_url": s3_server,
        "access_key": KEY,
        "secret_key": SECRET,
        "region_name": "us-east-1",
        "bucket_name": name,
        "location": "exports",
        "file_overwrite": True,
        "client_config": config,
    }
    kept = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "exports": kept}
    session = boto3.session.Session(KEY, SECRET, region_name="us-east-1")
    environment = {
        "MINIO_ENDPOINT_URL": s3_server,
        "MINIO_ACCESS_KEY": KEY,
        "MINIO_SECRET_KEY": SECRET,
        "MODEL_STORAGE_BUCKET": name,
    }
    return session.resource("s3", endpoint_url=s3_server, config=config).Bucket(name), environment


def ask(client_of: ClientOf, who: Principal, **said: Any) -> FeatureExport:
    body = {"tenant_id": who.tenant_id, "feature_set": "forecast_advanced", **YEAR, **said}
    answer = client_of(who).post("/ai/features/export", body)
    assert answer.status_code == 202, answer.content
    return FeatureExport.objects.get(pk=answer.json()["export_id"])


def fresh(row: FeatureExport) -> FeatureExport:
    return FeatureExport.objects.get(pk=row.pk)


def state_of(row: FeatureExport) -> tuple[str, int]:
    """Both from one reading of the row: between two of them a worker may claim it."""
    now = fresh(row)
    return now.status, now.attempts


def take_up_again(row: FeatureExport) -> None:
    """As if the lease had run out, or the wait of one given back, and the sweep come by."""
    FeatureExport.objects.filter(pk=row.pk, status="processing").update(
        lease_until=Now() - timedelta(seconds=1)
    )
    FeatureExport.objects.filter(pk=row.pk).update(enqueued_at=Now() - timedelta(minutes=2))
    assert FeatureExport.objects.sweep() == 1


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@contextmanager
def holding(sql: str, *parameters: Any) -> Iterator[None]:
    """Another session that holds a lock, so that a worker stands still at a moment of our choice."""
    with psycopg.connect(servers()["DATABASE_URL"]) as session:
        session.execute(sql, parameters)
        try:
            yield
        finally:
            session.rollback()


def waits_for_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


LOCK_ROW = "SELECT 1 FROM feature_exports WHERE id = %s FOR UPDATE"


def before_it_read(worker: Worker, ask_for: Callable[[], FeatureExport], folder: Path) -> FeatureExport:
    with holding("LOCK TABLE timeseries_data IN ACCESS EXCLUSIVE MODE"):
        row = ask_for()
        wait_until(waits_for_lock, log=worker.log)
        worker.kill()
    assert fresh(row).status == "processing"
    return row


def in_the_middle_of_the_file(
    worker: Worker, ask_for: Callable[[], FeatureExport], folder: Path
) -> FeatureExport:
    row = ask_for()
    wait_until(lambda: any(path.stat().st_size > 4 for path in folder.glob(".aside/*")), log=worker.log)
    worker.kill()
    assert fresh(row).status == "processing"
    return row


def before_it_is_seen(worker: Worker, ask_for: Callable[[], FeatureExport], folder: Path) -> FeatureExport:
    """It wants its row: to say how far it is, or to lock it before the file is put in its place."""
    row = ask_for()
    wait_until(lambda: fresh(row).status == "processing", log=worker.log)
    with holding(LOCK_ROW, row.pk):
        wait_until(waits_for_lock, log=worker.log)
        worker.kill()
    return row


def after_it_is_seen(worker: Worker, ask_for: Callable[[], FeatureExport], folder: Path) -> FeatureExport:
    """Its file is in its place, but what is true of it is not committed: it holds on to the next one's row."""
    row = ask_for()
    following = make_export(Principal("alice", "alpha", frozenset(), "alice"))
    with holding(LOCK_ROW, following.pk):
        wait_until(lambda: any(folder.glob("alpha/*/*.parquet")), log=worker.log)
        wait_until(waits_for_lock, log=worker.log)
        worker.kill()
    FeatureExport.objects.cancel(following.pk)
    assert fresh(row).status == "processing"
    return row


@pytest.mark.parametrize(
    "moment", [before_it_read, in_the_middle_of_the_file, before_it_is_seen, after_it_is_seen]
)
def test_a_worker_killed_at_any_moment_leaves_no_half_file_and_no_row_in_hand(
    moment: Callable[..., FeatureExport],
    year: None,
    folder: Path,
    alice: Principal,
    client_of: ClientOf,
    tmp_path: Path,
) -> None:
    with running_worker(tmp_path) as worker:
        row = moment(worker, lambda: ask(client_of, alice), folder)

    assert client_of(alice).get(f"/ai/features/exports/{row.pk}/download").status_code == 409
    with running_worker(tmp_path) as worker:
        take_up_again(row)
        wait_until(lambda: fresh(row).is_over, log=worker.log)

    done = fresh(row)
    assert (done.status, done.attempts, done.row_count) == ("completed", 2, ROWS)
    place = folder / done.storage_path
    assert hashlib.sha256(place.read_bytes()).hexdigest() == done.sha256
    sweep_exports()
    assert files(folder) == [done.storage_path]


def test_a_message_delivered_three_times_writes_once(
    year: None, folder: Path, alice: Principal, client_of: ClientOf, tmp_path: Path
) -> None:
    with running_worker(tmp_path) as worker:
        row = ask(client_of, alice)
        for _ in range(2):
            app.send_task("features.write_export", args=[str(row.pk)])
        wait_until(lambda: fresh(row).is_over, log=worker.log)
        written = (folder / row.storage_path).stat().st_mtime_ns
        app.send_task("features.write_export", args=[str(row.pk)])
        other = ask(client_of, alice, asset_ids=["meter-0"])  # behind them in the queue
        wait_until(lambda: fresh(other).is_over, log=worker.log)

    done = fresh(row)
    assert (done.status, done.attempts, done.row_count) == ("completed", 1, ROWS)
    assert (folder / row.storage_path).stat().st_mtime_ns == written


def test_cancelled_while_it_runs_it_stops_and_can_be_tried_again(
    year: None, folder: Path, alice: Principal, client_of: ClientOf, tmp_path: Path
) -> None:
    client = client_of(alice)
    with running_worker(tmp_path) as worker:
        with holding("LOCK TABLE timeseries_data IN ACCESS EXCLUSIVE MODE"):
            row = ask(client_of, alice)
            wait_until(waits_for_lock, log=worker.log)
            cancelled = client.post(f"/ai/features/exports/{row.pk}/cancel").json()
        wait_until(lambda: b"export_given_up" in worker.log.read_bytes(), log=worker.log)
        assert (cancelled["status"], fresh(row).status) == ("cancelled", "cancelled")
        assert files(folder) == []

        client.post(f"/ai/features/exports/{row.pk}/retry")
        wait_until(lambda: fresh(row).is_over, log=worker.log)

    assert (fresh(row).status, fresh(row).row_count) == ("completed", ROWS)


@pytest.mark.parametrize("kind", ["folder", "S3"])
def test_with_the_storage_away_it_is_given_back_tried_again_and_fails_with_a_sentence(
    kind: str, year: None, folder: Path, alice: Principal, client_of: ClientOf, tmp_path: Path
) -> None:
    folder.write_text("where the folder should be")
    away = {"MINIO_ENDPOINT_URL": WITHOUT_NETWORK, "MINIO_ACCESS_KEY": "k", "MINIO_SECRET_KEY": "s"}
    with running_worker(tmp_path, away if kind == "S3" else {}) as worker:
        row = ask(client_of, alice)
        for attempt in (1, 2, 3):
            expected = ("failed" if attempt == 3 else "pending", attempt)
            wait_until(lambda: state_of(row) == expected, log=worker.log)  # noqa: B023
            assert "storage of exports does not answer" in fresh(row).error
            if attempt < 3:
                take_up_again(row)
        if kind == "S3":
            return
        folder.unlink()  # it is back
        client_of(alice).post(f"/ai/features/exports/{row.pk}/retry")
        wait_until(lambda: fresh(row).is_over, log=worker.log)

    assert (fresh(row).status, fresh(row).error, fresh(row).row_count) == ("completed", "", ROWS)


def test_on_s3_it_is_written_in_parts_and_fetched_through_the_service(
    year: None, bucket: tuple[Any, dict[str, str]], alice: Principal, client_of: ClientOf, tmp_path: Path
) -> None:
    stored, environment = bucket
    with running_worker(tmp_path, environment) as worker:
        row = ask(client_of, alice)
        wait_until(lambda: fresh(row).is_over, log=worker.log)
    done = fresh(row)
    assert done.status == "completed", done.error
    assert (done.file_size_bytes or 0) > export_files.PART_BYTES / 2

    answer: Any = client_of(alice).get(f"/ai/features/exports/{row.pk}/download")
    content = b"".join(answer.streaming_content)

    assert (len(content), hashlib.sha256(content).hexdigest()) == (done.file_size_bytes, done.sha256)
    assert [item.key for item in stored.objects.all()] == [f"exports/{done.storage_path}"]
    stored.objects.all().delete()
    gone = client_of(alice).get(f"/ai/features/exports/{row.pk}/download")
    assert (gone.status_code, gone.json()["code"]) == (410, "export_file_gone")


def test_on_s3_a_killed_worker_leaves_nothing_to_be_seen_and_its_parts_are_swept(
    year: None,
    bucket: tuple[Any, dict[str, str]],
    alice: Principal,
    client_of: ClientOf,
    tmp_path: Path,
) -> None:
    stored, environment = bucket
    stored.create()
    client = stored.meta.client

    def uploads() -> list[Any]:
        found: list[Any] = client.list_multipart_uploads(Bucket=stored.name).get("Uploads", [])
        return found

    with (
        running_worker(tmp_path, environment) as worker,
        holding("LOCK TABLE timeseries_data IN ACCESS EXCLUSIVE MODE"),
    ):
        row = ask(client_of, alice)
        wait_until(waits_for_lock, log=worker.log)
        assert len(uploads()) == 1
        worker.kill()
    assert list(stored.objects.all()) == []
    sweep_exports()
    assert len(uploads()) == 1  # as far as the row says, somebody is at it

    with running_worker(tmp_path, environment) as worker:
        take_up_again(row)
        wait_until(lambda: fresh(row).is_over, log=worker.log)
    assert fresh(row).status == "completed", fresh(row).error
    sweep_exports()

    assert uploads() == []
    assert [item.key for item in stored.objects.all()] == [f"exports/{row.storage_path}"]


def test_old_exports_are_swept_with_their_files(folder: Path, alice: Principal, settings: Any) -> None:
    def completed(days: int, **said: Any) -> FeatureExport:
        row = make_export(alice, **said)
        storages["exports"].save(row.storage_path, ContentFile(b"rows"))
        FeatureExport.objects.filter(pk=row.pk).update(
            status="completed", row_count=1, file_size_bytes=4, sha256="0" * 64,
            completed_at=timezone.now() - timedelta(days=days),
        )  # fmt: skip
        return row

    settings.EXPORT_KEEP_DAYS = 30
    old, young, waiting = completed(31, file_name="2024/a.parquet"), completed(29), make_export(alice)
    (folder / export_files.ASIDE).mkdir()
    (folder / export_files.ASIDE / f"{old.pk}.{old.pk}").write_bytes(b"half")

    assert sweep_exports() == 1

    assert files(folder) == [young.storage_path]
    assert not (folder / "alpha" / str(old.pk)).exists()
    assert set(FeatureExport.objects.all()) == {young, waiting}
    settings.EXPORT_KEEP_DAYS = 0
    assert sweep_exports(now=timezone.now() + timedelta(days=9999)) == 0


def test_what_goes_wrong_on_our_side_is_on_the_row(folder: Path, alice: Principal) -> None:
    make_asset(alice)
    row = make_export(alice, feature_names=["no_such_feature"])  # of a version that knew it

    with pytest.raises(Exception, match="do not exist"):
        write_export(export_id=row.pk)

    assert fresh(row).status == "failed"
    assert "our side" in fresh(row).error
    assert files(folder) == []
