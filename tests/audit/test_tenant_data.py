"""A tenant's data handed out whole, and deleted whole; nobody else's is touched."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
import zipfile
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from celery import current_app
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from anomalies.watch_actions import set_up_watch
from features.models import Asset, FeatureExport, Reading
from omarino import audit, tenant_data
from omarino.audit_chain import verify
from omarino.audit_models import AuditLink, AuditRecord
from omarino.authentication import Principal
from omarino.models import User
from omarino.permissions import ROLES
from omarino.tenant_erasure import search
from registry.models import Approval, ModelVersion, Stage, Transition
from tests.audit.conftest import Tamper
from tests.conftest import token_of
from tests.factories import (
    make_asset,
    make_detection_row,
    make_forecast_row,
    make_readings,
    make_version,
    make_weather,
)
from tests.registry.models_made import lightgbm_text

pytestmark = pytest.mark.django_db(transaction=True)


def somebody(name: str) -> Principal:
    """Of a tenant of this test alone, since nothing empties the audit."""
    return Principal(name, f"{name}-{uuid.uuid4().hex[:10]}", ROLES, name)


def fill(owner: Principal) -> None:
    """Some of everything, and a thing with a name that wants care in files and in SQL."""
    make_readings(owner, [1.5, 2.5, -3.0], quality=["good", None, 'said "no"\\'])
    make_weather(owner, {"temperature": [1.0, float("nan")]})
    make_asset(owner, asset_id="roof", name="Dach über\tZeile\n'--")
    make_forecast_row(owner)
    make_detection_row(owner)
    set_up_watch(tenant_id=owner.tenant_id, asset_id="roof", created_by=owner.subject, sensitivity=3.0)
    version = make_version(owner, artifact=lightgbm_text(), stage=Stage.PRODUCTION)
    Approval.objects.create(version=version, by=owner.subject, by_name=owner.username)
    person = User.objects.create_user(
        f"{owner.tenant_id}.p", password="a long password", tenant_id=owner.tenant_id
    )
    person.groups.add(Group.objects.get_or_create(name="ai_user")[0])
    client = Client()
    client.force_login(person)
    storages["exports"].save(f"{owner.tenant_id}/x/export.parquet", ContentFile(b"PAR1"))
    storages["default"].save(f"mlflow/{owner.tenant_id}/runs/1/plot.png", ContentFile(b"PNG"))
    ask_for_features(owner)  # keeps them in the cache
    export = FeatureExport(
        tenant_id=owner.tenant_id,
        requested_by=owner.subject,
        feature_set="forecast_basic",
        feature_set_version=1,
        feature_names=["lag_1h"],
        start_time=datetime(2025, 1, 1, tzinfo=UTC),
        end_time=datetime(2025, 1, 2, tzinfo=UTC),
        file_name="e.parquet",
        request_digest="0" * 64,
    )
    export.save(force_insert=True)
    export.enqueue()
    audit.record(owner.tenant_id, "stored", "readings", "main-meter", accepted=3)


def ask_for_features(owner: Principal) -> bool:
    """Through the API, whose caches and budgets name the tenant; whether the answer was cached."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token_of(owner)}")
    asked = {"tenant_id": owner.tenant_id, "asset_id": "main-meter", "feature_set": "forecast_basic"}
    answer = client.post("/ai/features/get", {**asked, "timestamp": "2025-01-02T00:00:00Z"}, format="json")
    return bool(answer.json()["cache_hit"])


@pytest.fixture
def vera() -> Principal:
    owner = somebody("vera")
    fill(owner)
    return owner


@pytest.fixture
def otto() -> Principal:
    """Another tenant, whose model and asset are called as vera's tenant might be."""
    owner = somebody("otto")
    fill(owner)
    return owner


def run(*words: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*words, stdout=out, **options)
    return out.getvalue()


