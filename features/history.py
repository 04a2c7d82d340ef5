"""The one query of the past: what was read before a moment, and nothing at or after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import Max, Min, Q, QuerySet
from numpy.typing import NDArray

from features.models import WEATHER_COLUMNS, Reading, ReadingRevision

# What meters and data hubs write on values nobody should use. Anything else, such as estimated,
# substituted or suspect, is somebody's best knowledge and is used.
BAD_QUALITY = ("bad", "invalid", "error", "faulty", "missing", "rejected")
EARLIEST_US = 0  # readings begin with 1970
_LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_POINT = np.dtype([("time", ">i8"), ("value", ">f8")])
_POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's binary times begin

Times = NDArray[np.int64]
Values = NDArray[np.float64]

# As it is now, or as it was known then: what arrived later is left out, and what was corrected later is what it
# was before. PostgreSQL takes the conditions around it into both halves.
_KNOWN_THEN = """(
    SELECT {columns} FROM {table} WHERE available_at <= %(as_known_at)s
    UNION ALL
    SELECT {columns} FROM {revisions} WHERE available_at <= %(as_known_at)s AND superseded_at > %(as_known_at)s
)"""
_READINGS_THEN = _KNOWN_THEN.format(
    columns="tenant_id, asset_id, metric, timestamp, value, quality",
    table="timeseries_data",
    revisions="timeseries_revisions",
)
_WEATHER_THEN = _KNOWN_THEN.format(
    columns=", ".join(("tenant_id", "asset_id", "timestamp", *WEATHER_COLUMNS)),
    table="weather_features",
    revisions="weather_revisions",
)
# One bytea of fixed records instead of rows: no object is made for a point. Records mostly come in order;
# numpy sorts them faster than PostgreSQL where they do not.
_PACKED_READING = "timestamptz_send(timestamp) || float8send(value)"
_USABLE = "AND metric = %(metric)s AND (quality IS NULL OR quality <> ALL (%(bad)s))"
_OF_ASSET_SQL = """
SELECT string_agg({packed}, '')
FROM {source} AS stored
WHERE tenant_id = %(tenant_id)s AND asset_id = %(asset_id)s AND timestamp >= %(start)s AND timestamp < %(before)s
  {usable}
