"""All that is kept of a tenant, in files that need no program of ours: for who asks what we know, or moves away."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.core.files.storage import storages
from django.db import connection, transaction

from omarino import tenant_data
from omarino.errors import HubError
from omarino.sealing import sealed_fields
from omarino.tenant_data import TenantTable

CHUNK_BYTES = 1_048_576
SECRETS = {  # columns that prove who somebody is, and are nobody's data
    "omarino_user": ("password",),
    "omarino_providersession": ("session_key",),
}


class NothingOfTenant(HubError):
    status = 404
    code = "nothing_of_tenant"
    title = "Not found"
    detail = "Nothing is kept of a tenant {tenant_id!r}. Is it spelt as in its tokens, in capitals and small letters?"


class OutputExists(HubError):
    status = 409
    code = "output_exists"
    title = "Conflict"
    detail = "{output} is there already. Name a file or folder that is not."


class Package:
    """Files written one after the other into a folder or a zip, each with its digest in the manifest."""

    def __init__(self, output: Path) -> None:
        self.listed: list[dict[str, Any]] = []
        self._zip = None
        self._folder = output
        if output.suffix == ".zip":
            file = os.fdopen(os.open(output, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b")
            self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
            self._closing = file
        else:
            output.mkdir(mode=0o700)

    def close(self) -> None:
        if self._zip is not None:
            self._zip.close()
            self._closing.close()

    def add(self, name: str, parts: Iterator[bytes], **about: Any) -> None:
        digest, size = hashlib.sha256(), 0
        with self._opened(name) as file:
            for part in parts:
                digest.update(part)
                size += len(part)
                file.write(part)
        self.listed.append({"file": name, **about, "bytes": size, "sha256": digest.hexdigest()})

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        if self._zip is not None:
            with self._zip.open(name, "w", force_zip64=True) as file:
                yield file
            return
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("xb") as file:
            yield file


def export_tenant(*, tenant_id: str, output: Path, made_at: datetime) -> dict[str, Any]:
    """Write every row as JSON Lines, every stored file as it is, and a manifest with their digests; gives the manifest.

    The rows are those of one moment. A file that is deleted meanwhile is left out, and the manifest says so. Whoever
    may read `output` may read all of the tenant: it is made for its owner alone.

    Raises:
        NothingOfTenant, OutputExists.
    """
    if output.exists():
        raise OutputExists(output=output)
    aside = output.with_name(f".{output.stem}.{os.getpid()}.part{output.suffix}")
    package = Package(aside)
    try:
        _add_rows(package, tenant_id)
        missing = _add_files(package, tenant_id)
        if not package.listed:
            raise NothingOfTenant(tenant_id=tenant_id)
        manifest = {
            "tenant_id": tenant_id,
            "made_at": made_at.isoformat(),
            "left_out": {"columns": sorted(f"{table}.{name}" for table, name in _left_out())},
            "gone_meanwhile": missing,
            "files": list(package.listed),
        }
        package.add("manifest.json", iter([json.dumps(manifest, indent=2).encode()]))
        package.close()
        aside.rename(output)
    except BaseException:
        package.close()
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)
        raise
    return manifest


def _add_rows(package: Package, tenant_id: str) -> None:
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0")
        for table in tenant_data.tables():
            if count := table.count(tenant_id):
                name = f"tables/{table.plain_name}.jsonl"
                package.add(name, _lines(table, tenant_id), table=table.plain_name, rows=count)


def _lines(table: TenantTable, tenant_id: str) -> Iterator[bytes]:
    columns = _columns(table)
    with connection.connection.cursor(name="tenant_rows") as rows:  # of the server: readings are many
        rows.itersize = 10_000
        rows.execute(
            f"SELECT row_to_json(told)::text FROM (SELECT {columns} FROM {table.name} WHERE {table.condition}) AS told",  # noqa: S608
            {"tenant_id": tenant_id},
        )
        for (line,) in rows:
            yield line.encode() + b"\n"


def _columns(table: TenantTable) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (%s)",
            [table.name, [name for of, name in _left_out() if of == table.plain_name]],
        )
        return str(cursor.fetchone()[0])


def _left_out() -> set[tuple[str, str]]:
    """Table and column of what proves who somebody is."""
    sealed = {(model._meta.db_table, str(field.column)) for model, field in sealed_fields()}
    return sealed | {(table, name) for table, names in SECRETS.items() for name in names}


def _add_files(package: Package, tenant_id: str) -> list[str]:
    missing = []
    for alias, path in tenant_data.files(tenant_id):
        try:
            with storages[alias].open(path) as file:
                package.add(f"files/{alias}/{path}", file.chunks(CHUNK_BYTES))
        except FileNotFoundError:
            missing.append(f"{alias}: {path}")
    return missing