# Handing out


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_an_export_holds_every_row_and_file_with_its_digest(
    vera: Principal, otto: Principal, files: Path, name: str
) -> None:
    output = files / name
    run("export_tenant", vera.tenant_id, output=output)

    if output.suffix == ".zip":
        with zipfile.ZipFile(output) as archive:
            assert archive.testzip() is None
            content = {entry: archive.read(entry) for entry in archive.namelist()}
    else:
        found = (path for path in output.rglob("*") if path.is_file())
        content = {str(path.relative_to(output)): path.read_bytes() for path in found}
    assert output.stat().st_mode & 0o077 == 0
    manifest = json.loads(content.pop("manifest.json"))
    assert {entry["file"]: entry["sha256"] for entry in manifest["files"]} == {
        entry: hashlib.sha256(data).hexdigest() for entry, data in content.items()
    }
    assert otto.tenant_id not in "".join(data.decode("latin-1") for data in content.values())
    rows = {
        entry["table"]: [json.loads(line) for line in content[entry["file"]].splitlines()]
        for entry in manifest["files"]
        if "table" in entry
    }
    assert {entry["table"]: entry["rows"] for entry in manifest["files"] if "table" in entry} == {
        table: len(lines) for table, lines in rows.items()
    }
    assert [row["value"] for row in rows["timeseries_data"]] == [1.5, 2.5, -3.0]
    assert {row["name"] for row in rows["features_asset"]} == {"", "Dach über\tZeile\n'--"}
    assert len(rows["registry_approval"]) == len(rows["omarino_user_groups"]) == 1
    assert "password" not in rows["omarino_user"][0]
    assert "webhook_secret" not in rows["anomalies_watch"][0]
    assert {"omarino_user.password", "anomalies_watch.webhook_secret"} <= set(manifest["left_out"]["columns"])
    assert content[f"files/exports/{vera.tenant_id}/x/export.parquet"] == b"PAR1"
    assert content[f"files/default/mlflow/{vera.tenant_id}/runs/1/plot.png"] == b"PNG"
    version = ModelVersion.objects.get(tenant_id=vera.tenant_id)
    assert hashlib.sha256(content[f"files/models/{version.storage_path}"]).hexdigest() == version.sha256
    assert AuditRecord.objects.for_tenant(vera.tenant_id).filter(verb="exported").exists()


def test_an_export_overwrites_nothing_and_knows_a_typing_error(vera: Principal, files: Path) -> None:
    (files / "there").mkdir()
    with pytest.raises(CommandError, match="is there already"):
        run("export_tenant", vera.tenant_id, output=files / "there")
    with pytest.raises(CommandError, match="Nothing is kept of a tenant 'verra'"):
        run("export_tenant", "verra", output=files / "new.zip")
    assert (
        sorted(path.name for path in files.iterdir() if "new" in path.name or path.name.endswith("part"))
        == []
    )


# Deleting


def test_an_erased_tenant_is_found_nowhere_and_the_other_is_whole(
    vera: Principal, otto: Principal, files: Path
) -> None:
    run("export_tenant", otto.tenant_id, output=files / "before")

    said = run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    assert "Found afterwards: nothing." in said
    assert re.search(r"[1-3]  cached values\n", said)  # features, and budgets that are not whole again
    assert search(vera.tenant_id)[0] == {}
    for model in (Asset, Reading, ModelVersion, Transition, FeatureExport):
        assert not model._default_manager.filter(tenant_id=vera.tenant_id).exists()
    assert not list(files.rglob(f"*{vera.tenant_id}*"))
    assert not User.objects.filter(tenant_id=vera.tenant_id).exists()
    assert vera.tenant_id not in " ".join(str(session.get_decoded()) for session in Session.objects.all())
    assert len(Session.objects.all()) == 1
    run("export_tenant", otto.tenant_id, output=files / "after")
    before, after = (
        {
            entry["file"]: entry["sha256"]
            for entry in json.loads((files / name / "manifest.json").read_text())["files"]
            if "audit" not in entry["file"]  # that of the first export is a record itself
        }
        for name in ("before", "after")
    )
    assert before == after
    assert ask_for_features(otto)
    assert not any(vera.tenant_id.encode() in key for key in tenant_data.cache_client().keys("*"))


