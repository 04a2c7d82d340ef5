"""Everything of a tenant deleted, and a search afterwards that must find nothing. Again deletes what is left."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from celery import current_app
from django.contrib.sessions.models import Session
from django.core.files.storage import FileSystemStorage, storages
from django.db import connection, transaction
from psycopg import sql
from redis.exceptions import ResponseError

from omarino import audit, jobs, tenant_data
from omarino.models import User
from omarino.tenant_data import TenantTable

LINKS = "audit_links"  # digests alone; they prove that nothing else was taken away
RECORDS = "audit_records"  # all but those of the erasures themselves
BATCH = 500


@dataclass
class Erasure:
    """What there was, and what there is after it. Sums by table, by storage, and of the rest by what it is."""

    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)  # tables, materialized views and aggregates, by name


def erase_tenant(*, tenant_id: str, on_step: Callable[[str], None] = lambda _: None) -> Erasure:
    """Rows first, in one transaction with the record of it; then what materialized views copied of them, files, cached
    values and messages in the queue.

    The chain of the audit stays: its links hold digests, and the records of erasures say who did it, not who was
    erased. People who are superusers stay as well, without a tenant. A write by the tenant meanwhile is found at
    the end: take its tokens away first.
    """
    done = Erasure()
    on_step("rows")
    waiting = _waiting_jobs(tenant_id)
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
        done.others["sessions"] = _end_sessions(tenant_id)
        done.others["superusers without a tenant now"] = User.objects.filter(
            tenant_id=tenant_id, is_superuser=True
        ).update(tenant_id="")
        tables = tenant_data.tables()
        closed = [_refusing_triggers(table) for table in tables if table.plain_name not in (LINKS, RECORDS)]
        for table in tables:
            if table.plain_name not in (LINKS, RECORDS):
                done.rows[table.plain_name] = _delete(table, tenant_id)
        with connection.cursor() as cursor:
            cursor.execute("SELECT audit_hold(%s)", [tenant_id])
        audit.record(tenant_id, "erased", "tenant", tenant_id, rows=sum(done.rows.values()))
        records = TenantTable(RECORDS, "tenant_id = %(tenant_id)s AND verb <> 'erased'")
        done.rows[RECORDS] = _delete(records, tenant_id)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # before tables are altered again
            for statements in closed:
                for name, trigger in statements:
                    cursor.execute(_switch("ENABLE", name, trigger))
    on_step("materialized views")
    for view in tenant_data.views():
        done.rows[view.plain_name] = _refresh(view, tenant_id)
    on_step("files")
    done.files = _delete_files(tenant_id)
    on_step("cached values and messages")
    done.others["cached values"] = _forget(tenant_id)
    done.others["messages in the queue"] = _unqueue(waiting)
    done.others["append-only files rewritten"] = _rewrite_append_only_files()
    on_step("search")
    done.left, done.kept = search(tenant_id)
    done.searched = sorted(table.plain_name for table in [*tenant_data.tables(), *tenant_data.views()])
    return done


def search(tenant_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """What is found of a tenant, and what of it an erasure keeps."""
    places = [*tenant_data.tables(), *tenant_data.views()]
    found = {place.plain_name: place.count(tenant_id) for place in places}
    erasures = TenantTable(RECORDS, "tenant_id = %(tenant_id)s AND verb = 'erased'").count(tenant_id)
    kept = {LINKS: found.pop(LINKS, 0), f"{RECORDS} of erasures": erasures}
    found[RECORDS] = found.get(RECORDS, 0) - erasures
    for alias, _ in tenant_data.files(tenant_id):
        found[f"files in {alias}"] = found.get(f"files in {alias}", 0) + 1
    found["cached values"] = len(tenant_data.cached_keys(tenant_id))
    return {name: count for name, count in found.items() if count}, kept


def _delete(table: TenantTable, tenant_id: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table.name} WHERE {table.condition}", {"tenant_id": tenant_id})  # noqa: S608
        return int(cursor.rowcount)


def _refresh(view: TenantTable, tenant_id: str) -> int:
    """Make a materialized view anew from rows without the tenant, while others read it where it has a key to tell its
    rows apart by; how many of the tenant it held."""
    held = view.count(tenant_id)
    if held:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = %s::regclass AND indisunique AND indpred IS NULL"
                " AND indexprs IS NULL AND indisvalid)",
                [view.name],
            )
            meanwhile = "CONCURRENTLY" if cursor.fetchone()[0] else ""
            cursor.execute(f"REFRESH MATERIALIZED VIEW {meanwhile} {view.name}")
    return held


def _refusing_triggers(table: TenantTable) -> list[tuple[str, str]]:
    """Switch off what may refuse or keep a deleted row, until this transaction ends. The audit's own stay: they allow
    what an erasure on record allows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgenabled <> 'D'"
            " AND tgtype & 8 <> 0 AND tgtype & 1 <> 0 AND tgname NOT LIKE 'ts\\_%%'",
            [table.name],
        )
        found = [(table.name, str(name)) for (name,) in cursor.fetchall()]
        for name, trigger in found:
            cursor.execute(_switch("DISABLE", name, trigger))
    return found


