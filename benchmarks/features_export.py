"""How fast an export of many meters is written by a real worker, against a bare COPY of the same rows.

    python -m benchmarks.features_export [--rows 10000000] [--rounds 3] [--write docs/benchmarks/features-export.md]

Starts a PostgreSQL, a Valkey and one Celery worker of its own. An export is asked for as the API asks for it, goes
through the queue, and is timed from the request until its row is completed. COPY reads the same readings to nowhere.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django
import psutil
import pyarrow.parquet as pq
from django.core.management import call_command
from django.db import connection

from benchmarks.machine import machine

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=366)
QUARTER_HOURS = 366 * 96
GOAL_ROWS_PER_S = 300_000
GOAL_MB = 400
HEAD = """# Exports against a bare COPY

Written by `python -m benchmarks.features_export`, the first half of `make bench-features`. Meters with a year of
quarter-hours each, 0.5 % of the readings missing, and hourly weather; half of them in Europe/Berlin. `forecast_advanced`
has 14 features: with the target, the timestamp and the ids a row has 18 columns. An export is timed from its request,
through the queue, until its row is completed: reading, features, Parquet, sha256, fsync and rename. The reference reads
the same readings, four columns, by `COPY ... TO STDOUT` and throws them away. Memory is the most that the process which
did the work ever held (VmHWM): the code alone holds what is given as idle.
"""


def run(sql: str, *parameters: object) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return int(cursor.rowcount)


def fill(assets: int) -> int:
    """Returns the number of readings."""
    run("SET statement_timeout = 0")
    run("SET synchronous_commit = off")
    run("SELECT setseed(0.5)")
    run(
        "INSERT INTO features_asset (tenant_id, asset_id, name, kind, unit, timezone, country, subdivision, "
        "interval_minutes, first_seen_at, data_version) SELECT 'bench', 'meter-' || a, '', 'load', 'kW', "
        "CASE a %% 2 WHEN 0 THEN 'UTC' ELSE 'Europe/Berlin' END, '', '', 15, now(), 0 FROM generate_series(1, %s) a",
        assets,
    )
    rows = run(
        "INSERT INTO timeseries_data (tenant_id, asset_id, metric, timestamp, value) SELECT 'bench', 'meter-' || a, "
        "'value', t, round((20 + 10 * sin(extract(epoch FROM t) / 13751) + random() * 3)::numeric, 3)::float8 "
        "FROM generate_series(1, %s) a, generate_series(%s::timestamptz, %s, '15 min') t WHERE random() > 0.005",
        *(assets, START, END - timedelta(minutes=15)),
    )
    run(
        "INSERT INTO weather_features (tenant_id, asset_id, timestamp, temperature, humidity, solar_irradiance) "
        "SELECT 'bench', 'meter-' || a, t, 20 * random(), 100 * random(), 800 * random() "
        "FROM generate_series(1, %s) a, generate_series(%s::timestamptz, %s, '1 hour') t",
        *(assets, START, END),
    )
    for table in ("timeseries_data", "weather_features", "features_asset"):
        run(f"VACUUM ANALYZE {table}")
    return rows


def copy_s(kind: str) -> float:
    began = time.perf_counter()
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY (SELECT timestamp, tenant_id, asset_id, value FROM timeseries_data WHERE tenant_id = 'bench' "  # noqa: S608
            f"AND metric = 'value') TO STDOUT (FORMAT {kind})"
        ) as copy,
    ):
        for _ in copy:
            pass
    return time.perf_counter() - began


def export_s(rows: int) -> tuple[float, int]:
    """Seconds, and the bytes of the file."""
    from features import export_files
    from features.export_actions import ExportRequest, request_export
    from features.models import FeatureExport

    request = ExportRequest("forecast_advanced", START, END)
    began = time.perf_counter()
    export, _ = request_export(tenant_id="bench", requested_by="benchmark", request=request)
    while not export.is_over:
        time.sleep(0.02)
        export.refresh_from_db()
    took = time.perf_counter() - began
    assert (export.status, export.row_count) == ("completed", rows), export.error
    assert pq.ParquetFile(export_files.location(export)).metadata.num_rows == rows
    export_files.delete(export)
    FeatureExport.objects.filter(pk=export.pk).delete()
    return took, int(export.file_size_bytes or 0)


def peaks_mb(worker: int) -> list[float]:
    """Of the worker's main process and then of the one that does the work: the most memory held so far."""
    found = []
    for process in (psutil.Process(worker), *psutil.Process(worker).children()):
        status = Path(f"/proc/{process.pid}/status").read_text()
        found.append(int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="such as docs/benchmarks/features-export.md")
    said = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # they start the servers
    django.setup()
    from tests.workers import running_worker  # only once Django is set up

    call_command("migrate", verbosity=0)
    rows = fill(round(said.rows / QUARTER_HOURS / 0.995) + 1)
    took: dict[str, list[float]] = {"COPY, text": [], "COPY, binary": [], "export": []}
    size = 0
    with tempfile.TemporaryDirectory() as folder, running_worker(Path(folder)) as worker:
        idle = max(peaks_mb(worker.process.pid)[1:])
        for _ in range(said.rounds):
            took["COPY, text"].append(copy_s("text"))
            took["COPY, binary"].append(copy_s("binary"))
            seconds, size = export_s(rows)
            took["export"].append(seconds)
        peak = max(peaks_mb(worker.process.pid)[1:])
    text = report(took, rows, size, idle, peak)
    print(text)
    if said.write:
        said.write.parent.mkdir(parents=True, exist_ok=True)
        said.write.write_text(f"{HEAD}\n{text}")


def report(took: dict[str, list[float]], rows: int, size: int, idle: float, peak: float) -> str:
    lines = [
        f"{rows:,} rows, {len(took['export'])} rounds: median (least..most). {machine()}.\n",
        "| What | s | rows/s | time of COPY, text = 1 |\n|---|---|---|---|",
    ]
    for name, times in took.items():
        ratio = statistics.median(mine / copy for mine, copy in zip(times, took["COPY, text"], strict=True))
        median = statistics.median(times)
        spread = f"{median:.2f} ({min(times):.2f}..{max(times):.2f})"
        lines.append(f"| {name} | {spread} | {rows / median:,.0f} | {ratio:.2f} |")
    pace = rows / statistics.median(took["export"])
    lines += [
        "",
        "| Bar | Goal | Measured | |",
        "|---|---|---|---|",
        f"| rows a second | >= {GOAL_ROWS_PER_S:,} | {pace:,.0f} | {'met' if pace >= GOAL_ROWS_PER_S else 'missed'} |",
        f"| memory of the worker, idle {idle:.0f} MB | < {GOAL_MB} MB | {peak:.0f} MB | "
        f"{'met' if peak < GOAL_MB else 'missed'} |",
        "",
        f"The file has {size:,} bytes, {size / rows:.1f} a row.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