def test_no_table_that_names_a_tenant_is_forgotten(vera: Principal) -> None:
    """Every table that has rows of the tenant anywhere in their text, whatever it is called."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        names = [name for (name,) in cursor.fetchall()]

        def naming() -> dict[str, int]:
            found = {}
            for name in names:
                query = f"SELECT count(*) FROM {name} AS told WHERE strpos(told::text, %s) > 0"  # noqa: S608
                cursor.execute(query, [vera.tenant_id])
                found[name] = cursor.fetchone()[0]
            return {name: count for name, count in found.items() if count}

        assert {"public.timeseries_data", "public.registry_transition", "public.audit_records"} <= set(
            naming()
        )
        run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)
        assert set(naming()) == {"public.audit_links", "public.audit_records"}
        assert naming()["public.audit_records"] == 1


def test_what_refers_to_a_tenants_row_is_covered_as_well(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE leaf (id int, version_id uuid REFERENCES registry_modelversion)")
        cursor.execute("CREATE TABLE made_tomorrow (tenant_id text, note text)")
        try:
            names = [table.plain_name for table in tenant_data.tables()]
        finally:
            cursor.execute("DROP TABLE leaf, made_tomorrow")

    assert {"made_tomorrow", "leaf", "registry_approval", "omarino_user_groups", "django_admin_log"} <= set(
        names
    )
    assert (
        names.index("leaf") < names.index("registry_modelversion") < names.index("registry_registeredmodel")
    )


def test_every_storage_is_known_by_where_a_tenants_files_lie(settings: Any) -> None:
    assert set(settings.STORAGES) - {"staticfiles"} == set(tenant_data.FOLDERS)


def test_the_chain_of_an_erased_tenant_still_holds(vera: Principal, tamper: Tamper) -> None:
    run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    (found,) = verify(vera.tenant_id)
    assert (found.fault, found.links > found.erased > 0) == ("", True)
    (record,) = AuditRecord.objects.for_tenant(vera.tenant_id)
    assert (record.verb, record.subject.partition(":")[0]) == ("erased", "command")
    audit.record(vera.tenant_id, "stored", "readings", "again")
    tamper("DELETE FROM audit_records WHERE verb = 'stored' AND tenant_id = %s", vera.tenant_id)
    (found,) = verify(vera.tenant_id)
    assert "is gone without an erasure" in found.fault
    tamper("DELETE FROM audit_records WHERE verb = 'erased' AND tenant_id = %s", vera.tenant_id)
    (found,) = verify(vera.tenant_id)
    assert "the record of link 1 " in found.fault


def test_the_triggers_stand_again_afterwards(vera: Principal, otto: Principal) -> None:
    run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    with pytest.raises(Exception, match="append-only"):
        Transition.objects.filter(tenant_id=otto.tenant_id).delete()


def test_an_unconfirmed_or_misspelt_erasure_deletes_nothing(vera: Principal) -> None:
    for confirm in (None, "vera", vera.tenant_id.upper()):
        with pytest.raises(CommandError, match="Nothing was deleted"):
            run("erase_tenant", vera.tenant_id, confirm=confirm)
    with pytest.raises(CommandError, match="Nothing is kept"):
        run("erase_tenant", "nobody-here", confirm="nobody-here")
    with pytest.raises(CommandError, match="is no tenant"):
        run("erase_tenant", "*", confirm="*")

    assert Reading.objects.filter(tenant_id=vera.tenant_id).count() == 3


def test_with_the_storage_away_nothing_is_deleted(vera: Principal, settings: Any) -> None:
    options = {"bucket_name": "b", "endpoint_url": "http://127.0.0.1:9", "access_key": "k", "secret_key": "s"}
    away = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "models": away}

    with pytest.raises(CommandError, match="Run it again"):
        run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    assert Reading.objects.filter(tenant_id=vera.tenant_id).count() == 3


def test_what_an_erasure_left_that_broke_off_is_deleted_by_the_next(vera: Principal, files: Path) -> None:
    run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)
    storages["exports"].save(f"{vera.tenant_id}/x/export.parquet", ContentFile(b"PAR1"))

    said = run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    assert "files in exports" in said
    assert "Found afterwards: nothing." in said
    assert not (files / "exports" / vera.tenant_id).exists()
    assert AuditLink.objects.for_tenant(vera.tenant_id).filter(record__verb="erased").count() == 2


def test_superusers_stay_without_a_tenant(vera: Principal) -> None:
    root = User.objects.create_superuser(f"root-{vera.tenant_id}", tenant_id=vera.tenant_id)

    run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    root.refresh_from_db()
    assert root.tenant_id == ""


def test_messages_of_its_works_leave_the_queue(vera: Principal, otto: Principal) -> None:
    def queued() -> str:
        with current_app.connection_for_write() as broker:
            return " ".join(
                message.decode()
                for message in cast(Any, broker.default_channel).client.lrange("celery", 0, -1)
            )

    of_vera, of_otto = (str(FeatureExport.objects.get(tenant_id=who.tenant_id).pk) for who in (vera, otto))
    assert of_vera in queued()

    run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    assert of_vera not in queued()
    assert of_otto in queued()


def test_a_person_that_a_superuser_dealt_with_is_found_nowhere_either(
    vera: Principal, otto: Principal
) -> None:
    """Not in Django's log of the pages, whose rows are of whoever wrote them."""
    root = User.objects.create_superuser(f"root-{otto.tenant_id}", tenant_id=otto.tenant_id)
    pages, person = Client(), User.objects.get(tenant_id=vera.tenant_id)
    pages.force_login(root)
    address = f"/admin/omarino/user/{person.pk}"
    new = {"usable_password": "true", "password1": "correct horse", "password2": "correct horse"}
    assert pages.post(f"{address}/password/", new).status_code == 302
    assert pages.post(f"{address}/delete/", {"post": "yes"}).status_code == 302

    run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM django_admin_log AS log WHERE strpos(log::text, %s) > 0", [vera.tenant_id]
        )
        assert cursor.fetchone()[0] == 0


def test_what_was_cached_leaves_the_file_of_the_cache_as_well(vera: Principal) -> None:
    client = tenant_data.cache_client()
    assert client.info("persistence")["aof_enabled"]
    folder = Path(str(client.config_get("dir")["dir"]))
    named = folder / str(client.config_get("appenddirname")["appenddirname"])

    said = run("erase_tenant", vera.tenant_id, confirm=vera.tenant_id)

    assert "1  append-only files rewritten" in said
    ends = time.monotonic() + 20
    while client.info("persistence")["aof_rewrite_in_progress"] and time.monotonic() < ends:
        time.sleep(0.05)
    kept = [path for path in named.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if f":{vera.tenant_id}".encode() in path.read_bytes()]