def _switch(how: str, table: str, trigger: str) -> str:
    return sql.SQL(f"ALTER TABLE {table} {how} TRIGGER {{}}").format(sql.Identifier(trigger)).as_string(None)


def _end_sessions(tenant_id: str) -> int:
    people = {str(pk) for pk in User.objects.filter(tenant_id=tenant_id).values_list("pk", flat=True)}
    keys = [
        session.session_key
        for session in Session.objects.iterator(chunk_size=BATCH)
        if session.get_decoded().get("_auth_user_id") in people
    ]
    return Session.objects.filter(session_key__in=keys).delete()[0]


def _delete_files(tenant_id: str) -> dict[str, int]:
    deleted: dict[str, int] = {}
    folders: dict[str, set[Path]] = {}
    for alias, path in list(tenant_data.files(tenant_id)):
        storage = storages[alias]
        storage.delete(path)
        deleted[alias] = deleted.get(alias, 0) + 1
        if isinstance(storage, FileSystemStorage):
            inside = Path(path).parents
            folders.setdefault(alias, set()).update(inside[: len(inside) - 1])
    for alias, emptied in folders.items():
        for folder in sorted(emptied, key=lambda path: -len(path.parts)):
            with suppress(OSError):  # somebody else's file is in it
                Path(storages[alias].path(str(folder))).rmdir()
    return deleted


def _forget(tenant_id: str) -> int:
    keys = tenant_data.cached_keys(tenant_id)
    client = tenant_data.cache_client()
    return sum(int(client.delete(*keys[at : at + BATCH])) for at in range(0, len(keys), BATCH))


def _rewrite_append_only_files() -> int:
    """What was deleted of cache and queue stays in the files of their servers until these are written anew; how many
    servers were asked to, and do it by and by. Zero where none keeps such a file, or none lets us ask."""
    asked = 0
    with current_app.connection_for_write() as broker:
        servers = {}
        for client in (tenant_data.cache_client(), cast(Any, broker.default_channel).client):
            with suppress(ResponseError):
                about = client.info()
                servers[about["run_id"]] = (client, about)
        for client, about in servers.values():
            if about.get("aof_enabled"):
                with suppress(
                    ResponseError
                ):  # one is being written, from before the deletion; or it may not be asked
                    client.bgrewriteaof()
                    asked += 1
    return asked


def _waiting_jobs(tenant_id: str) -> set[str]:
    return {
        str(pk)
        for kind in jobs.kinds()
        for pk in kind._default_manager.filter(tenant_id=tenant_id).values_list("pk", flat=True)
    }


def _unqueue(job_ids: set[str]) -> int:
    """Take messages that name these jobs out of the queue. A worker that has one in hand finds no row and drops it."""
    removed = 0
    with current_app.connection_for_write() as broker:
        client = cast(Any, broker.default_channel).client
        for name in (current_app.conf.task_default_queue,):
            for message in client.lrange(name, 0, -1):
                if _named(message) & job_ids:
                    removed += int(client.lrem(name, 1, message))
    return removed


def _named(message: bytes) -> set[str]:
    with suppress(ValueError, KeyError, IndexError, TypeError, binascii.Error):
        arguments = json.loads(base64.b64decode(json.loads(message)["body"]))[0]
        return {argument for argument in arguments if isinstance(argument, str)}
    return set()
