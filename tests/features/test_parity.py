"""One value, whoever asks for it: the online answer, an exported row, functions, aggregates and materialized views."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.core.cache import cache
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import aggregates, export_files, online
from features.catalog import FEATURE_SETS, FEATURES, choose
from features.export_actions import ExportRequest, request_export, write_export
from features.models import Asset, Reading, Weather
from features.set_actions import define_set
from tests.features.conftest import TABLES

START = datetime(2025, 3, 28, tzinfo=UTC)  # two days before the clocks of Europe change
HOUR = timedelta(hours=1)
TENANT, ASSET = "alpha", "main-meter"
TOLERANCE: dict[str, Any] = {"rel": 1e-9, "abs": 1e-9, "nan_ok": True}
WINDOWS = {
    "rolling_avg": "rolling_avg_{}h",
    "rolling_std": "rolling_std_{}h",
    "rolling_min": "rolling_min_{}h",
    "rolling_max": "rolling_max_{}h",
}
DAY = {
    "rolling_avg": "daily_avg",
    "rolling_std": "daily_std",
    "rolling_min": "daily_min",
    "rolling_max": "daily_max",
    "rolling_range": "range_24h",
    "rolling_p10": "daily_p10",
    "rolling_p90": "daily_p90",
}
Series = tuple[int, str, list[tuple[datetime, float, str | None]]]


@st.composite
def series(draw: st.DrawFn) -> Series:
    """Minutes between readings, a time zone, and readings with gaps, on and off the grid, some of them bad."""
    minutes = draw(st.sampled_from([15, 30, 60, 90]))
    zone = draw(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
    count = draw(st.integers(1, 300))
    seed = draw(st.integers(0, 2**32 - 1))
    level = draw(st.sampled_from([0.0, 40.0, 1e6]))
    rng = np.random.default_rng(seed)
    kept = rng.random(count) > draw(st.sampled_from([0.0, 0.3, 0.9]))
    offsets = np.where(rng.random(count) < 0.1, rng.integers(1, minutes * 60, count), 0)
    qualities = np.where(rng.random(count) < 0.05, "bad", np.where(rng.random(count) < 0.1, "estimated", ""))
    return (
        minutes,
        zone,
        [
            (
                START + timedelta(minutes=minutes * place, seconds=int(offsets[place])),
                level + float(rng.normal(0, 10)),
                str(qualities[place]) or None,
            )
            for place in range(count)
            if kept[place]
        ],
    )


def put(found: Series) -> None:
    """Stores the readings by plain INSERT: there is no COPY into PGlite."""
    minutes, zone, readings = found
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {TABLES}")
    Asset.objects.create(tenant_id=TENANT, asset_id=ASSET, timezone=zone, interval_minutes=minutes)
    Reading.objects.bulk_create(
        Reading(tenant_id=TENANT, asset_id=ASSET, timestamp=time, value=value, quality=quality)
        for time, value, quality in readings
    )
    # what nobody may see: another tenant's, another metric's
    Asset.objects.create(tenant_id="gamma", asset_id=ASSET)
    Reading.objects.bulk_create(
        [
            Reading(tenant_id="gamma", asset_id=ASSET, timestamp=START + HOUR, value=1e9),
            Reading(tenant_id=TENANT, asset_id=ASSET, metric="other", timestamp=START + HOUR, value=1e9),
        ]
    )


def answer(as_of: datetime, names: Sequence[str]) -> dict[str, Any]:
    cache.clear()
    question = online.Question(choose(None, names), as_of, timedelta(hours=8760))
    return online.get(tenant_id=TENANT, asset_id=ASSET, question=question).features


def rows(sql: str, *parameters: Any) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def lag_columns(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"lag_{row['lag_hours']}h": row["value"] for row in found}


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert numbers(found) == pytest.approx(numbers(expected), **TOLERANCE)


def numbers(of: dict[str, Any]) -> dict[str, float]:
    return {name: float("nan") if value is None else float(value) for name, value in of.items()}


def moments_of(found: Series) -> Iterator[datetime]:
    """On the hour and off it, before, within and after the readings."""
    times = [time for time, _, _ in found[2]] or [START]
    yield from (times[0], times[0] + timedelta(microseconds=1), times[-1] + 7 * HOUR)
    yield from (times[len(times) // 2], times[-1], times[-1] + timedelta(minutes=7, seconds=3))
    yield START + 30 * HOUR


def put_weather(found: Series) -> None:
    """Each third hour, and each of its columns but for the second of them."""
    times = [time for time, _, _ in found[2]] or [START]
    Weather.objects.bulk_create(
        Weather(
            tenant_id=TENANT, asset_id=ASSET, timestamp=START + hour * HOUR, temperature=hour, pressure=1e3
        )
        for hour in range(0, (times[-1] - START) // HOUR + 2, 3)
    )


def exported(names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of an export of all there is, read back from its file; none where it failed for want of data."""
    define_set(tenant_id=TENANT, name="these", features=names, made_by="alice")
    request = ExportRequest("these", START - HOUR, START + timedelta(days=400))
    export, _ = request_export(tenant_id=TENANT, requested_by="alice", request=request, enqueue=False)
    assert write_export(export_id=export.pk)
    export.refresh_from_db()
    if export.status == "failed":
        assert "no data" in export.error
        return []
    file = pq.read_table(io.BytesIO(b"".join(export_files.read(export))))
    assert file.num_rows == export.row_count
    found: list[dict[str, Any]] = file.to_pylist()
    return found


