"""The files of exports in their storage, a folder or S3: written aside, seen only when they are whole."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import FileSystemStorage, Storage, storages

from features.errors import ExportFileGone, ExportStorageUnavailable
from features.models import FeatureExport
from omarino import tracing

PART_BYTES = 16_777_216  # S3 takes 10,000 parts of an object
BLOCK_BYTES = 1_048_576
ASIDE = ".aside"  # no tenant's name begins with a dot
MISSING = ("NoSuchBucket", "NoSuchKey", "NoSuchUpload", "404")
log = structlog.get_logger(__name__)


class Sink(ABC):
    """Where the bytes go until they are all there; counted and hashed on the way. A file to pyarrow."""

    closed = False

    def __init__(self) -> None:
        self._is_over = False
        self.size_bytes = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            if self._is_over:  # pyarrow ends a file that was given up as well
                return view.nbytes
            self._digest.update(view)
            self.size_bytes += view.nbytes
            with outages():
                self._take(view)
            return view.nbytes

    def flush(self) -> None:  # noqa: B027  asked for by pyarrow; `publish` writes what is kept back
        pass

    def close(self) -> None:  # noqa: B027  whether the file is wanted is said by `publish`
        pass

    def end(self) -> None:
        """Unless it was published, leave nothing behind."""
        self._is_over = True
        self._discard()

    @abstractmethod
    def _take(self, data: memoryview) -> None: ...

    @abstractmethod
    def publish(self) -> None:
        """Let the file be seen, at once and whole."""

    @abstractmethod
    def _discard(self) -> None:
        """After `publish` there is nothing to discard."""


class FolderSink(Sink):
    """A file beside its place, renamed into it."""

    def __init__(self, storage: FileSystemStorage, export: FeatureExport) -> None:
        super().__init__()
        self._place = Path(storage.path(export.storage_path))
        self._aside = Path(storage.path(f"{ASIDE}/{export.pk}.{export.token}"))
        self._aside.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._aside.open("xb")

    def _take(self, data: memoryview) -> None:
        self._file.write(data)

    def publish(self) -> None:
        with outages(), tracing.span("storage", files="exports"):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._place.parent.mkdir(parents=True, exist_ok=True)
            self._aside.replace(self._place)
            folder = os.open(self._place.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _discard(self) -> None:
        with suppress(OSError):  # what is left is swept
            self._file.close()
            self._aside.unlink(missing_ok=True)


class BucketSink(Sink):
    """A multipart upload: S3 shows no object before its last part is confirmed."""

    def __init__(self, storage: Any, export: FeatureExport) -> None:
        super().__init__()
        self._client = storage.connection.meta.client
        self._encryption = dict(storage.object_parameters)
        self._object = {"Bucket": storage.bucket_name, "Key": _key(storage, export.storage_path)}
        self._parts: list[dict[str, Any]] = []
        self._waiting = bytearray()
        try:
            self._upload = self._begin()
        except ClientError as fault:
            if not _is_missing(fault):
                raise
            storage.bucket.create()
            self._upload = self._begin()

    def _begin(self) -> str:
        said = self._client.create_multipart_upload(
            **self._object, **self._encryption, ContentType="application/vnd.apache.parquet"
        )
        return str(said["UploadId"])

    def _take(self, data: memoryview) -> None:
        self._waiting += data
        if len(self._waiting) >= PART_BYTES:
            self._send()

    def _send(self) -> None:
        number = len(self._parts) + 1
        sent = self._client.upload_part(
            **self._object, UploadId=self._upload, PartNumber=number, Body=bytes(self._waiting)
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._waiting.clear()

    def publish(self) -> None:
        with outages(), tracing.span("storage", files="exports"):
            if self._waiting:
                self._send()
            self._client.complete_multipart_upload(
                **self._object, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
            )
            self._upload = ""

    def _discard(self) -> None:
        if self._upload:
            with suppress(BotoCoreError, ClientError):  # what is left is swept
                self._client.abort_multipart_upload(**self._object, UploadId=self._upload)


@contextmanager
def sink_of(export: FeatureExport) -> Iterator[Sink]:
    """A place for the file of an export in hand. Unless it is published, nothing of it remains."""
    storage = _storage()
    with outages():
        sink = (
            FolderSink(storage, export)
            if isinstance(storage, FileSystemStorage)
            else BucketSink(storage, export)
        )
    try:
        yield sink
    finally:
        sink.end()


def read(export: FeatureExport) -> Iterator[bytes]:
    """The bytes of a completed export as they come; opened at once. Raises ExportFileGone."""
    storage = _storage()
    try:
        with outages():
            file: Any
            if isinstance(storage, FileSystemStorage):
                file = Path(storage.path(export.storage_path)).open("rb")  # noqa: SIM115  `_blocks` closes it
            else:
                s3: Any = storage
                key = _key(s3, export.storage_path)
                file = s3.connection.meta.client.get_object(Bucket=s3.bucket_name, Key=key)["Body"]
    except ExportStorageUnavailable as fault:
        if isinstance(fault.__cause__, FileNotFoundError) or _is_missing(fault.__cause__):
            raise ExportFileGone(export_id=str(export.pk)) from fault
        raise
    return _blocks(file)


def _blocks(file: Any) -> Iterator[bytes]:
    try:
        while block := file.read(BLOCK_BYTES):
            yield block
    finally:
        file.close()


def delete(export: FeatureExport) -> None:
    """Delete the file of an export, and the folders this leaves empty; again changes nothing."""
    storage = _storage()
    with outages():
        try:
            storage.delete(export.storage_path)
        except ClientError as fault:
            if not _is_missing(fault):
                raise
        if isinstance(storage, FileSystemStorage):
            folder = Path(storage.path(export.storage_path)).parent
            with suppress(OSError):
                while folder != Path(storage.location):
                    folder.rmdir()
                    folder = folder.parent


def delete_leftovers(*, now: datetime, younger_than: timedelta) -> int:
    """Delete what dead workers left aside; what a worker has in hand stays. How many there were.

    `younger_than`: an upload of this age may be that of a worker; older than any export may take, it is not.
    """
    storage = _storage()
    with outages():
        if isinstance(storage, FileSystemStorage):
            return _delete_aside(Path(storage.path(ASIDE)))
        return _abort_uploads(storage, before=now - younger_than)


def _delete_aside(folder: Path) -> int:
    left = [path for path in folder.glob("*") if not _in_hand(*path.name.partition(".")[::2])]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _abort_uploads(storage: Any, *, before: datetime) -> int:
    client, bucket = storage.connection.meta.client, storage.bucket_name
    aborted = 0
    try:
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, Prefix=_key(storage, "")
        )
        for upload in (upload for page in pages for upload in page.get("Uploads", [])):
            export_id = upload["Key"].removeprefix(_key(storage, "")).split("/")[1:2]
            if upload["Initiated"] > before and export_id and _in_hand(export_id[0]):
                continue
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            aborted += 1
    except ClientError as fault:
        if not _is_missing(fault):
            raise
    return aborted


def _in_hand(export_id: str, token: str | None = None) -> bool:
    try:
        named = {"pk": UUID(export_id), **({} if token is None else {"token": UUID(token)})}
    except ValueError:
        return False  # no file of ours
    return FeatureExport.objects.filter(token__isnull=False, **named).exists()


def location(export: FeatureExport) -> str:
    """Where an operator finds the file: a path, or an address in a bucket."""
    storage: Any = _storage()
    if isinstance(storage, FileSystemStorage):
        return storage.path(export.storage_path)
    return f"s3://{storage.bucket_name}/{_key(storage, export.storage_path)}"


@contextmanager
def outages() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, OSError) as fault:
        log.warning("export_storage_unavailable", reason=f"{type(fault).__name__}: {fault}"[:300])
        raise ExportStorageUnavailable() from fault


def _storage() -> Storage:
    return storages["exports"]


def _key(storage: Any, name: str) -> str:
    return f"{storage.location.strip('/')}/{name}".lstrip("/")


def _is_missing(fault: BaseException | None) -> bool:
    return isinstance(fault, ClientError) and fault.response["Error"]["Code"] in MISSING
