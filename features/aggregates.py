"""The database objects for people who work in SQL: aggregates by hour and day, features of sets, functions.

The same names and columns on both databases. What TimescaleDB keeps as continuous aggregates, plain PostgreSQL
computes in views. All of it from the files in sql/, one an object; a test holds them equal to `compute`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError
from django.utils import timezone
from psycopg import sql

from features.timescale import has_hypertables, run_file, unhurried

AGGREGATES = {"hourly_features": timedelta(hours=1), "daily_features": timedelta(hours=24)}
FUNCTIONS = ("get_lag_features", "get_rolling_features")
MATERIALIZED = ("forecast_basic_features", "anomaly_detection_features")
_KIND = "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)"
_IS_CONTINUOUS = (
    "SELECT EXISTS (SELECT FROM timescaledb_information.continuous_aggregates WHERE view_name = %s)"
)
# Never further back than the shortest time readings can be kept for, so that it finds them all there still:
# a refresh over a time whose readings are gone would take the aggregate with them.
_POLICY = """
SELECT add_continuous_aggregate_policy(
    %s, start_offset => INTERVAL '3 days', end_offset => %s, schedule_interval => INTERVAL '30 minutes',
    if_not_exists => TRUE
)
"""
_MATERIALIZED_IN = """
SELECT materialization_hypertable_schema, materialization_hypertable_name
FROM timescaledb_information.continuous_aggregates WHERE view_name = ANY(%s)
"""
log = structlog.get_logger(__name__)


def make_objects(connection: BaseDatabaseWrapper) -> None:
    """Make what is missing, in the form that suits this database. Again changes nothing."""
    timescale = has_hypertables(connection)
    for name in AGGREGATES:
        if timescale:
            _make_continuous(connection, name)
        elif _kind(connection, name) is None:
            run_file(connection, f"{name}.postgresql")
    for name in FUNCTIONS:
        run_file(connection, name)
    for name in MATERIALIZED:
        if _kind(connection, name) is None:
            run_file(connection, name)


def drop_objects(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for name in MATERIALIZED:
            cursor.execute(f"DROP MATERIALIZED VIEW IF EXISTS {name}")
        cursor.execute("DROP FUNCTION IF EXISTS get_lag_features, get_rolling_features")
        for name in AGGREGATES:
            if has_hypertables(connection):
                cursor.execute(f"DROP MATERIALIZED VIEW IF EXISTS {name}")
            else:
                cursor.execute(f"DROP VIEW IF EXISTS {name}, {name}_live")
                cursor.execute(f"DROP TABLE IF EXISTS {name}_kept")


def refresh_views(connection: BaseDatabaseWrapper) -> None:
    """Bring the materialized views up to date while others read them; their comment says when."""
    with unhurried(connection), connection.cursor() as cursor:
        for name in MATERIALIZED:
            cursor.execute(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {name}")
            cursor.execute(f"COMMENT ON MATERIALIZED VIEW {name} IS '{timezone.now().isoformat()}'")


def refresh_aggregates(connection: BaseDatabaseWrapper, *, since: datetime | None) -> None:
    """Bring the continuous aggregates up to date with readings that came late, however late.

    `since`: what was dropped lies before it, and is not looked at again. Not within a transaction.
    """
    if not has_hypertables(connection):
        return
    with unhurried(connection), connection.cursor() as cursor:
        for name, width in AGGREGATES.items():
            bounds: list[Any] = [name, since, width]
            try:
                cursor.execute(
                    "CALL refresh_continuous_aggregate(%s, %s::timestamptz, now() - %s::interval)", bounds
                )
            except OperationalError as fault:  # another refresh is at it: that one does the work
                log.info("refresh_left_to_another", reason=str(fault).strip())


def forget(connection: BaseDatabaseWrapper, *, tenant_id: str, asset_id: str) -> None:
    """Delete what the aggregates keep of an asset; the materialized views lose it with their next refresh."""
    with connection.cursor() as cursor:
        if has_hypertables(connection):
            cursor.execute(_MATERIALIZED_IN, [list(AGGREGATES)])
            kept = [sql.Identifier(schema, table) for schema, table in cursor.fetchall()]
        else:
            kept = [sql.Identifier(f"{name}_kept") for name in AGGREGATES]
        for table in kept:
            statement = sql.SQL("DELETE FROM {} WHERE tenant_id = %s AND asset_id = %s").format(table)
            cursor.execute(statement, [tenant_id, asset_id])


def _make_continuous(connection: BaseDatabaseWrapper, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_IS_CONTINUOUS, [name])
        (already,) = cursor.fetchone()
        if not already:
            # TimescaleDB came later. What retention kept of plain PostgreSQL stays in its table.
            cursor.execute(f"DROP VIEW IF EXISTS {name}, {name}_live")
            run_file(connection, f"{name}.timescaledb")
        policy: list[Any] = [name, AGGREGATES[name]]
        cursor.execute(_POLICY, policy)


def _kind(connection: BaseDatabaseWrapper, name: str) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(_KIND, [name])
        found = cursor.fetchone()
    return None if found is None else str(found[0])
