"""What an operator asks of the feature store: what is there, how much, how old, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from psycopg import sql

from features import aggregates, retention
from features.timescale import HYPERTABLES, has_hypertables, unhurried

TOO_LATE = timedelta(hours=3)  # of what is refreshed every half hour at most
_SIZES = """
SELECT coalesce((SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = class.oid), 0)
    + pg_total_relation_size(class.oid)
FROM pg_class AS class WHERE class.oid = to_regclass(%s)
"""
_CHUNKS = "SELECT hypertable_name, num_chunks FROM timescaledb_information.hypertables"
_AGGREGATES = """
SELECT aggregate.user_view_name, stats.last_run_started_at, stats.last_run_status,
    _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(aggregate.mat_hypertable_id))
FROM _timescaledb_catalog.continuous_agg AS aggregate
JOIN timescaledb_information.continuous_aggregates AS shown ON shown.view_name = aggregate.user_view_name
LEFT JOIN timescaledb_information.jobs AS job
    ON job.proc_name = 'policy_refresh_continuous_aggregate'
    AND job.hypertable_name IN (shown.materialization_hypertable_name, shown.view_name)
LEFT JOIN timescaledb_information.job_stats AS stats ON stats.job_id = job.job_id
"""
_VIEWS = """
SELECT matviewname, ispopulated, obj_description(to_regclass(matviewname), 'pg_class')
FROM pg_matviews WHERE matviewname = ANY(%s)
"""
_TENANTS = """
SELECT tenant_id, sum(assets)::bigint, sum(readings)::bigint, sum(weather)::bigint, sum(features)::bigint
FROM (
    SELECT tenant_id, count(*) AS assets, 0 AS readings, 0 AS weather, 0 AS features
    FROM features_asset GROUP BY tenant_id
    UNION ALL SELECT tenant_id, 0, count(*), 0, 0 FROM timeseries_data GROUP BY tenant_id
    UNION ALL SELECT tenant_id, 0, 0, count(*), 0 FROM weather_features GROUP BY tenant_id
    UNION ALL SELECT tenant_id, 0, 0, 0, count(*) FROM ai_features GROUP BY tenant_id
) AS counted
GROUP BY tenant_id ORDER BY tenant_id
"""


@dataclass(slots=True)
class State:
    """What `manage.py check_features` prints. `faults`: sentences, each with what to do."""

    checked_at: datetime
    postgresql: str
    timescaledb: str | None
    timescaledb_available: bool
    retention: dict[str, int]
    tables: list[dict[str, Any]] = field(default_factory=list)
    aggregates: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    functions: list[dict[str, Any]] = field(default_factory=list)
    tenants: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def look() -> State:
    """Counts rows, so that it takes its time where there are many."""
    (version,) = _one("SHOW server_version")
    found = _rows(
        "SELECT default_version, installed_version FROM pg_available_extensions WHERE name = 'timescaledb'"
    )
    installed = found[0][1] if found else None
    state = State(timezone.now(), version, installed, bool(found), retention.kept_days())
    with unhurried(connection):
        _look_at(state)
    return state


def _look_at(state: State) -> None:
    if found := [name for name in _expected() if _one("SELECT to_regclass(%s)", name)[0] is None]:
        state.faults.append(f"Missing: {', '.join(found)}. Run manage.py migrate.")
        return
    timescale = has_hypertables(connection)
    chunks = {name: count for name, count in _rows(_CHUNKS) if name in HYPERTABLES} if timescale else {}
    state.tables = [_table(name, chunks) for name in HYPERTABLES]
    state.aggregates = _continuous(state) if timescale else [_plain(name) for name in aggregates.AGGREGATES]
    state.views = [_view(state, *row) for row in _rows(_VIEWS, list(aggregates.MATERIALIZED))]
    state.functions = [{"name": name, "present": _is_function(name)} for name in aggregates.FUNCTIONS]
    names = ("tenant_id", "assets", "readings", "weather", "features")
    state.tenants = [dict(zip(names, row, strict=True)) for row in _rows(_TENANTS)]
    if absent := [each["name"] for each in state.functions if not each["present"]]:
        state.faults.append(f"Missing: {', '.join(absent)}. Run manage.py migrate.")
    if state.timescaledb_available and len(chunks) < len(HYPERTABLES):
        first = "" if state.timescaledb else "Let a superuser run CREATE EXTENSION timescaledb, then "
        state.faults.append(f"TimescaleDB is there, but not used. {first}run manage.py make_hypertables.")


def _expected() -> tuple[str, ...]:
    return (*HYPERTABLES, *aggregates.AGGREGATES, *aggregates.MATERIALIZED)


def _table(name: str, chunks: dict[str, int]) -> dict[str, Any]:
    bounds = sql.SQL("SELECT min(timestamp), max(timestamp) FROM {}").format(sql.Identifier(name))
    oldest, newest = _one(bounds)
    size = _one("SELECT hypertable_size(%s)", name) if name in chunks else _one(_SIZES, name)
    return {
        "name": name,
        "hypertable": name in chunks,
        "chunks": chunks.get(name),
        "bytes": int(size[0]),
        "oldest": oldest,
        "newest": newest,
        "kept_days": retention.kept_days().get(name),
    }


def _continuous(state: State) -> list[dict[str, Any]]:
    (newest,) = _one("SELECT max(timestamp) FROM timeseries_data")
    found = []
    for name, refreshed_at, status, materialized_to in _rows(_AGGREGATES):
        if name not in aggregates.AGGREGATES:
            continue
        # What lies after is computed when asked for, so that it is slower then, and not older.
        behind = max(newest - materialized_to, timedelta(0)) if newest and materialized_to else None
        found.append(
            {
                "name": name,
                "form": "continuous aggregate",
                "refreshed_at": refreshed_at,
                "refresh_status": status,
                "materialized_to": materialized_to,
                "behind_seconds": None if behind is None else behind.total_seconds(),
                "kept_days": retention.kept_days().get(name),
            }
        )
        if status == "Failed":
            state.faults.append(f"The last refresh of {name} failed; the log of PostgreSQL says why.")
        if refreshed_at and state.checked_at - refreshed_at > TOO_LATE:
            state.faults.append(
                f"{name} was last refreshed at {refreshed_at}; are TimescaleDB's jobs running?"
            )
    return found


def _plain(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "form": "view",
        "refreshed_at": None,
        "refresh_status": None,
        "materialized_to": retention.dropped_before(),
        "behind_seconds": 0.0,
        "kept_days": retention.kept_days().get(name),
    }


def _view(state: State, name: str, populated: bool, comment: str | None) -> dict[str, Any]:
    refreshed_at = datetime.fromisoformat(comment) if comment else None
    if refreshed_at is None or state.checked_at - refreshed_at > TOO_LATE:
        when = (
            "never refreshed"
            if refreshed_at is None
            else f"last refreshed at {refreshed_at:%Y-%m-%d %H:%M} UTC"
        )
        state.faults.append(f"{name} was {when}; are a Celery worker and beat running?")
    rows = _one(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))[0] if populated else 0
    return {"name": name, "rows": rows, "refreshed_at": refreshed_at}


def _is_function(name: str) -> bool:
    return bool(_one("SELECT EXISTS (SELECT FROM pg_proc WHERE proname = %s)", name)[0])


def _one(query: Any, *parameters: Any) -> tuple[Any, ...]:
    return _rows(query, *parameters)[0]


def _rows(query: Any, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())