"""
# The same of many assets, from several parts of the past. Asset by asset, so that PostgreSQL never reads all of a
# tenant to pick some of its assets from it. The outermost times stand there once more as plain bounds, so that
# TimescaleDB leaves out chunks before it looks.
_OF_ASSETS_SQL = """
SELECT asset.id, found.packed
FROM unnest(%(asset_ids)s::text[]) AS asset(id)
CROSS JOIN LATERAL (
    SELECT string_agg({packed}, '') AS packed
    FROM unnest(%(starts)s::timestamptz[], %(befores)s::timestamptz[]) AS span(start, before)
    JOIN {source} AS stored ON stored.tenant_id = %(tenant_id)s AND stored.asset_id = asset.id
        AND stored.timestamp >= span.start AND stored.timestamp < span.before
    WHERE stored.timestamp >= %(first)s AND stored.timestamp < %(last)s {usable}
) AS found
WHERE found.packed IS NOT NULL
"""
Span = tuple[datetime, datetime]  # [start, before)


def window(
    *,
    tenant_id: str,
    asset_id: str,
    before: datetime,
    start: datetime | None = None,
    metric: str = "value",
    as_known_at: datetime | None = None,
) -> tuple[Times, Values]:
    """Readings of one metric in [start, before), oldest first.

    Args:
        before: the moment the question is asked for (`as_of`); a reading at or after it is not seen.
        start: the earliest time; None for all there is.
        as_known_at: leave out what reached us later; what was corrected later is what it was before. None:
            everything known by now.

    Returns:
        Microseconds since 1970 UTC, int64, shape (n,), strictly increasing; and the values, float64,
        shape (n,), in the unit of the asset, never NaN. Values of a quality in BAD_QUALITY are left out.
    """
    about = {
        "tenant_id": tenant_id,
        "asset_id": asset_id,
        "metric": metric,
        "start": start or _LONG_AGO,
        "before": before,
        "as_known_at": as_known_at,
        "bad": list(BAD_QUALITY),
    }
    records = _records(_readings_sql(_OF_ASSET_SQL, as_known_at), about, _POINT)
    return _times(records), records["value"].astype(np.float64)


@dataclass(frozen=True, slots=True)
class WeatherWindow:
    """times_us: int64, shape (n,), increasing. columns: float64, shape (n,) each, NaN where unknown."""

    times_us: Times
    columns: dict[str, Values]


def weather(
    *,
    tenant_id: str,
    asset_id: str,
    start: datetime,
    before: datetime,
    as_known_at: datetime | None = None,
) -> WeatherWindow:
    """The weather of [start, before): measured where that is past, forecast where it is ahead.

    Only columns with at least one value are in the answer. `as_known_at`: as in `window`.
    """
    about = {
        "tenant_id": tenant_id,
        "asset_id": asset_id,
        "start": start,
        "before": before,
        "as_known_at": as_known_at,
    }
    sql = _weather_sql(_OF_ASSET_SQL, WEATHER_COLUMNS, as_known_at)
    return _weather_window(_records(sql, about, _weather_record(WEATHER_COLUMNS)))


def windows(
    *,
    tenant_id: str,
    asset_ids: Sequence[str],
    spans: Sequence[Span],
    metric: str = "value",
    as_known_at: datetime | None = None,
) -> dict[str, tuple[Times, Values]]:
    """Readings of many assets in the disjoint `spans`, in one query; each as in `window`.

    An asset without a reading there is not in the answer.
    """
    about = {"metric": metric, "bad": list(BAD_QUALITY)}
    sql = _readings_sql(_OF_ASSETS_SQL, as_known_at)
    packed = _records_of_assets(sql, tenant_id, asset_ids, spans, as_known_at, _POINT, about)
    return {asset_id: (_times(records), records["value"].astype(np.float64)) for asset_id, records in packed}


def weather_of(
    *,
    tenant_id: str,
    asset_ids: Sequence[str],
    start: datetime,
    before: datetime,
    columns: Sequence[str] = WEATHER_COLUMNS,
    as_known_at: datetime | None = None,
) -> dict[str, WeatherWindow]:
    """The weather of [start, before) at many assets, in one query; each as in `weather`, of these columns."""
    sql = _weather_sql(_OF_ASSETS_SQL, columns, as_known_at)
    record = _weather_record(columns)
    packed = _records_of_assets(sql, tenant_id, asset_ids, [(start, before)], as_known_at, record, {})
    return {asset_id: _weather_window(records) for asset_id, records in packed}


def latest_at(
    *,
    tenant_id: str,
    asset_id: str,
    before: datetime | None = None,
    metric: str = "value",
    as_known_at: datetime | None = None,
) -> datetime | None:
    """Time of the last usable reading (before `before`), or None. `as_known_at`: as in `window`."""
    readings = _usable(tenant_id, asset_id, metric)
    then = {} if as_known_at is None else {"available_at__lte": as_known_at}
    past = {} if before is None else {"timestamp__lt": before}
    latest: datetime | None = readings.filter(**then, **past).aggregate(latest=Max("timestamp"))["latest"]
    if as_known_at is None:
        return latest
    earlier = _usable(tenant_id, asset_id, metric, of=ReadingRevision).filter(
        **then, **past, superseded_at__gt=as_known_at
    )
    corrected: datetime | None = earlier.aggregate(latest=Max("timestamp"))["latest"]
    return max(filter(None, (latest, corrected)), default=None)


def bounds(
    *, tenant_id: str, asset_id: str, before: datetime, metric: str = "value"
) -> tuple[datetime, datetime] | tuple[None, None]:
    """Times of the first and of the last usable reading before `before`."""
    readings = _usable(tenant_id, asset_id, metric).filter(timestamp__lt=before)
    found = readings.aggregate(first=Min("timestamp"), last=Max("timestamp"))
    return found["first"], found["last"]


def latest_readings(*, tenant_id: str, asset_id: str, limit: int = 20) -> QuerySet[Reading]:
    """The newest readings of all metrics, whatever their quality."""
    readings = Reading.objects.for_tenant(tenant_id).filter(asset_id=asset_id)
    return readings.order_by("-timestamp", "metric")[:limit]


@dataclass(frozen=True, slots=True)
class Gap:
    """Where readings are missing: after the reading at `after`, until the one at `until`."""

    after: datetime
    until: datetime
    missing: int


@dataclass(frozen=True, slots=True)
class GapSummary:
    """readings: how many there are from `first` to `last`; gaps: the longest, newest first among equals."""

    readings: int
    missing: int
    gap_count: int
    first: datetime | None
    last: datetime | None
    longest: list[Gap]


def gaps(
    *,
    tenant_id: str,
    asset_id: str,
    interval: timedelta,
    start: datetime | None = None,
    before: datetime | None = None,
    metric: str = "value",
    limit: int = 20,
) -> GapSummary:
    """Where usable readings of [start, before) are further apart than one and a half intervals."""
    end = before or datetime.fromisoformat("9999-01-01T00:00:00+00:00")
    times, _ = window(tenant_id=tenant_id, asset_id=asset_id, metric=metric, start=start, before=end)
    step = int(interval / timedelta(microseconds=1))
    distances = np.diff(times)
    (holes,) = np.nonzero(2 * distances > 3 * step)
    missing = np.rint(distances[holes] / step).astype(np.int64) - 1
    longest = sorted(zip(missing.tolist(), holes.tolist(), strict=True), reverse=True)[:limit]
    return GapSummary(
        readings=int(times.size),
        missing=int(missing.sum()),
        gap_count=int(holes.size),
        first=_moment(times[0]) if times.size else None,
        last=_moment(times[-1]) if times.size else None,
        longest=[Gap(_moment(times[hole]), _moment(times[hole + 1]), count) for count, hole in longest],
    )


def _usable(
    tenant_id: str, asset_id: str, metric: str, of: type[Reading | ReadingRevision] = Reading
) -> QuerySet[Any]:
    readings = of.objects.for_tenant(tenant_id).filter(asset_id=asset_id, metric=metric)
    return readings.filter(Q(quality__isnull=True) | ~Q(quality__in=BAD_QUALITY))


def _readings_sql(template: str, as_known_at: datetime | None) -> str:
    source = "timeseries_data" if as_known_at is None else _READINGS_THEN
    return template.format(packed=_PACKED_READING, source=source, usable=_USABLE)


def _weather_sql(template: str, columns: Sequence[str], as_known_at: datetime | None) -> str:
    source = "weather_features" if as_known_at is None else _WEATHER_THEN
    values = (f"float8send(coalesce({name}, 'NaN'))" for name in columns)
    packed = " || ".join(["timestamptz_send(timestamp)", *values])
    return template.format(packed=packed, source=source, usable="")


def _weather_record(columns: Sequence[str]) -> np.dtype[np.void]:
    return np.dtype([("time", ">i8"), *((name, ">f8") for name in columns)])


def _records(sql: str, parameters: dict[str, Any], record: np.dtype[np.void]) -> NDArray[np.void]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        (packed,) = cursor.fetchone()
    return _in_order(packed or b"", record)


def _records_of_assets(
    sql: str,
    tenant_id: str,
    asset_ids: Sequence[str],
    spans: Sequence[Span],
    as_known_at: datetime | None,
    record: np.dtype[np.void],
    about: dict[str, Any],
) -> list[tuple[str, NDArray[np.void]]]:
    if not spans or not asset_ids:
        return []
    starts, befores = zip(*spans, strict=True)
    parameters = {
        "tenant_id": tenant_id,
        "asset_ids": list(asset_ids),
        "starts": list(starts),
        "befores": list(befores),
        "first": min(starts),
        "last": max(befores),
        "as_known_at": as_known_at,
        **about,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [(asset_id, _in_order(packed, record)) for asset_id, packed in cursor.fetchall()]


def _weather_window(records: NDArray[np.void]) -> WeatherWindow:
    columns = {name: records[name].astype(np.float64) for name in (records.dtype.names or ())[1:]}
    known = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    return WeatherWindow(_times(records), known)


def _in_order(packed: bytes, record: np.dtype[np.void]) -> NDArray[np.void]:
    records = np.frombuffer(packed, dtype=record)
    times = records["time"].astype(np.int64)
    return records if (np.diff(times) > 0).all() else records[np.argsort(times)]


def _times(records: NDArray[np.void]) -> Times:
    times: Times = records["time"].astype(np.int64) + _POSTGRES_EPOCH_US
    return times


def _moment(time_us: np.int64) -> datetime:
    return _LONG_AGO + timedelta(microseconds=int(time_us))
