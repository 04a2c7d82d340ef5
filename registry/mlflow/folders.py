"""What MLflow clients upload before it is registered, and the folder they get back of what is.

Uploads lie beside the models, by run or logged model, and nothing here opens them; registering does, as any upload.
A folder that is downloaded is made of a version's own row and artifact, so every version has one, however it came.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from django.core.files.storage import Storage, storages

from omarino.errors import NotFound
from registry import artifacts
from registry.errors import SourceRefused, StorageUnavailable
from registry.models import ModelVersion, Tracked

PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@ -]{0,127}")
DEEPEST = 8
MOST_FILES = 200
MODEL_FILE = re.compile(r"(?:data/)?model\.[A-Za-z0-9]{1,16}")
# by our format: the flavour, the file's name in it, what else the flavour says, and the package that reads it
FLAVOURS: dict[str, tuple[str, str, dict[str, str], str]] = {
    "lightgbm": ("lightgbm", "model.lgb", {"model_class": "lightgbm.basic.Booster"}, "lightgbm"),
    "xgboost_json": ("xgboost", "model.json", {"model_class": "xgboost.core.Booster"}, "xgboost"),
    "xgboost_ubj": ("xgboost", "model.ubj", {"model_class": "xgboost.core.Booster"}, "xgboost"),
    "onnx": ("onnx", "model.onnx", {}, "onnx"),
}


def keep(tenant_id: str, path: str, chunks: Iterable[bytes]) -> tuple[artifacts.Upload, str]:
    """Store an uploaded file, streamed, in the place of an earlier one, whose sha256 is given as well; empty: there was
    none. Raises NotFound for a path of nobody's."""
    name = _checked(tenant_id, path)
    with artifacts.received(chunks) as upload, _outages(), upload.path.open("rb") as file:
        if len(files_in(tenant_id, "/".join(path.split("/")[:2]))) >= MOST_FILES:
            raise SourceRefused(reason=f"there are {MOST_FILES} files already")
        replaced = _digest_of(name)
        artifacts.write(_storage(), name, File(file))
    return upload, replaced


def _digest_of(name: str) -> str:
    if not _storage().exists(name):
        return ""
    digest = hashlib.sha256()
    with _storage().open(name) as file:
        for chunk in file.chunks(artifacts.CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def opened(tenant_id: str, path: str) -> File[Any]:
    name = _checked(tenant_id, path)
    with _outages():
        if not _storage().exists(name):
            raise NotFound()
        try:
            return _storage().open(name)
        except IsADirectoryError as fault:
            raise NotFound() from fault


def files_in(tenant_id: str, path: str) -> dict[str, int]:
    """Files below a folder with their sizes, by their path in it."""
    root = _checked(tenant_id, path)
    found: dict[str, int] = {}
    waiting = [""]
    with _outages():
        while waiting and len(found) <= MOST_FILES:
            inner = waiting.pop()
            try:
                folders, names = _storage().listdir(f"{root}/{inner}".rstrip("/"))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except ClientError as fault:
                if fault.response["Error"]["Code"] not in artifacts.MISSING_BUCKET:
                    raise
                continue
            waiting += [f"{inner}{folder}/" for folder in folders if folder]
            found |= {f"{inner}{name}": _storage().size(f"{root}/{inner}{name}") for name in names if name}
    return found


def discard(tenant_id: str, path: str) -> int:
    """Delete what lies below a folder. Gives the number of files."""
    root, deleted = _checked(tenant_id, path), 0
    while names := files_in(tenant_id, path):
        with _outages():
            for name in names:
                artifacts.remove(_storage(), f"{root}/{name}")
        deleted += len(names)
    return deleted


def model_file(tenant_id: str, path: str) -> str:
    """The path of the one file in an uploaded folder that is the model. Raises SourceRefused."""
    found = [name for name in files_in(tenant_id, path) if MODEL_FILE.fullmatch(name)]
    if len(found) != 1:
        said = ", ".join(found) or "none"
        raise SourceRefused(reason=f"the folder must hold one file model.*, and holds {said}")
    return f"{path}/{found[0]}"


def of_version(version: ModelVersion) -> dict[str, bytes | None]:
    """The folder of a version: names and contents; None for the artifact, which is streamed."""
    if not version.format:
        return {}
    flavour = FLAVOURS.get(version.format)
    if flavour is None:
        return {f"model.{version.storage_path.rpartition('.')[2]}": None}
    name, file, more, package = flavour
    release = installed("xgboost-cpu" if package == "xgboost" else package)
    lines = ["flavors:", f"  {name}:", f"    data: {file}", "    code: null"]
    lines += [f"    {key}: {value}" for key, value in more.items()]
    lines += [
        f"    {'lgb' if name == 'lightgbm' else 'xgb' if name == 'xgboost' else 'onnx'}_version: '{release}'"
    ]
    if name == "onnx":
        lines += ["    providers:", "    - CPUExecutionProvider"]
    lines += ["  python_function:", f"    loader_module: mlflow.{name}", f"    data: {file}"]
    lines += [
        "model_uuid: " + version.pk.hex,
        f"utc_time_created: '{version.uploaded_at:%Y-%m-%d %H:%M:%S.%f}'",
        "",
    ]
    return {
        "MLmodel": "\n".join(lines).encode(),
        "requirements.txt": f"{package}=={release}\n".encode(),
        file: None,
    }


def _checked(tenant_id: str, path: str) -> str:
    """Where it lies in the storage. Only what belongs to a run or a logged model of the tenant lies anywhere."""
    parts = path.split("/")
    if not 2 <= len(parts) <= DEEPEST or not all(map(PART.fullmatch, parts)):
        raise NotFound()
    kind = {"runs": Tracked.Kind.RUN, "models": Tracked.Kind.MODEL}.get(parts[0])
    if not Tracked.objects.for_tenant(tenant_id).filter(kind=kind, id=parts[1]).exists():
        raise NotFound()
    return f"mlflow/{tenant_id}/{path}"


def _storage() -> Storage:
    return storages["default"]


@contextmanager
def _outages() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as fault:
        raise NotFound() from fault
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as fault:
        raise SourceRefused(reason="a path of it is a file and a folder at once") from fault
    except (BotoCoreError, ClientError, OSError) as fault:
        if isinstance(fault, ClientError) and fault.response["Error"]["Code"] in (
            *artifacts.MISSING_BUCKET,
            "NoSuchKey",
        ):
            raise NotFound() from fault
        raise StorageUnavailable() from fault
