"""Plain PostgreSQL where TimescaleDB is not to be had: the same names, the same keys."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.db import connection

from features.timescale import make_hypertables

pytestmark = pytest.mark.django_db


def key_of(table: str) -> list[str]:
    with connection.cursor() as cursor:
        return connection.introspection.get_primary_key_columns(cursor, table) or []


def test_readings_and_weather_are_keyed_by_tenant_asset_and_time() -> None:
    assert key_of("timeseries_data") == ["tenant_id", "asset_id", "metric", "timestamp"]
    assert key_of("weather_features") == ["tenant_id", "asset_id", "timestamp"]


def test_the_contracts_columns_are_there() -> None:
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, "timeseries_data")
    columns = {column.name for column in described}

    assert columns >= {"timestamp", "tenant_id", "asset_id", "metric", "value", "quality"}


def test_without_timescaledb_tables_stay_as_they_are() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'")
        (available,) = cursor.fetchone()
    said = io.StringIO()
    call_command("make_hypertables", stdout=said)

    assert make_hypertables(connection) is bool(available)
    assert ("are hypertables" if available else "has no TimescaleDB") in said.getvalue()
