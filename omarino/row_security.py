"""The second wall between tenants: PostgreSQL's row-level security, under the filters of our own.

A connection that was told a tenant sees and writes the rows of this tenant alone, whatever a query forgot. A
connection that was told none sees all: workers, commands, migrations and superusers' pages work across tenants.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from omarino.postgresql import confine as confine
from omarino.postgresql import confined_to as confined_to
from omarino.postgresql import release as release
from omarino.tenancy import TenantOwned

POLICY = "omarino_tenant"
# A sub-select, so that it is asked once for a statement and not once for a row.
_TOLD = "(SELECT coalesce(current_setting('omarino.tenant_id', true), ''))"
CONDITION = f"{_TOLD} = '' OR tenant_id = {_TOLD}"


def walled() -> Iterator[type[models.Model]]:
    """Every table of rows of a tenant, but those with a composite key: they are, or may become, hypertables, which
    take neither compression nor continuous aggregates where row-level security is on."""
    for model in apps.get_models():
        if issubclass(model, TenantOwned) and not isinstance(model._meta.pk, models.CompositePrimaryKey):
            yield model


def unwalled(connection: BaseDatabaseWrapper) -> list[str]:
    """Tables that are there and should have the policy, but do not have it as it is written here."""
    tables = [model._meta.db_table for model in walled()]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT class.relname
            FROM unnest(%s::text[]) AS wanted (name)
            JOIN pg_class AS class ON class.oid = to_regclass(quote_ident(wanted.name))
            LEFT JOIN pg_policy AS policy ON policy.polrelid = class.oid AND policy.polname = %s
                AND policy.polcmd = '*' AND policy.polpermissive
                AND pg_get_expr(policy.polqual, class.oid) LIKE '%%omarino.tenant_id%%'
                AND pg_get_expr(policy.polwithcheck, class.oid) LIKE '%%omarino.tenant_id%%'
            WHERE policy.oid IS NULL OR NOT class.relrowsecurity OR NOT class.relforcerowsecurity
            ORDER BY class.relname
            """,
            [tables, POLICY],
        )
        return [name for (name,) in cursor.fetchall()]


def build(connection: BaseDatabaseWrapper) -> None:
    """Put up the wall where it is missing. Again changes nothing."""
    for table in unwalled(connection):
        statements = sql.SQL(
            "DROP POLICY IF EXISTS {policy} ON {table};"
            "CREATE POLICY {policy} ON {table} USING ({condition}) WITH CHECK ({condition});"
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
            "ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"  # we own the tables, and owners pass otherwise
        ).format(table=sql.Identifier(table), policy=sql.Identifier(POLICY), condition=sql.SQL(CONDITION))
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(statements.as_string(connection.connection))


def build_after_migration(using: str, **_: Any) -> None:
    build(connections[using])
