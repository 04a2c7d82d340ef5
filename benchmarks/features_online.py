"""Features for an answer, through the whole stack: web server, token, cache or database, computation, answer.

Starts the product as `make up` does, in a folder of its own, stores a year of quarter-hours of many assets and their
weather, and asks one client's questions one after the other: each once (a miss), then the same again (a hit). The
limits are measured in the same run: a bare GET of the same value from Valkey, the bare queries of the same rows, and
an answer of the web server that does nothing.

    python -m benchmarks.features_online --assets 1000 --requests 1000 --write docs/benchmarks/features-online.md
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import psycopg
import redis

from benchmarks.machine import machine
from benchmarks.stack import Stack
from features.catalog import FEATURE_SETS
from omarino import embedded

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=365)
FEATURES = "forecast_advanced"
GOALS_MS = {"hit": 5.0, "miss": 25.0}
CONTRACT_MS = {"hit": 10.0, "miss": 95.0}
QUARTER_HOUR = timedelta(minutes=15)
# What the set needs of readings: the interval of each lag, and the day before.
_SPANS = ((168.25, 168.0), (24.25, 0.0))
_ASSETS = """
INSERT INTO features_asset (tenant_id, asset_id, name, kind, unit, timezone, country, subdivision, interval_minutes,
    first_seen_at, data_version)
SELECT 'bench', 'meter-' || n, '', 'load', 'kW', 'Europe/Berlin', '', '', 15, now(), 1
FROM generate_series(1, %s) AS n
"""
_READINGS = """
INSERT INTO timeseries_data (tenant_id, asset_id, metric, timestamp, value)
SELECT 'bench', 'meter-' || %(asset)s, 'value', time,
    60 + 20 * sin(extract(epoch FROM time) / 86400 * 2 * pi()) + 6 * random()
FROM generate_series(%(start)s::timestamptz, %(last)s::timestamptz, INTERVAL '15 minutes') AS time
"""
_WEATHER = """
INSERT INTO weather_features (tenant_id, asset_id, timestamp, temperature, humidity, solar_irradiance, wind_speed)
SELECT 'bench', 'meter-' || %(asset)s, time, 10 * random(), 50 + 40 * random(), 300 * random(), 5 * random()
FROM generate_series(%(start)s::timestamptz, %(last)s::timestamptz, INTERVAL '1 hour') AS time
"""
_BARE_ASSET = "SELECT * FROM features_asset WHERE tenant_id = 'bench' AND asset_id = %s"
_BARE_READINGS = """
SELECT string_agg(timestamptz_send(timestamp) || float8send(value), '') FROM timeseries_data
WHERE tenant_id = 'bench' AND asset_id = %s AND metric = 'value'
    AND (timestamp >= %s AND timestamp < %s OR timestamp >= %s AND timestamp < %s)
"""
_BARE_WEATHER = """
SELECT temperature, humidity, solar_irradiance FROM weather_features
WHERE tenant_id = 'bench' AND asset_id = %s AND timestamp > %s AND timestamp <= %s
"""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    took_ms: np.ndarray

    @property
    def p50(self) -> float:
        return float(np.percentile(self.took_ms, 50))

    @property
    def p95(self) -> float:
        return float(np.percentile(self.took_ms, 95))


def fill(database_url: str, assets: int) -> None:
    """A year of quarter-hours each, and the weather of the last two months."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_ASSETS, [assets])
        for asset in range(1, assets + 1):
            about = {"asset": asset, "last": END - QUARTER_HOUR}
            connection.execute(_READINGS, {**about, "start": START})
            connection.execute(_WEATHER, {**about, "start": END - timedelta(days=61)})
        connection.execute("VACUUM ANALYZE timeseries_data, weather_features, features_asset")


def questions(assets: int, count: int) -> list[tuple[str, datetime]]:
    """Of many assets, as of different quarter-hours of the last two months; none twice."""
    drawn = random.Random(3)
    asked: dict[tuple[str, datetime], None] = {}
    while len(asked) < count:
        at = END - drawn.randrange(1, 60 * 96) * QUARTER_HOUR
        asked[f"meter-{drawn.randint(1, assets)}", at] = None
    return list(asked)


def times_ms(ask: Callable[[Any], object], asked: list[Any]) -> np.ndarray:
    took = []
    for question in asked:
        began = time.perf_counter()
        ask(question)
        took.append(time.perf_counter() - began)
    return np.array(took) * 1000


