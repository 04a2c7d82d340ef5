"""How fast readings go into PostgreSQL, against raw COPY of the same file in the same run.

    python -m benchmarks.ingest [--rows 1000000] [--rounds 3] [--write docs/benchmarks/ingest.md]

Starts a PostgreSQL of its own. Raw COPY is measured twice: into a table of the same columns, key and check
(what anybody would have to pay), and into a bare heap of two columns (the least that is possible). Each
import is the whole command as a person runs it, without the start of Python.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from django.core.management import call_command
from django.db import connection

from benchmarks.machine import machine

CHUNK = 1 << 20
QUARTER_HOURS = 35_040
REFERENCE = "raw COPY into the same table"
HEAD = """# Imports against raw COPY

Written by `make bench-ingest`. Raw COPY of the same file in the same round is measured twice: into a table of
the same columns, key and check (the reference), and into a bare heap of two columns (the least possible). An
import is the whole of `manage.py import_readings`, without the start of Python: it parses, checks and counts
every row, tells new, changed and unchanged rows apart, and is one transaction.
"""
SAME_TABLE = """
CREATE TABLE raw (LIKE timeseries_data INCLUDING ALL);
ALTER TABLE raw ALTER tenant_id SET DEFAULT 'bench', ALTER asset_id SET DEFAULT 'meter'
"""


def write_files(folder: Path, rows: int) -> dict[str, Path]:
    """A year of readings every half minute, as a meter would write them; and with 1 % of them corrected."""
    random = np.random.default_rng(0)
    times = np.datetime64("2024-01-01", "us") + np.arange(rows) * np.timedelta64(30, "s")
    values = np.round(20 + 10 * np.sin(np.arange(rows) / 459) + random.normal(0, 1, rows), 3)
    corrected = np.where(random.random(rows) < 0.01, values + 1, values)
    shuffled = random.permutation(rows)
    files = {
        name: folder / name
        for name in ("plain.csv", "gzip.csv.gz", "table.parquet", "corrected.csv", "shuffled.csv")
    }
    texts = pa.array(np.datetime_as_string(times, unit="s", timezone="UTC"))
    table = pa.table({"timestamp": texts, "value": values})
    unquoted = pyarrow.csv.WriteOptions(quoting_style="none")
    pyarrow.csv.write_csv(table, files["plain.csv"], unquoted)
    pyarrow.csv.write_csv(
        pa.table({"timestamp": texts, "value": corrected}), files["corrected.csv"], unquoted
    )
    pyarrow.csv.write_csv(table.take(pa.array(shuffled)), files["shuffled.csv"], unquoted)
    files["gzip.csv.gz"].write_bytes(gzip.compress(files["plain.csv"].read_bytes(), compresslevel=5))
    pyarrow.parquet.write_table(
        pa.table({"timestamp": pa.array(times), "value": values}), files["table.parquet"]
    )
    return files


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def raw_copy(file: Path, into: str) -> None:
    with (
        connection.cursor() as cursor,
        file.open("rb") as source,
        cursor.copy(f"COPY {into} (timestamp, value) FROM STDIN (FORMAT csv, HEADER)") as copy,
    ):
        while chunk := source.read(CHUNK):
            copy.write(chunk)


def load(file: Path) -> None:
    call_command("import_readings", str(file), tenant="bench", asset="meter", stdout=io.StringIO())


def empty() -> None:
    run("TRUNCATE timeseries_data, features_asset")


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="such as docs/benchmarks/ingest.md")
    said = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # they start a PostgreSQL
    django.setup()
    call_command("migrate", verbosity=0)
    run("SET statement_timeout = 0")
    run(SAME_TABLE)
    run("CREATE TABLE heap (timestamp timestamptz, value float8)")
    took: dict[str, list[float]] = {}

    def measure(name: str, work: Callable[[], None]) -> None:
        took.setdefault(name, []).append(seconds(work))

    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), said.rows)
        for _ in range(said.rounds):
            run("TRUNCATE raw, heap")
            measure(REFERENCE, lambda: raw_copy(files["plain.csv"], "raw"))
            measure("raw COPY, bare heap", lambda: raw_copy(files["plain.csv"], "heap"))
            empty()
            measure("import CSV", lambda: load(files["plain.csv"]))
            measure("import CSV again, nothing new", lambda: load(files["plain.csv"]))
            measure("import CSV again, 1 % corrected", lambda: load(files["corrected.csv"]))
            for name, file in (
                ("gzip", "gzip.csv.gz"),
                ("Parquet", "table.parquet"),
                ("CSV in random order", "shuffled.csv"),
            ):
                empty()
                measure(f"import {name}", lambda file=file: load(files[file]))
        past = past_ms(files["plain.csv"])
    text = table(took, said.rows) + past
    print(text)
    if said.write:
        said.write.parent.mkdir(parents=True, exist_ok=True)
        said.write.write_text(f"{HEAD}\n{text}")


def past_ms(file: Path) -> str:
    """How long the one query of the past takes for a year of quarter-hours, behind a million other rows."""
    from features import history  # only once Django is set up

    empty()
    load(file)
    run("ANALYZE timeseries_data")
    took = []
    before = datetime(2024, 1, 1, tzinfo=UTC) + QUARTER_HOURS * timedelta(seconds=30)
    for _ in range(20):
        started = time.perf_counter()
        times, _ = history.window(tenant_id="bench", asset_id="meter", before=before)
        took.append(1000 * (time.perf_counter() - started))
        assert times.size == QUARTER_HOURS
    return (
        f"\n`history.window` of {QUARTER_HOURS:,} readings: {statistics.median(took):.1f} ms "
        f"({min(took):.1f}..{max(took):.1f}, 20 times).\n"
    )


def table(took: dict[str, list[float]], rows: int) -> str:
    lines = [
        f"{rows:,} rows, {len(took[REFERENCE])} rounds: median (least..most). {machine()}.\n",
        "| What | s | rows/s | speed of raw COPY = 1 |\n|---|---|---|---|",
    ]
    for name, times in took.items():
        median = statistics.median(times)
        ratio = statistics.median(
            reference / mine for reference, mine in zip(took[REFERENCE], times, strict=True)
        )
        spread = f"{median:.2f} ({min(times):.2f}..{max(times):.2f})"
        lines.append(f"| {name} | {spread} | {rows / median:,.0f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
