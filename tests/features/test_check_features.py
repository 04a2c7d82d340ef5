"""manage.py check_features: how the feature store is, on both databases."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from features import aggregates
from features.models import Asset, Reading, Weather
from features.tasks import refresh_views

START = datetime(2025, 1, 1, tzinfo=UTC)
TABLES = ["timeseries_data", "weather_features", "ai_features"]


@pytest.fixture
def readings(database: str) -> None:
    Asset.objects.create(tenant_id="alpha", asset_id="main-meter")
    Asset.objects.create(tenant_id="gamma", asset_id="main-meter")
    Reading.objects.bulk_create(
        Reading(tenant_id="alpha", asset_id="main-meter", timestamp=START + timedelta(hours=hour), value=1.0)
        for hour in range(48)
    )
    Weather.objects.create(tenant_id="gamma", asset_id="main-meter", timestamp=START, temperature=1.0)


def said(**options: Any) -> str:
    out = io.StringIO()
    call_command("check_features", stdout=out, **options)
    return out.getvalue()


def test_it_says_what_is_there(readings: None, database: str) -> None:
    refresh_views()

    found = json.loads(said(json=True))

    timescale = database == "timescaledb"
    assert bool(found["timescaledb"]) is timescale
    assert [table["name"] for table in found["tables"]] == TABLES
    assert [table["hypertable"] for table in found["tables"]] == [timescale] * 3
    assert found["tables"][0]["chunks"] == (1 if timescale else None)
    assert found["tables"][0]["bytes"] > 0
    assert found["tables"][0]["oldest"] == "2025-01-01T00:00:00Z"
    assert {each["name"] for each in found["aggregates"]} == set(aggregates.AGGREGATES)
    assert {each["form"] for each in found["aggregates"]} == {"continuous aggregate" if timescale else "view"}
    assert all(each["behind_seconds"] == 0 for each in found["aggregates"])
    assert {each["name"]: each["rows"] for each in found["views"]} == dict.fromkeys(
        aggregates.MATERIALIZED, 48
    )
    assert all(each["refreshed_at"] for each in found["views"])
    assert found["functions"] == [{"name": name, "present": True} for name in aggregates.FUNCTIONS]
    assert found["tenants"] == [
        {"tenant_id": "alpha", "assets": 1, "readings": 48, "weather": 0, "features": 0},
        {"tenant_id": "gamma", "assets": 1, "readings": 0, "weather": 1, "features": 0},
    ]
    assert found["faults"] == []


def test_a_person_can_read_it(readings: None, database: str) -> None:
    refresh_views()

    text = said()

    assert ("TimescaleDB 2.2" if database == "timescaledb" else "without TimescaleDB") in text
    assert "Retention off: everything is kept" in text
    for name in (*TABLES, *aggregates.AGGREGATES, *aggregates.MATERIALIZED, *aggregates.FUNCTIONS, "alpha"):
        assert name in text
    assert max(map(len, text.splitlines())) <= 160


def test_it_fails_and_says_what_to_do_when_views_are_old_or_missing(readings: None, database: str) -> None:
    refresh_views()
    with connection.cursor() as cursor:
        cursor.execute("COMMENT ON MATERIALIZED VIEW forecast_basic_features IS '2025-01-01T00:00:00+00:00'")
    with pytest.raises(CommandError, match=r"forecast_basic_features was last refreshed .* beat running"):
        said()

    with connection.cursor() as cursor:
        cursor.execute("DROP MATERIALIZED VIEW forecast_basic_features")
    with pytest.raises(CommandError, match=r"Missing: forecast_basic_features\. Run manage\.py migrate"):
        said(json=True)

    call_command("migrate", verbosity=0)
    refresh_views()
    assert said()


def test_the_migrations_leave_on_timescaledb_what_they_should(
    on_timescaledb: None, transactional_db: None
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1")
        hypertables = [name for (name,) in cursor.fetchall()]
        cursor.execute(
            "SELECT view_name, materialized_only FROM timescaledb_information.continuous_aggregates ORDER BY 1"
        )
        continuous = cursor.fetchall()
        cursor.execute(
            """
            SELECT aggregate.view_name, job.schedule_interval, job.config ->> 'start_offset'
            FROM timescaledb_information.jobs AS job
            JOIN timescaledb_information.continuous_aggregates AS aggregate
                ON job.hypertable_name IN (aggregate.materialization_hypertable_name, aggregate.view_name)
            WHERE job.proc_name = 'policy_refresh_continuous_aggregate' ORDER BY 1
            """
        )
        policies = cursor.fetchall()
        cursor.execute(
            "SELECT tablename FROM pg_indexes WHERE indexdef LIKE 'CREATE UNIQUE INDEX%%_once%%' AND tablename = ANY(%s)",
            [list(aggregates.MATERIALIZED)],
        )
        unique = {name for (name,) in cursor.fetchall()}

    assert hypertables == sorted(TABLES)
    assert continuous == [("daily_features", False), ("hourly_features", False)]
    half_an_hour = timedelta(minutes=30)
    assert policies == [
        ("daily_features", half_an_hour, "3 days"),
        ("hourly_features", half_an_hour, "3 days"),
    ]
    assert unique == set(aggregates.MATERIALIZED)
