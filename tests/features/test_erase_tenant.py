"""An erased tenant is gone from the hypertables, from what the aggregates keep of them and from the materialized views,
on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from features.aggregates import AGGREGATES, MATERIALIZED, refresh_views
from features.models import Reading, Weather
from omarino import tenant_data
from omarino.authentication import Principal
from omarino.permissions import ROLES
from tests.factories import make_asset

START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.usefixtures("database")
def test_an_erased_tenant_is_gone_from_readings_and_all_that_was_made_of_them(database: str) -> None:
    owners = [Principal(name, f"{name}-of-{database}", ROLES, name) for name in ("vera", "otto")]
    for owner in owners:
        key = {"tenant_id": owner.tenant_id, "asset_id": make_asset(owner).asset_id}
        hours = [START + timedelta(hours=hour) for hour in range(48)]
        Reading.objects.bulk_create([Reading(**key, metric="value", timestamp=at, value=1.0) for at in hours])
        Weather.objects.bulk_create([Weather(**key, timestamp=at, temperature=3.5) for at in hours])
    if database == "timescaledb":
        with connection.cursor() as cursor:
            for view in ("hourly_features", "daily_features"):
                cursor.execute(f"CALL refresh_continuous_aggregate('{view}', NULL, NULL)")
        kept = [table for table in tenant_data.tables() if "_materialized_hypertable_" in table.name]
        assert {table.count(owners[0].tenant_id) > 0 for table in kept} == {True}
        assert len(kept) == 2
    refresh_views(connection)
    assert {view.plain_name: view.count(owners[0].tenant_id) for view in tenant_data.views()} == {
        "anomaly_detection_features": 48,
        "forecast_basic_features": 48,
    }

    out = StringIO()
    call_command("erase_tenant", owners[0].tenant_id, confirm=owners[0].tenant_id, stdout=out)

    said = out.getvalue()
    assert "Found afterwards: nothing." in said
    deleted, _, searched = said.partition("Searched:")
    for name in MATERIALIZED:
        assert f"48  {name}\n" in deleted
        assert name in searched
    if database == "timescaledb":
        assert all(name in searched for name in AGGREGATES)
    with connection.cursor() as cursor:
        for table in ("timeseries_data", "weather_features", *AGGREGATES, *MATERIALIZED):
            cursor.execute(f"SELECT DISTINCT tenant_id FROM {table}")  # noqa: S608
            assert cursor.fetchall() == [(owners[1].tenant_id,)], table
