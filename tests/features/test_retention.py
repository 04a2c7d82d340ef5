"""How long rows are kept, on both databases: nothing goes unasked, and an aggregate outlives its readings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from features import online, retention
from features.actions import remove_asset
from features.catalog import choose
from features.checks import enough_is_kept
from features.models import Asset, Reading, RetentionCut, Weather
from features.tasks import expire, refresh_views

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
AT_ONCE = 100  # a longer statement ends PGlite


@pytest.fixture
def keeps(settings: Any, database: str) -> Iterator[Any]:
    """Retention as it is when somebody asks for it."""
    settings.RETENTION = True
    yield settings
    settings.RETENTION = False
    retention.apply_policies(connection)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE retention_cuts")
        if database == "postgresql":
            cursor.execute("TRUNCATE hourly_features_kept, daily_features_kept")


def put(days: int, *, asset_id: str = "main-meter") -> datetime:
    """An hour's reading each hour of so many days, its number as its value; and weather. Returns where they end."""
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    Asset.objects.get_or_create(tenant_id="alpha", asset_id=asset_id, defaults={"interval_minutes": 60})
    times = [until - days * DAY + hour * HOUR for hour in range(24 * days)]
    readings = [
        Reading(tenant_id="alpha", asset_id=asset_id, timestamp=time, value=float(hour))
        for hour, time in enumerate(times)
    ]
    weather = [
        Weather(tenant_id="alpha", asset_id=asset_id, timestamp=time, temperature=3.5) for time in times
    ]
    Reading.objects.bulk_create(readings, batch_size=AT_ONCE)
    Weather.objects.bulk_create(weather, batch_size=AT_ONCE)
    return until


def drop_old(database: str) -> None:
    """The periodic task; TimescaleDB's own part of it is done by its jobs, which do not run by themselves here."""
    if database == "timescaledb":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' ORDER BY 1"
            )
            for (job,) in cursor.fetchall():
                cursor.execute("CALL run_job(%s)", [job])
    expire()


def hours() -> dict[datetime, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT bucket, hourly_avg FROM hourly_features ORDER BY bucket")
        return dict(cursor.fetchall())


def test_nothing_goes_when_nobody_asked_for_it(database: str) -> None:
    put(days=30)

    drop_old(database)

    assert Reading.objects.count() == Weather.objects.count() == 720
    assert not RetentionCut.objects.exists()


def test_what_the_aggregates_say_outlives_the_readings(keeps: Any, database: str) -> None:
    with_chunks_of_a_day(database)
    put(days=30)
    retention.apply_policies(connection)
    before = hours()
    assert len(before) == 720

    drop_old(database)
    refresh_views()
    refresh_views()

    left = Reading.objects.count()
    assert 7 * 24 - 1 <= left < 9 * 24  # one less where an hour ended meanwhile
    assert hours() == before
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(readings) FROM daily_features")
        assert cursor.fetchone()[0] == 720
    assert Weather.objects.count() == 720


def test_keeping_more_from_now_on_brings_no_aggregate_to_nothing(keeps: Any, database: str) -> None:
    with_chunks_of_a_day(database)
    put(days=30)
    retention.apply_policies(connection)
    before = hours()
    drop_old(database)

    keeps.RETENTION_READINGS_DAYS = 60
    retention.apply_policies(connection)
    refresh_views()
    assert hours() == before

    keeps.RETENTION = False
    retention.apply_policies(connection)
    refresh_views()
    assert hours() == before


def test_what_is_computed_of_deleted_readings_is_not_answered_from_the_cache(
    keeps: Any, database: str
) -> None:
    with_chunks_of_a_day(database)
    until = put(days=30)
    retention.apply_policies(connection)
    cache.clear()
    question = online.Question(choose(None, ["lag_1h"]), until - 20 * DAY, timedelta(hours=8760))
    ask: dict[str, Any] = {"tenant_id": "alpha", "asset_id": "main-meter", "question": question}
    assert online.get(**ask).features == {"lag_1h": 239.0}
    assert online.get(**ask).cache_hit

    drop_old(database)

    answer = online.get(**ask)
    assert (answer.features, answer.cache_hit) == ({"lag_1h": None}, False)


def test_an_old_reading_that_comes_after_changes_no_kept_hour(keeps: Any, database: str) -> None:
    with_chunks_of_a_day(database)
    until = put(days=30)
    retention.apply_policies(connection)
    before = hours()
    drop_old(database)

    Reading.objects.create(
        tenant_id="alpha", asset_id="main-meter", timestamp=until - 20 * DAY + HOUR / 2, value=1e6
    )
    refresh_views()
    assert hours() == before
    drop_old(database)
    refresh_views()
    assert hours() == before


def test_aggregates_go_when_they_are_too_old(keeps: Any, database: str) -> None:
    if database == "timescaledb":
        retention.apply_policies(connection)
        assert policies()["hourly_features"] == "365 days"
        return
    until = put(days=30)
    keeps.RETENTION_HOURLY_DAYS = 10
    drop_old(database)

    kept = hours()
    assert len(kept) in range(10 * 24 - 1, 11 * 24 + 1)
    assert min(kept) >= until - 11 * DAY


def test_the_policies_say_what_the_settings_say(
    keeps: Any, on_timescaledb: None, django_db_blocker: Any
) -> None:
    keeps.RETENTION_READINGS_DAYS = 14
    retention.apply_policies(connection)
    retention.apply_policies(connection)

    assert policies() == {
        "timeseries_data": "14 days",
        "weather_features": "365 days",
        "ai_features": "90 days",
        "hourly_features": "365 days",
        "daily_features": "730 days",
    }
    keeps.RETENTION = False
    retention.apply_policies(connection)
    assert policies() == {}


def test_a_period_too_short_for_the_features_is_warned_of(settings: Any) -> None:
    settings.RETENTION = False
    assert enough_is_kept() == []

    settings.RETENTION = True
    first, second = enough_is_kept()
    assert "7 days, which is too short for lag_168h" in first.msg
    assert "rolling_std_168h" in first.msg
    assert "lag_24h" not in first.msg
    assert "a year" in second.msg

    settings.RETENTION_READINGS_DAYS = 8
    assert [warning.id for warning in enough_is_kept()] == ["features.W002"]
    settings.RETENTION_READINGS_DAYS = 366
    assert enough_is_kept() == []


def test_a_removed_asset_leaves_nothing_in_the_aggregates(keeps: Any, database: str) -> None:
    with_chunks_of_a_day(database)
    put(days=30)
    put(days=1, asset_id="another")
    retention.apply_policies(connection)
    drop_old(database)

    remove_asset(tenant_id="alpha", asset_id="main-meter")

    with connection.cursor() as cursor:
        for view in ("hourly_features", "daily_features"):
            cursor.execute(f"SELECT DISTINCT asset_id FROM {view}")  # noqa: S608
            assert cursor.fetchall() == [("another",)]


def policies() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(retention._POLICIES)
        return dict(cursor.fetchall())


def with_chunks_of_a_day(database: str) -> None:
    """As on a server whose readings came in while retention was on."""
    if database == "timescaledb":
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_chunk_time_interval('timeseries_data', INTERVAL '1 day')")
