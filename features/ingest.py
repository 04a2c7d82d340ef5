"""Readings and weather into the database, in bulk, in one transaction: all of it or nothing.

Rows are copied into a temporary table in PostgreSQL's binary format, made by numpy without an object a
row, and put from there into the table. Whoever imports holds the asset's row meanwhile, so imports of one
asset follow one another, and what is new, changed or the same can be told apart without ON CONFLICT,
which costs more than twice the time and writes to every row that stays the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from features.batches import Ints, Outcome, ReadingBatch, Rejections, WeatherBatch
from features.errors import AssetInvalid, UnitMismatch
from features.models import WEATHER_COLUMNS, Asset, Kind
from omarino import audit

CHUNK_BYTES = 1 << 20  # what libpq is given at once
MAX_CODES = 32_767  # metrics and qualities of one import, numbered in an int2
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's binary times begin

_INCOMING_READINGS = """
CREATE TEMP TABLE IF NOT EXISTS incoming_readings (
    row int8, metric int2, timestamp timestamptz, value float8, quality int2
) ON COMMIT DELETE ROWS
"""
_INCOMING_WEATHER = f"""
CREATE TEMP TABLE IF NOT EXISTS incoming_weather (
    row int8, timestamp timestamptz, {", ".join(f"{name} float8" for name in WEATHER_COLUMNS)}
) ON COMMIT DELETE ROWS
"""
_KEEP_LAST = """
DELETE FROM {table} WHERE ctid IN (
    SELECT ctid FROM (
        SELECT ctid, row_number() OVER (PARTITION BY {key} ORDER BY row DESC) AS place FROM {table}
    ) AS placed WHERE place > 1
)
"""
# The bounds let PostgreSQL look at the stored rows of this time only, and TimescaleDB at these chunks only.
_SAME_READING = """
    stored.tenant_id = %(tenant_id)s AND stored.asset_id = %(asset_id)s
    AND stored.metric = (%(metrics)s::text[])[incoming.metric] AND stored.timestamp = incoming.timestamp
    AND stored.timestamp BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz
"""
_CHANGED_READING = f"""
{_SAME_READING} AND (stored.value, stored.quality)
    IS DISTINCT FROM (incoming.value, (%(qualities)s::text[])[incoming.quality])
"""
_KEEP_READINGS = f"""
INSERT INTO timeseries_revisions (tenant_id, asset_id, metric, timestamp, value, quality, available_at)
SELECT stored.tenant_id, stored.asset_id, stored.metric, stored.timestamp, stored.value, stored.quality,
    stored.available_at
FROM timeseries_data AS stored, incoming_readings AS incoming
WHERE {_CHANGED_READING}
"""  # noqa: S608  no value is put into the text
_UPDATE_READINGS = f"""
UPDATE timeseries_data AS stored
SET value = incoming.value, quality = (%(qualities)s::text[])[incoming.quality], available_at = now()
FROM incoming_readings AS incoming
WHERE {_CHANGED_READING}
"""  # noqa: S608
_INSERT_READINGS = f"""
INSERT INTO timeseries_data (tenant_id, asset_id, metric, timestamp, value, quality)
SELECT %(tenant_id)s, %(asset_id)s, (%(metrics)s::text[])[metric], timestamp, value,
    (%(qualities)s::text[])[quality]
FROM incoming_readings AS incoming
WHERE NOT EXISTS (SELECT FROM timeseries_data AS stored WHERE {_SAME_READING})
"""  # noqa: S608
_SAME_WEATHER = """
    stored.tenant_id = %(tenant_id)s AND stored.asset_id = %(asset_id)s
    AND stored.timestamp = incoming.timestamp
    AND stored.timestamp BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz
"""
_GIVEN = {name: f"nullif(incoming.{name}, 'NaN')" for name in WEATHER_COLUMNS}
_MERGED = {name: f"coalesce({given}, stored.{name})" for name, given in _GIVEN.items()}
# What a row does not say stays as it was: temperature and irradiance may come from two files.
_CHANGED_WEATHER = f"""
{_SAME_WEATHER} AND ({", ".join(f"stored.{name}" for name in WEATHER_COLUMNS)})
    IS DISTINCT FROM ({", ".join(_MERGED.values())})
"""
_KEEP_WEATHER = f"""
INSERT INTO weather_revisions (tenant_id, asset_id, timestamp, {", ".join(WEATHER_COLUMNS)}, available_at)
SELECT stored.tenant_id, stored.asset_id, stored.timestamp,
    {", ".join(f"stored.{name}" for name in WEATHER_COLUMNS)}, stored.available_at
