"""The bytes of models: taken in, hashed, stored, read, deleted. Nothing else touches them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import orjson
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import connection

from omarino import tracing
from registry.errors import ArtifactCorrupt, ArtifactTooLarge, StorageUnavailable, VersionBusy
from registry.models import ModelVersion, as_metadata

CHUNK_BYTES = 1_048_576
MISSING_BUCKET = ("NoSuchBucket", "404")


@dataclass(frozen=True, slots=True)
class Upload:
    """An artifact that has arrived whole, in a file of this machine."""

    path: Path
    sha256: str
    size_bytes: int


@contextmanager
def received(chunks: Iterable[bytes]) -> Iterator[Upload]:
    """Take bytes as they come into a file that is gone afterwards, hashed on the way, never more than allowed."""
    digest, size = hashlib.sha256(), 0
    with tempfile.TemporaryDirectory(prefix="hub-artifact-") as folder:
        path = Path(folder) / "artifact"
        with path.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > settings.MODEL_MAX_BYTES:
                    raise ArtifactTooLarge(limit_bytes=settings.MODEL_MAX_BYTES)
                digest.update(chunk)
                file.write(chunk)
        yield Upload(path, digest.hexdigest(), size)


def store(version: ModelVersion, upload: Upload | None) -> None:
    """Write the files of a version: model.*, when there is one, metadata.json and metrics.json."""
    with _outages():
        if upload is not None:
            with upload.path.open("rb") as file:
                _write(version.storage_path, File(file))
        _write(f"{version.folder}/metadata.json", ContentFile(_json(as_metadata(version))))
        _write(f"{version.folder}/metrics.json", ContentFile(_json(version.metrics)))


def read(version: ModelVersion) -> bytes:
    """The artifact, held to its digest. Raises ArtifactCorrupt."""
    with _outages():
        try:
            with _storage().open(version.storage_path) as file:
                content: bytes = file.read((version.size_bytes or 0) + 1)
        except FileNotFoundError as fault:
            raise ArtifactCorrupt(model_id=str(version)) from fault
    if hashlib.sha256(content).hexdigest() != version.sha256:
        raise ArtifactCorrupt(model_id=str(version))
    return content


def opened(version: ModelVersion) -> File[bytes]:
    """The artifact as a file, for downloads."""
    with _outages():
        try:
            return _storage().open(version.storage_path)
        except FileNotFoundError as fault:
            raise ArtifactCorrupt(model_id=str(version)) from fault


def discard(version: ModelVersion) -> None:
    """Take back an artifact whose row was not written."""
    with _outages():
        _storage().delete(version.storage_path)


def delete_file(path: str) -> None:
    """Delete one file, and the folders it leaves empty."""
    with _outages():
        remove(_storage(), path)


def remove(storage: Storage, path: str) -> None:
    storage.delete(path)
    if isinstance(storage, FileSystemStorage):
        _remove_empty(storage, path.rpartition("/")[0])


def delete(folder: str) -> int:
    """Delete what lies in a version's folder. Gives the number of files."""
    with _outages():
        storage = _storage()
        names = _files_in(folder)
        for name in names:
            storage.delete(f"{folder}/{name}")
        if isinstance(storage, FileSystemStorage):
            _remove_empty(storage, folder)
    return len(names)


def every_file() -> Iterator[tuple[str, datetime]]:
    """The name and the time of each stored file."""
    with _outages():
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            folders, names = _list(folder)
            waiting += [f"{folder}/{name}".lstrip("/") for name in folders]
            for name in names:
                path = f"{folder}/{name}".lstrip("/")
                yield path, _storage().get_modified_time(path)


def hold(tenant_id: str, name: str, version: str) -> None:
    """Nobody else writes or deletes this version's files until the transaction ends. Raises VersionBusy."""
    key = int.from_bytes(hashlib.sha256(f"{tenant_id}:{name}:{version}".encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [key])
        if not cursor.fetchone()[0]:
            raise VersionBusy(model_id=f"{tenant_id}:{name}:{version}")


def _storage() -> Storage:
    return storages["models"]


def _write(path: str, content: File[Any]) -> None:
    write(_storage(), path, content)


def write(storage: Storage, path: str, content: File[Any]) -> None:
    """In a folder what stood there is replaced; a bucket that is not there yet is made."""
    if isinstance(storage, FileSystemStorage):
        storage.delete(path)  # what a crash left there; a folder would give the new file another name
        storage.save(path, content)
        return
    try:
        storage.save(path, content)
    except ClientError as fault:
        if fault.response["Error"]["Code"] not in MISSING_BUCKET:
            raise
        cast(Any, storage).bucket.create()
        content.seek(0)
        storage.save(path, content)


def _list(folder: str) -> tuple[list[str], list[str]]:
    try:
        folders, names = _storage().listdir(folder)
    except FileNotFoundError:
        return [], []
    except ClientError as fault:
        if fault.response["Error"]["Code"] in MISSING_BUCKET:
            return [], []
        raise
    return [name for name in folders if name], [name for name in names if name]


def _files_in(folder: str) -> list[str]:
    return _list(folder)[1]


def _remove_empty(storage: FileSystemStorage, folder: str) -> None:
    """The version's folder, and the model's and the tenant's when nothing else is in them."""
    with suppress(OSError):
        while folder:
            Path(storage.path(folder)).rmdir()
            folder = folder.rpartition("/")[0]


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


@contextmanager
def _outages() -> Iterator[None]:
    try:
        with tracing.span("storage", files="models"):
            yield
    except (BotoCoreError, ClientError, OSError) as fault:
        raise StorageUnavailable() from fault
