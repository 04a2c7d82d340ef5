"""Where the data of a tenant is: tables, files, cached values. Found, not listed, so that a new table is not forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from botocore.exceptions import ClientError
from django.core.cache import cache
from django.core.files.storage import Storage, storages
from django.db import connection
from redis import Redis

# What stands before a tenant's name in each storage. No tenant's name begins with a dot or an underscore.
FOLDERS = {"models": "", "exports": "", "default": "mlflow/"}
MISSING = ("NoSuchBucket", "404")

_OWNED = """
SELECT format('%I.%I', relation.relnamespace::regnamespace, relation.relname)
FROM pg_class AS relation
JOIN pg_attribute ON attrelid = relation.oid AND attname = 'tenant_id' AND NOT attisdropped
WHERE relation.relkind IN ('r', 'p') AND NOT relation.relispartition AND relation.relpersistence = 'p'
  AND relation.relnamespace = current_schema()::regnamespace
"""
_AGGREGATES = """
SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name), view_name
FROM timescaledb_information.continuous_aggregates
"""
_VIEWS = """
SELECT format('%I.%I', relation.relnamespace::regnamespace, relation.relname)
FROM pg_class AS relation
JOIN pg_attribute ON attrelid = relation.oid AND attname = 'tenant_id' AND NOT attisdropped
WHERE relation.relkind = 'm' AND relation.relispopulated AND relation.relnamespace = current_schema()::regnamespace
ORDER BY 1
"""
_REFERENCES = """
SELECT format('%I.%I', child.relnamespace::regnamespace, child.relname),
    format('%I.%I', parent.relnamespace::regnamespace, parent.relname),
    quote_ident(refers.attname), quote_ident(referred.attname)
FROM pg_constraint AS key
JOIN pg_class AS child ON child.oid = key.conrelid
JOIN pg_class AS parent ON parent.oid = key.confrelid
JOIN pg_attribute AS refers ON refers.attrelid = child.oid AND refers.attnum = key.conkey[1]
JOIN pg_attribute AS referred ON referred.attrelid = parent.oid AND referred.attnum = key.confkey[1]
WHERE key.contype = 'f' AND child.relnamespace = current_schema()::regnamespace AND child.oid <> parent.oid
"""


@dataclass(frozen=True, slots=True)
class TenantTable:
    """A table, and which of its rows are of the tenant."""

    name: str  # quoted, with its schema
    condition: str  # SQL, with %(tenant_id)s
    known_as: str = ""  # to people, where they do not know it by its name

    @property
    def plain_name(self) -> str:
        return self.known_as or self.name.rpartition(".")[2].strip('"')

    def count(self, tenant_id: str) -> int:
        query = f"SELECT count(*) FROM {self.name} WHERE {self.condition}"  # noqa: S608  names of our own
        with connection.cursor() as cursor:
            cursor.execute(query, {"tenant_id": tenant_id})
            return int(cursor.fetchone()[0])


def tables() -> list[TenantTable]:
    """Every table with rows of a tenant: those with a column `tenant_id`, the aggregates that TimescaleDB keeps, and
    what refers to a row of one of these. Whatever refers stands before what it refers to."""
    known_as: dict[str, str] = {}
    with connection.cursor() as cursor:
        cursor.execute(_OWNED)
        conditions = {name: "tenant_id = %(tenant_id)s" for (name,) in cursor.fetchall()}
        cursor.execute("SELECT FROM pg_extension WHERE extname = 'timescaledb'")
        if cursor.fetchone() is not None:
            cursor.execute(_AGGREGATES)
            known_as = dict(cursor.fetchall())
            conditions |= dict.fromkeys(known_as, "tenant_id = %(tenant_id)s")
        cursor.execute(_REFERENCES)
        references = cursor.fetchall()
    owned, grew = set(conditions), True
    while grew:
        grew = False
        for child in sorted({row[0] for row in references} - set(conditions)):
            ways = [
                f"{refers} IN (SELECT {referred} FROM {parent} WHERE {conditions[parent]})"  # noqa: S608
                for other, parent, refers, referred in references
                if other == child and parent in conditions
            ]
            if ways:
                conditions[child], grew = " OR ".join(ways), True
    order = _before_what_it_refers_to(sorted(conditions, key=lambda name: (name in owned, name)), references)
    return [TenantTable(name, conditions[name], known_as.get(name, "")) for name in order]


def views() -> list[TenantTable]:
    """Every materialized view with rows of a tenant: copies, which outlive what they were made of."""
    with connection.cursor() as cursor:
        cursor.execute(_VIEWS)
        return [TenantTable(name, "tenant_id = %(tenant_id)s") for (name,) in cursor.fetchall()]


def _before_what_it_refers_to(names: list[str], references: list[tuple[str, str, str, str]]) -> list[str]:
    waiting, ordered = list(names), []
    while waiting:
        referred = {parent for child, parent, _, _ in references if child in waiting and parent in waiting}
        free = [name for name in waiting if name not in referred] or waiting[:1]  # a circle begins somewhere
        ordered += free
        waiting = [name for name in waiting if name not in free]
    return ordered


def files(tenant_id: str) -> Iterator[tuple[str, str]]:
    """The storage and the path of each file of a tenant."""
    for alias in storages.backends:
        if alias != "staticfiles":
            yield from (
                (alias, path) for path in _below(storages[alias], f"{FOLDERS.get(alias, '')}{tenant_id}")
            )


def _below(storage: Storage, folder: str) -> Iterator[str]:
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            folders, names = storage.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except ClientError as fault:
            if fault.response["Error"]["Code"] in MISSING:
                continue
            raise
        waiting += [f"{folder}/{name}" for name in folders if name]
        yield from (f"{folder}/{name}" for name in sorted(names) if name)


def cached_keys(tenant_id: str) -> list[bytes]:
    """Every cached value whose key names the tenant between two colons, in braces or without."""
    named = (f"*:{tenant_id}:*", f"*:{{{tenant_id}}}:*")
    return [key for pattern in named for key in cache_client().scan_iter(match=pattern, count=1_000)]


def cache_client() -> Redis:
    client: Redis = cache._cache.get_client(None, write=True)  # type: ignore[attr-defined]
    return client