FROM weather_features AS stored, incoming_weather AS incoming
WHERE {_CHANGED_WEATHER}
"""  # noqa: S608
_UPDATE_WEATHER = f"""
UPDATE weather_features AS stored
SET {", ".join(f"{name} = {merged}" for name, merged in _MERGED.items())}, available_at = now()
FROM incoming_weather AS incoming
WHERE {_CHANGED_WEATHER}
"""  # noqa: S608
_INSERT_WEATHER = f"""
INSERT INTO weather_features (tenant_id, asset_id, timestamp, {", ".join(WEATHER_COLUMNS)})
SELECT %(tenant_id)s, %(asset_id)s, timestamp, {", ".join(_GIVEN.values())}
FROM incoming_weather AS incoming
WHERE NOT EXISTS (SELECT FROM weather_features AS stored WHERE {_SAME_WEATHER})
"""  # noqa: S608


def store_readings(
    *,
    tenant_id: str,
    asset_id: str,
    batches: Iterable[ReadingBatch],
    rejections: Rejections,
    about_asset: Mapping[str, Any] | None = None,
    may_take_long: bool = False,
) -> Outcome:
    """Store readings of one asset; the same readings again change nothing.

    `about_asset` (unit, kind, timezone, country ...) describes an asset seen for the first time, and fills
    what nobody has said of a known one. `batches` may read a file while it is iterated: what it raises
    undoes everything. `may_take_long` lifts the statement timeout, for imports by an operator.
    """
    with transaction.atomic():
        asset = _hold_asset(tenant_id, asset_id, about_asset or {})
        metrics, qualities, span, content = Codes(), Codes(), Span(), hashlib.sha256()
        with _incoming(_INCOMING_READINGS, "incoming_readings", may_take_long, content) as write:
            for batch in batches:
                if batch.rows.size == 0:
                    continue
                code = metrics.of(batch.metric)
                span.saw(code, batch.times_us)
                write(
                    batch.rows,
                    np.full(batch.rows.size, code, dtype=np.int16),
                    batch.times_us - _POSTGRES_EPOCH_US,
                    batch.values,
                    _quality_codes(batch, qualities),
                )
        parameters = {"metrics": metrics.names, "qualities": qualities.names}
        content.update(json.dumps(parameters).encode())
        keys = ("incoming_readings", "metric, timestamp")
        return _settle(
            asset,
            keys,
            (_KEEP_READINGS, _UPDATE_READINGS, _INSERT_READINGS),
            span,
            rejections,
            parameters,
            content.hexdigest(),
        )


def store_weather(
    *,
    tenant_id: str,
    asset_id: str,
    batches: Iterable[WeatherBatch],
    rejections: Rejections,
    about_asset: Mapping[str, Any] | None = None,
    may_take_long: bool = False,
) -> Outcome:
    """Store the weather at one asset, past or ahead; like `store_readings`."""
    with transaction.atomic():
        asset = _hold_asset(tenant_id, asset_id, about_asset or {})
        span, content = Span(), hashlib.sha256()
        with _incoming(_INCOMING_WEATHER, "incoming_weather", may_take_long, content) as write:
            for batch in batches:
                if batch.rows.size == 0:
                    continue
                span.saw(0, batch.times_us)
                unsaid = np.full(batch.rows.size, np.nan)
                columns = [batch.columns.get(name, unsaid) for name in WEATHER_COLUMNS]
                write(batch.rows, batch.times_us - _POSTGRES_EPOCH_US, *columns)
        keys = ("incoming_weather", "timestamp")
        statements = (_KEEP_WEATHER, _UPDATE_WEATHER, _INSERT_WEATHER)
        return _settle(asset, keys, statements, span, rejections, {}, content.hexdigest())


class Codes:
    """Numbers names from 1, as PostgreSQL numbers the items of an array."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}

    def of(self, name: str) -> int:
        if name not in self._codes:
            if len(self.names) == MAX_CODES:
                raise AssetInvalid(reason=f"one import holds more than {MAX_CODES} different metrics.")
            self.names.append(name)
            self._codes[name] = len(self.names)
        return self._codes[name]


class Span:
    """Which times came by, whether each series rose strictly (then nothing came twice), and its usual step."""

    def __init__(self) -> None:
        self.rows = 0
        self.rising = True
        self.interval_minutes: int | None = None
        self._first: int | None = None
        self._last: int | None = None
        self._last_of: dict[int, int] = {}

    def saw(self, series: int, times_us: Ints) -> None:
        self.rows += times_us.size
        low, high = int(times_us.min()), int(times_us.max())
        self._first = low if self._first is None else min(self._first, low)
        self._last = high if self._last is None else max(self._last, high)
        before = self._last_of.get(series)
        steps = np.diff(times_us)
        if (before is not None and times_us[0] <= before) or (steps <= 0).any():
            self.rising = False
        self._last_of[series] = int(times_us[-1])
        forward = np.diff(np.unique(times_us))
        if self.interval_minutes is None and forward.size >= 2:
            minutes = round(float(np.median(forward)) / 60_000_000)
            self.interval_minutes = minutes if 1 <= minutes <= 44_640 else None

    @property
    def bounds(self) -> dict[str, str]:
        if self._first is None or self._last is None:
            return {}
        first, last = (f"{np.datetime64(time, 'us')}+00" for time in (self._first, self._last))
        return {"first": first, "last": last}


