"""Which version answers a prediction: asked for each one, and read anew only where something about it has changed.

The question gives the rows' ids and stamps: PostgreSQL's `xmin`, the transaction that wrote a row, and `ctid`, its place,
as one transaction may write a row twice. What was read under the same stamps is the same, so a promotion is followed by
the next request of every process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, cast

import orjson
from django.db import connection

from omarino.errors import NotYours
from registry.actions import version_of
from registry.models import ModelVersion, Reference

KEPT_AT_MOST = 128
LARGEST_KEPT_BYTES = 131_072  # of what callers wrote into a version: metadata, metrics, names
Stamps = tuple[Any, ...]
_STAMPS = """
SELECT version.id, version.xmin || version.ctid::text, model.xmin || model.ctid::text,
    split.id, split.xmin || split.ctid::text, challenger.id, challenger.xmin || challenger.ctid::text
FROM registry_modelversion AS version
JOIN registry_registeredmodel AS model ON model.id = version.model_id
LEFT JOIN registry_trafficsplit AS split ON split.id = model.split_id
LEFT JOIN registry_modelversion AS challenger ON challenger.id = split.challenger_id
WHERE version.tenant_id = %s AND model.tenant_id = %s AND model.name = %s AND """
_IN_PRODUCTION = _STAMPS + "version.stage = 'production'"
_BY_NAME = _STAMPS + "version.version = %s"


class Known:
    """Versions as they were read, with their models and splits, by reference. Nobody may change what is here: it is
    other threads' as well. The least used goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Reference, tuple[Stamps, ModelVersion]] = OrderedDict()

    def find(self, reference: Reference, stamps: Stamps) -> ModelVersion | None:
        with self._lock:
            found = self._kept.get(reference)
            if found is None or found[0] != stamps:
                return None
            self._kept.move_to_end(reference)
            return found[1]

    def keep(self, reference: Reference, stamps: Stamps, version: ModelVersion) -> None:
        if _written_bytes(version) > LARGEST_KEPT_BYTES:
            return
        with self._lock:
            self._kept[reference] = stamps, version
            self._kept.move_to_end(reference)
            while len(self._kept) > KEPT_AT_MOST:
                self._kept.popitem(last=False)

    def drop(self, reference: Reference) -> None:
        with self._lock:
            self._kept.pop(reference, None)

    def __len__(self) -> int:
        return len(self._kept)


KNOWN = Known()


def answering(*, tenant_id: str, reference: Reference | None) -> ModelVersion:
    """As `version_of`, which says what it raises, for those who only read what they get."""
    if reference is not None and reference.tenant_id != tenant_id:
        raise NotYours()
    if reference is None or reference.version in ("", "latest"):
        return version_of(tenant_id=tenant_id, reference=reference)
    stamps = _stamps(reference)
    if stamps is None:
        KNOWN.drop(reference)
        return version_of(tenant_id=tenant_id, reference=reference)
    found = KNOWN.find(reference, stamps)
    if (
        found is None
    ):  # what is read now is as new as the stamps, or newer, and then they differ the next time
        found = version_of(tenant_id=tenant_id, reference=reference)
        KNOWN.keep(reference, stamps, found)
    return found


def _stamps(reference: Reference) -> Stamps | None:
    named = [reference.tenant_id, reference.tenant_id, reference.name]
    ask = cast(Any, connection).ask
    rows = (
        ask(_IN_PRODUCTION, named)
        if reference.version == "production"
        else ask(_BY_NAME, [*named, reference.version])
    )
    return rows[0] if rows else None


def _written_bytes(version: ModelVersion) -> int:
    versions = [version]
    if version.model.split is not None and version.model.split.challenger is not None:
        versions.append(version.model.split.challenger)
    written = [(each.metadata, each.metrics, each.portrait, each.feature_names) for each in versions]
    return len(orjson.dumps([written, version.model.gates], default=str))
