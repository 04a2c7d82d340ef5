"""Rows and files, held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from omarino import audit
from omarino.authentication import TENANT_ID
from registry import artifacts
from registry.errors import ArtifactCorrupt
from registry.models import ModelVersion

UNDERWAY = timedelta(minutes=15)  # a younger file may belong to a row that is not committed yet
PARTS = ("metadata.json", "metrics.json")


@dataclass(frozen=True, slots=True)
class Found:
    """orphans: files without a row. missing: files that a row should have. corrupt: rows whose bytes changed."""

    orphans: list[str]
    missing: list[str]
    corrupt: list[str]

    @property
    def is_whole(self) -> bool:
        return not (self.orphans or self.missing or self.corrupt)


def look(*, now: datetime, verify: bool = True) -> Found:
    """Compare all rows with all files; with `verify` the digest of each artifact as well."""
    stored = dict(artifacts.every_file())
    wanted: set[str] = set()
    missing, corrupt = [], []
    for version in ModelVersion.objects.select_related("model").iterator():
        names = files_of(version)
        wanted.update(names)
        gone = [name for name in names if name not in stored]
        missing += gone
        if verify and version.format and version.storage_path not in gone and not _is_whole(version):
            corrupt.append(version.storage_path)
    orphans = [name for name, at in stored.items() if name not in wanted and now - at > UNDERWAY]
    return Found(sorted(orphans), missing, corrupt)


def delete_orphans(names: list[str]) -> Iterator[str]:
    """Delete files without a row; what got its row meanwhile stays. Gives what was deleted."""
    for name in names:
        tenant_id, _, rest = name.partition("/")
        model, _, rest = rest.partition("/")
        with transaction.atomic():
            artifacts.hold(tenant_id, model, rest.partition("/")[0])
            version = (
                ModelVersion.objects.for_tenant(tenant_id)
                .select_related("model")
                .named(model, rest.partition("/")[0])
                .first()
            )
            if version is None or name not in files_of(version):
                artifacts.delete_file(name)
                owner = tenant_id if rest and TENANT_ID.fullmatch(tenant_id) else ""
                audit.record(owner, "deleted", "file without a row", name)
                yield name


def files_of(version: ModelVersion) -> list[str]:
    own = [version.storage_path] if version.format else []
    return [*own, *(f"{version.folder}/{part}" for part in PARTS)]


def _is_whole(version: ModelVersion) -> bool:
    try:
        artifacts.read(version)
    except ArtifactCorrupt:
        return False
    return True