def _hold_asset(tenant_id: str, asset_id: str, about: Mapping[str, Any]) -> Asset:
    """The asset's row, made when it is new, locked until the transaction ends."""
    said = {name: value for name, value in about.items() if value not in (None, "")}
    held = Asset.objects.for_tenant(tenant_id).lock(asset_id).first()
    if held is None:
        fresh = Asset(tenant_id=tenant_id, asset_id=asset_id, **said)
        fresh.refuse_if_invalid()
        # Another import may make the same asset right now: one of the two inserts, both then queue.
        Asset.objects.bulk_create([fresh], ignore_conflicts=True)
        held = Asset.objects.for_tenant(tenant_id).lock(asset_id).get()
    unit = said.get("unit", "")
    if unit and held.unit and unit != held.unit:
        raise UnitMismatch(asset_id=asset_id, stored=held.unit, given=unit)
    unsaid = {"unit": "", "country": "", "kind": Kind.OTHER, "timezone": "UTC", "name": ""}
    news = {
        name: value
        for name, value in said.items()
        if getattr(held, name) == unsaid.get(name) and value != getattr(held, name)
    }
    if news:
        for name, value in news.items():
            setattr(held, name, value)
        held.refuse_if_invalid()
        held.save(update_fields=list(news))
    return held


@contextmanager
def _incoming(create: str, table: str, may_take_long: bool, content: Any) -> Iterator[Any]:
    """A function that writes columns of fixed width, the first of row numbers, to an empty temporary table, and the
    others to the digest `content`."""
    with connection.cursor() as cursor:
        if may_take_long:
            cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'")
        cursor.execute(create)
        cursor.execute(f"DELETE FROM {table}")  # noqa: S608
        # Django translates errors of queries, and not of this: an outage would be a fault of ours
        with connection.wrap_database_errors, cursor.copy(f"COPY {table} FROM STDIN BINARY") as copy:
            copy.write(_HEADER)

            def write(*columns: NDArray[Any]) -> None:
                for column in columns[1:]:
                    content.update(np.ascontiguousarray(column))
                packed = memoryview(pack(*columns))
                for start in range(0, len(packed), CHUNK_BYTES):
                    copy.write(packed[start : start + CHUNK_BYTES])

            yield write
            copy.write(_TRAILER)


def pack(*columns: NDArray[Any]) -> bytes:
    """Columns of numbers as records of PostgreSQL's binary COPY: count of fields, then length and value each."""
    fields: list[tuple[str, Any]] = [("count", ">i2")]
    for index, column in enumerate(columns):
        fields += [(f"length{index}", ">i4"), (f"value{index}", column.dtype.newbyteorder(">"))]
    records = np.empty(columns[0].size, dtype=fields)
    records["count"] = len(columns)
    for index, column in enumerate(columns):
        records[f"length{index}"] = column.dtype.itemsize
        records[f"value{index}"] = column
    return records.tobytes()


def _quality_codes(batch: ReadingBatch, qualities: Codes) -> NDArray[np.int16]:
    """0, which is NULL as an index of an array, where nothing was said."""
    if batch.quality is None:
        return np.zeros(batch.rows.size, dtype=np.int16)
    encoded = batch.quality.dictionary_encode()
    codes = np.array([qualities.of(name) for name in encoded.dictionary.to_pylist()] + [0], dtype=np.int16)
    indices = encoded.indices.fill_null(len(codes) - 1).to_numpy(zero_copy_only=False)
    numbered: NDArray[np.int16] = codes[indices]
    return numbered


def _settle(
    asset: Asset,
    keys: tuple[str, str],
    statements: tuple[str, str, str],
    span: Span,
    rejections: Rejections,
    parameters: dict[str, Any],
    digest: str,
) -> Outcome:
    """From the temporary table into the table; undone when there was nothing to take."""
    duplicates = updated = accepted = 0
    if span.rows == 0:
        transaction.set_rollback(True)  # no asset without a reading
    else:
        keep, update, insert = statements
        table, key = keys
        about = {"tenant_id": asset.tenant_id, "asset_id": asset.asset_id, **span.bounds, **parameters}
        with connection.cursor() as cursor:
            if not span.rising:
                cursor.execute(_KEEP_LAST.format(table=table, key=key))
                duplicates = cursor.rowcount
                insert += f"ORDER BY {key}"  # neighbours in time become neighbours on disk
            cursor.execute(keep, about)  # what is corrected was known until now
            updated = cursor.rowcount
            if updated:
                cursor.execute(update, about)
            cursor.execute(insert, about)
            accepted = cursor.rowcount
        changed = []
        if table == "incoming_readings" and asset.interval_minutes is None and span.interval_minutes:
            asset.interval_minutes = span.interval_minutes
            changed.append("interval_minutes")
        if updated or accepted:
            asset.data_version += 1  # the row is locked; what was computed before is thereby out of date
            changed.append("data_version")
        if changed:
            asset.save(update_fields=changed)
        if updated or accepted:
            kind = table.removeprefix("incoming_")
            told = (asset.tenant_id, "stored", kind, asset.asset_id)
            audit.record(*told, after=digest, accepted=accepted, updated=updated)
    return Outcome(
        accepted=accepted,
        updated=updated,
        unchanged=span.rows - duplicates - updated - accepted,
        duplicates=duplicates,
        rejected=rejections.total,
        rejections=sorted(rejections.listed),
    )
