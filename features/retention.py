"""How long rows are kept, where a deployment asked for that: by TimescaleDB's policies, else by a periodic task.

What an aggregate says of a time outlives the readings of that time: on plain PostgreSQL because it is put aside
before they go, with TimescaleDB because no refresh looks at that time again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from psycopg import sql

from features import aggregates
from features.models import (
    Asset,
    Reading,
    ReadingRevision,
    RetentionCut,
    StoredFeatures,
    Weather,
    WeatherRevision,
)
from features.timescale import has_hypertables, unhurried

READINGS = "timeseries_data"
_DAY = timedelta(days=1)
_POLICIES = """
SELECT coalesce(aggregate.view_name, job.hypertable_name), job.config ->> 'drop_after'
FROM timescaledb_information.jobs AS job
LEFT JOIN timescaledb_information.continuous_aggregates AS aggregate
    ON aggregate.materialization_hypertable_name = job.hypertable_name
WHERE job.proc_name = 'policy_retention'
"""
log = structlog.get_logger(__name__)


def kept_days() -> dict[str, int]:
    """Of each table and aggregate, how long its rows are kept; nothing where all are."""
    if not settings.RETENTION:
        return {}
    return {
        READINGS: settings.RETENTION_READINGS_DAYS,
        "weather_features": settings.RETENTION_WEATHER_DAYS,
        "ai_features": settings.RETENTION_FEATURES_DAYS,
        "hourly_features": settings.RETENTION_HOURLY_DAYS,
        "daily_features": settings.RETENTION_DAILY_DAYS,
    }


def dropped_before() -> datetime | None:
    """Readings before this are gone, or going; None where none ever went."""
    return RetentionCut.objects.filter(table_name=READINGS).values_list("before", flat=True).first()


def apply_policies(connection: BaseDatabaseWrapper) -> None:
    """With TimescaleDB, have its policies say what the settings say. Again changes nothing; not in a transaction."""
    if not has_hypertables(connection):
        return
    wanted = kept_days()
    with connection.cursor() as cursor:
        cursor.execute(_POLICIES)
        present = dict(cursor.fetchall())
    for name in (READINGS, "weather_features", "ai_features", *aggregates.AGGREGATES):
        days = f"{wanted[name]} days" if name in wanted else None
        if present.get(name) == days:
            continue
        if name == READINGS and days is not None:
            # All of it must be in the aggregates before the first of it goes.
            aggregates.refresh_aggregates(connection, since=dropped_before())
        with connection.cursor() as cursor:
            cursor.execute("SELECT remove_retention_policy(%s, if_exists => TRUE)", [name])
            if days is not None:
                cursor.execute("SELECT add_retention_policy(%s, drop_after => %s::interval)", [name, days])
            if name == READINGS and days is not None:
                # Whole chunks are dropped, so that they should be small beside what is kept.
                chunk = max(1, min(30, wanted[name] // 7))
                cursor.execute("SELECT set_chunk_time_interval(%s, %s::interval)", [name, f"{chunk} days"])


def expire(*, now: datetime) -> dict[str, int]:
    """Delete what is older than it is kept, of all tenants; how many rows of each table that were.

    Of what TimescaleDB drops by itself only the consequences are drawn: an answer in the cache is out of date.
    """
    wanted = kept_days()
    if not wanted:
        return {}
    timescale = has_hypertables(connection)
    cuts = {name: _midnight(now) - days * _DAY for name, days in wanted.items()}
    readings, weather = cuts[READINGS], cuts["weather_features"]
    with unhurried(connection):
        went = {} if timescale else _expire_rows(cuts)
        if timescale and _advance(readings):
            Asset.objects.update(data_version=F("data_version") + 1)
        went["timeseries_revisions"] = ReadingRevision.objects.filter(timestamp__lt=readings).delete()[0]
        went["weather_revisions"] = WeatherRevision.objects.filter(timestamp__lt=weather).delete()[0]
    log.info("retention", **went)
    return went


def _expire_rows(cuts: dict[str, datetime]) -> dict[str, int]:
    """On plain PostgreSQL: an asset at a time, so that no lock is held for long."""
    _put_aside(cuts[READINGS])
    went = {READINGS: 0, "weather_features": 0}
    for pk in Asset.objects.values_list("pk", flat=True):
        with transaction.atomic():
            asset = Asset.objects.select_for_update().filter(pk=pk).first()
            if asset is None:
                continue
            of_asset = {"tenant_id": asset.tenant_id, "asset_id": asset.asset_id}
            readings = Reading.objects.filter(**of_asset, timestamp__lt=cuts[READINGS])
            weather = Weather.objects.filter(**of_asset, timestamp__lt=cuts["weather_features"])
            gone = readings._raw_delete(readings.db), weather._raw_delete(weather.db)
            if any(gone):
                asset.data_version += 1  # what was computed of them is out of date
                asset.save(update_fields=["data_version"])
            went[READINGS] += gone[0]
            went["weather_features"] += gone[1]
    stored = StoredFeatures.objects.filter(timestamp__lt=cuts["ai_features"])
    went["ai_features"] = stored._raw_delete(stored.db)
    with connection.cursor() as cursor:
        for name in aggregates.AGGREGATES:
            kept = sql.Identifier(f"{name}_kept")
            cursor.execute(sql.SQL("DELETE FROM {} WHERE bucket < %s").format(kept), [cuts[name]])
            went[name] = cursor.rowcount
    return went


def _put_aside(before: datetime) -> None:
    """What the aggregates say of the time before; from then on they do not look at its readings."""
    with transaction.atomic(), connection.cursor() as cursor:
        since = dropped_before()
        if not _advance(before):
            return
        for name in aggregates.AGGREGATES:
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {} SELECT * FROM {} WHERE bucket >= coalesce(%s::timestamptz, '-infinity')"
                    " AND bucket < %s ON CONFLICT DO NOTHING"
                ).format(sql.Identifier(f"{name}_kept"), sql.Identifier(f"{name}_live")),
                [since, before],
            )


def _advance(before: datetime) -> bool:
    """Whether that moves the cut; it never goes back, also when more is to be kept from now on."""
    RetentionCut.objects.get_or_create(
        table_name=READINGS, defaults={"before": datetime(1970, 1, 1, tzinfo=UTC)}
    )
    return RetentionCut.objects.filter(table_name=READINGS, before__lt=before).update(before=before) == 1


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