EVERY_SERIES = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@EVERY_SERIES
@given(found=series())
def test_the_functions_answer_as_the_service_does(database: str, found: Series) -> None:
    put(found)
    for moment in moments_of(found):
        expected = answer(moment, ["lag_168h", "lag_1h", "lag_24h"])
        lags = rows("SELECT * FROM get_lag_features(%s, %s, %s, %s)", TENANT, ASSET, moment, [168, 1, 24])
        assert [row["lag_hours"] for row in lags] == [168, 1, 24]
        same(lag_columns(lags), expected)

        for hours, columns in ((168, WINDOWS), (24, DAY), (1, {"rolling_median": "hourly_median"})):
            names = {ours: name.format(hours) for ours, name in columns.items()}
            (row,) = rows("SELECT * FROM get_rolling_features(%s, %s, %s, %s)", TENANT, ASSET, moment, hours)
            same({names[ours]: row[ours] for ours in names}, answer(moment, list(names.values())))


@EVERY_SERIES
@given(found=series())
def test_the_materialized_views_answer_as_the_service_does(database: str, found: Series) -> None:
    put(found)
    aggregates.refresh_views(connection)
    for view in aggregates.MATERIALIZED:
        stored = [row for row in rows(f"TABLE {view}") if row["tenant_id"] == TENANT]
        assert bool(stored) is any(quality != "bad" for _, _, quality in found[2])
        for row in stored[:: max(1, len(stored) // 8)] + stored[-1:]:
            expected = answer(row["timestamp"], FEATURE_SETS[view.removesuffix("_features")].names)
            assert list(row) == ["tenant_id", "asset_id", "timestamp", *expected]
            same({name: row[name] for name in expected}, expected)


@settings(EVERY_SERIES, max_examples=6)
@given(found=series())
def test_an_exported_row_is_every_other_answer_at_its_time(database: str, found: Series) -> None:
    put(found)
    put_weather(found)
    aggregates.refresh_views(connection)
    stored = {
        view: {row["timestamp"]: row for row in rows(f"TABLE {view}") if row["tenant_id"] == TENANT}
        for view in aggregates.MATERIALIZED
    }

    file = exported(list(FEATURES))

    usable = sorted((time, value) for time, value, quality in found[2] if quality != "bad")
    assert [(row["timestamp"], row["target"]) for row in file] == usable
    full_hours = [row for row in file if row["timestamp"].minute == row["timestamp"].second == 0]
    for row in file[:: max(1, len(file) // 4)] + full_hours[-3:]:
        moment = row["timestamp"]
        same({name: row[name] for name in FEATURES}, answer(moment, list(FEATURES)))
        lags = rows("SELECT * FROM get_lag_features(%s, %s, %s, %s)", TENANT, ASSET, moment, [1, 24, 168])
        same({name: row[name] for name in ("lag_1h", "lag_24h", "lag_168h")}, lag_columns(lags))
        for hours, columns in ((168, WINDOWS), (24, DAY), (1, {"rolling_median": "hourly_median"})):
            names = {ours: name.format(hours) for ours, name in columns.items()}
            (sql,) = rows("SELECT * FROM get_rolling_features(%s, %s, %s, %s)", TENANT, ASSET, moment, hours)
            same({name: row[name] for name in names.values()}, {names[ours]: sql[ours] for ours in names})
        for view in aggregates.MATERIALIZED:
            there = stored[view].get(moment)
            assert there or row not in full_hours or not 0 < (moment - usable[0][0]) / HOUR < 336
            if there:
                same(*({name: each[name] for name in there if name in FEATURES} for each in (row, there)))


@pytest.mark.parametrize("refreshed", [False, True])
@EVERY_SERIES
@given(found=series())
def test_the_aggregates_answer_as_the_service_does(database: str, refreshed: bool, found: Series) -> None:
    put(found)
    if refreshed:
        aggregates.refresh_aggregates(connection, since=None)
    for view, width in aggregates.AGGREGATES.items():
        stored = [
            row for row in rows(f"TABLE {view}") if (row["tenant_id"], row["metric"]) == (TENANT, "value")
        ]
        assert sum(row["readings"] for row in stored) == sum(quality != "bad" for _, _, quality in found[2])
        for row in stored[:: max(1, len(stored) // 8)]:
            expected = answer(row["bucket"] + width, [name for name in row if name in FEATURES])
            same({name: row[name] for name in expected}, expected)
