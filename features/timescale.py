"""TimescaleDB where the server has it: the same tables, as hypertables. Which `aggregates` builds upon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from django.db import ProgrammingError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import InsufficientPrivilege

SQL = Path(__file__).parent / "sql"
HYPERTABLES = ("timeseries_data", "weather_features", "ai_features")
log = structlog.get_logger(__name__)


def have_timescaledb(connection: BaseDatabaseWrapper) -> bool:
    """Is the extension in this database, or can this role put it there?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT installed_version FROM pg_available_extensions WHERE name = 'timescaledb'")
        found = cursor.fetchone()
    if found is None:
        return False
    if found[0] is not None:
        return True
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except ProgrammingError as fault:
        if not isinstance(fault.__cause__, InsufficientPrivilege):
            raise
        log.warning(
            "timescaledb_not_created",
            hint="A superuser may run CREATE EXTENSION timescaledb; then run manage.py make_hypertables.",
        )
        return False
    return True


def make_hypertables(connection: BaseDatabaseWrapper) -> bool:
    """Turn the tables that there are into hypertables; False where TimescaleDB is not to be had. Again changes nothing."""
    if not have_timescaledb(connection):
        return False
    present = connection.introspection.table_names()
    for table in HYPERTABLES:
        if table in present:  # the first migration that asks comes before the last table
            run_file(connection, f"{table}_hypertable")
    return True


def has_hypertables(connection: BaseDatabaseWrapper) -> bool:
    """Are the readings a hypertable? Asks, and changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('timescaledb_information.hypertables')")
        if cursor.fetchone()[0] is None:
            return False
        cursor.execute(
            "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables WHERE hypertable_name = 'timeseries_data')"
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def unhurried(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Statements in the block may take as long as they need; not within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        try:
            yield
        finally:
            cursor.execute("RESET statement_timeout")


def run_file(connection: BaseDatabaseWrapper, name: str) -> None:
    """Run features/sql/<name>.sql."""
    with connection.cursor() as cursor:
        cursor.execute((SQL / f"{name}.sql").read_text())