def through_the_stack(client: httpx.Client, asked: list[Any], *, hit: bool) -> np.ndarray:
    def ask(question: tuple[str, datetime]) -> None:
        asset_id, at = question
        body = {
            "tenant_id": "bench",
            "asset_id": asset_id,
            "timestamp": at.isoformat(),
            "feature_set": FEATURES,
        }
        answer = client.post("/ai/features/get", json=body)
        answer.raise_for_status()
        said = answer.json()
        assert said["cache_hit"] is hit, said
        assert None not in said["features"].values(), said
        assert said["feature_count"] == len(FEATURE_SETS[FEATURES].features)

    return times_ms(ask, asked)


def bare_sql(database_url: str, asked: list[Any]) -> np.ndarray:
    with psycopg.connect(database_url, autocommit=True) as connection:

        def ask(question: tuple[str, datetime]) -> None:
            asset_id, at = question
            spans = [at - timedelta(hours=hours) for span in _SPANS for hours in span]
            connection.execute(_BARE_ASSET, [asset_id]).fetchone()
            connection.execute(_BARE_READINGS, [asset_id, *spans]).fetchone()
            connection.execute(_BARE_WEATHER, [asset_id, at - timedelta(hours=1), at]).fetchall()

        return times_ms(ask, asked)


def bare_valkey(services: embedded.Services, asked: list[Any]) -> np.ndarray:
    """Of values as long as ours are."""
    cache = redis.Redis(port=services.redis_port, password=services.redis_password, db=9)
    value = orjson.dumps(dict.fromkeys(FEATURE_SETS[FEATURES].names, 41.123456789))
    for number in range(len(asked)):
        cache.set(f"bench:{number}", value)
    return times_ms(lambda number: cache.get(f"bench:{number}"), list(range(len(asked))))


def measured(assets: int, requests: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder, Stack(Path(folder)) as client:
        services = embedded.running_services(Path(folder))
        began = time.perf_counter()
        fill(services.database_url, assets)
        print(f"Stored {assets} assets in {time.perf_counter() - began:.0f} s.")
        asked = questions(assets, requests + 100)
        warm, asked = asked[:100], asked[100:]
        through_the_stack(client, warm, hit=False)
        through_the_stack(client, warm, hit=True)
        return [
            Row("miss", through_the_stack(client, asked, hit=False)),
            Row("hit", through_the_stack(client, asked, hit=True)),
            Row("GET /health, which does nothing", times_ms(lambda _: client.get("/health"), asked)),
            Row("the bare queries", bare_sql(services.database_url, asked)),
            Row("a bare GET from Valkey", bare_valkey(services, asked)),
        ]


def report(rows: list[Row], assets: int, requests: int) -> str:
    lines = ["| | p50 ms | p95 ms | goal p95 | contract p95 | |", "|---|---|---|---|---|---|"]
    for row in rows:
        goal = GOALS_MS.get(row.name)
        bars = (
            f"{goal:.0f} | {CONTRACT_MS[row.name]:.0f} | {'met' if row.p95 <= goal else 'missed'}"
            if goal
            else "| |"
        )
        lines.append(f"| {row.name} | {row.p50:.2f} | {row.p95:.2f} | {bars} |")
    miss, hit, nothing, queries, valkey = rows
    return (
        "# Features for an answer\n\n"
        f"`make bench-features`, {datetime.now(UTC):%Y-%m-%d}, the cores shared with the client. "
        f"{machine()}. `POST /ai/features/get` of `{FEATURES}`, one client, "
        f"{requests:,} requests a row after a hundred to warm up; {assets:,} assets with {365 * 96:,} quarter-hours "
        f"each.\n\n"
        + "\n".join(lines)
        + f"\n\nAt the median a miss takes {miss.p50 / queries.p50:.1f} times as long as the bare queries of the same "
        f"rows, a hit {hit.p50 / valkey.p50:.1f} times as long as a bare GET, and {hit.p50 / nothing.p50:.1f} times as "
        "long as an answer of the web server that does nothing. A hit asks the database once, for the version of the "
        "asset's data: that is why a reading just stored is in the next answer.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--assets", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    text = report(measured(options.assets, options.requests), options.assets, options.requests)
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
