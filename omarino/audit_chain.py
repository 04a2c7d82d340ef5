"""Is the audit as it was written? The chain, looked at from outside the database that made it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import orjson
from botocore.exceptions import ClientError
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import connection, transaction
from django.db.models import Max

from omarino.audit_models import AuditLink

ANCHORS = "_audit"  # no tenant's folder: those begin with a letter or a digit
OVERLAP = timedelta(minutes=10)  # a commit may come later than the time its link says
_FIELDS = ("outcome", "verb", "kind", "object_id", "subject", "username", "before", "after")
VERB = _FIELDS.index("verb")
_CHAIN = f"""
SELECT link.tenant_id, link.number, link.record_id::text, link.linked_at, link.content, link.digest,
    record.tenant_id, record.at, {", ".join(f"record.{name}" for name in _FIELDS)},
    record.facts::text, record.request_id, record.salt
FROM audit_links AS link LEFT JOIN audit_records AS record ON record.id = link.record_id
WHERE %(tenant_id)s::text IS NULL OR link.tenant_id = %(tenant_id)s
ORDER BY link.tenant_id, link.number
"""  # noqa: S608  column names of our own
_UNLINKED = """
SELECT record.tenant_id, record.id::text FROM audit_records AS record
LEFT JOIN audit_links AS link ON link.record_id = record.id
WHERE link.record_id IS NULL AND (%(tenant_id)s::text IS NULL OR record.tenant_id = %(tenant_id)s)
ORDER BY record.tenant_id, record.at LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link of a tenant's chain."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one tenant's chain; `fault` is empty when it is whole."""

    tenant_id: str
    links: int
    erased: int  # records that are gone, by an erasure which is a record itself
    head: Head
    fault: str


def framed(*parts: str) -> str:
    """sha256 of the parts, each behind its length in bytes; `audit_digest` in sql/audit.sql is the same.

    >>> framed("ab", "c") == framed("a", "bc")
    False
    """
    encoded = (part.encode() for part in parts)
    return hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in encoded)).hexdigest()


def verify(tenant_id: str | None = None) -> Iterator[Finding]:
    """Hold each tenant's chain against its records, and against the latest anchors. One pass, one snapshot."""
    anchored = {tenant: ends for tenant, ends in latest_anchors().items() if tenant_id in (None, tenant)}
    parameters = {"tenant_id": tenant_id}
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0")
            cursor.execute(_UNLINKED, parameters)
            unlinked = dict(cursor.fetchall())
        erasures = _last_erasures()
        with connection.connection.cursor(name="audit_chain") as rows:  # of the server: it may be long
            rows.itersize = 5_000
            rows.execute(_CHAIN, parameters)
            for tenant, links in groupby(rows, key=lambda row: str(row[0])):
                yield _followed(
                    tenant,
                    links,
                    erasures.get(tenant, 0),
                    anchored.pop(tenant, {}),
                    unlinked.pop(tenant, ""),
                )
    nothing = Head(0, "")
    for tenant, ends in anchored.items():
        yield Finding(
            tenant, 0, 0, nothing, f"all of it is gone; it had {max(ends)} links when it was anchored"
        )
    for tenant, record_id in unlinked.items():
        yield Finding(tenant, 0, 0, nothing, f"record {record_id} is in no chain")


def _last_erasures() -> dict[str, int]:
    erased = AuditLink.objects.filter(record__verb="erased").values_list("tenant_id")
    return dict(erased.annotate(last=Max("number")).order_by())


def _followed(
    tenant_id: str, links: Iterator[tuple[Any, ...]], erasure: int, ends: dict[int, str], unlinked: str
) -> Finding:
    """`erasure`: the number up to which records must be gone; `ends`: what was anchored, digests by their numbers."""
    head, fault, erased = Head(0, ""), "", 0
    for row in links:
        number, record_id, digest = row[1], row[2], row[5]
        if not fault:
            fault = _fault_of(row, head, erasure)
        erased += row[6] is None
        head = Head(number, digest)
        if ends.get(number, digest) != digest and not fault:
            fault = f"link {number} ({record_id}) is not the one that was anchored"
    if not fault and (longest := max(ends, default=0)) > head.number:
        fault = f"it ends at link {head.number}, but had {longest} when it was anchored: its end was cut off"
    if not fault and unlinked:
        fault = f"record {unlinked} is in no chain"
    return Finding(tenant_id, head.number, erased, head, fault)


def _fault_of(row: tuple[Any, ...], before: Head, erasure: int) -> str:
    tenant_id, number, record_id, linked_at, content, digest, owner, at, *said = row
    if number != before.number + 1:
        return f"after link {before.number} comes {number}: what was between is gone"
    if digest != framed(before.digest, tenant_id, str(number), record_id, _text(linked_at), content):
        return f"link {number} ({record_id}) was changed, or what was before it"
    if owner is None:
        return (
            ""
            if number < erasure
            else f"the record of link {number} ({record_id}) is gone without an erasure"
        )
    if content != framed(record_id, owner, _text(at), *said):
        return f"the record of link {number} ({record_id}) was changed"
    if number < erasure and said[VERB] != "erased":
        return (
            f"link {erasure} says that the tenant was erased, but the record of link {number} ({record_id}) is still "
            "there: an erasure takes all"
        )
    return ""


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


# Anchors: where each chain ended, kept outside the database, so that a cut end shows


def anchor(now: datetime) -> dict[str, Head]:
    """Keep where the chains end that moved since the last anchor; the first of a day keeps all. Gives those kept."""
    folder = f"{ANCHORS}/{now:%Y-%m-%d}"
    names = sorted(_listed(_storage(), folder)[1])
    heads = AuditLink.objects.order_by("tenant_id", "-number").distinct("tenant_id")
    if names:
        last = datetime.strptime(f"{now:%Y-%m-%d} {names[-1][:6]}", "%Y-%m-%d %H%M%S").replace(tzinfo=UTC)
        moved = AuditLink.objects.filter(linked_at__gte=last - OVERLAP).values("tenant_id")
        heads = heads.filter(tenant_id__in=moved)
    kept = {link.tenant_id: Head(link.number, link.digest) for link in heads}
    if kept:
        told = {tenant: [head.number, head.digest] for tenant, head in kept.items()}
        _storage().save(
            f"{folder}/{now:%H%M%S%f}.json", ContentFile(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))
        )
    return kept


def latest_anchors() -> dict[str, dict[int, str]]:
    """Of each tenant the digests of its ends by their numbers, of the last two days on which there were anchors: all of
    them, since an end that is cut off and grows anew is anchored anew."""
    storage = _storage()
    found: dict[str, dict[int, str]] = {}
    for day in sorted(_listed(storage, ANCHORS)[0])[-2:]:
        for name in sorted(_listed(storage, f"{ANCHORS}/{day}")[1]):
            with storage.open(f"{ANCHORS}/{day}/{name}") as file:
                told = orjson.loads(file.read())
            for tenant, (number, digest) in told.items():
                found.setdefault(tenant, {}).setdefault(number, digest)  # the first that was told of it
    return found


def _storage() -> Storage:
    return storages["default"]


def _listed(storage: Storage, folder: str) -> tuple[list[str], list[str]]:
    try:
        folders, names = storage.listdir(folder)
    except FileNotFoundError:
        return [], []
    except ClientError as fault:
        if fault.response["Error"]["Code"] in ("NoSuchBucket", "404"):
            return [], []
        raise
    return [name for name in folders if name], [name for name in names if name.endswith(".json")]
