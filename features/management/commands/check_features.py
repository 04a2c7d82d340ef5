from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from features import state


class Command(BaseCommand):
    help = "Say how the feature store is: extension, tables, aggregates, views, rows by tenant. Fails when something is wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        found = state.look()
        if options["json"]:
            options_of_json = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z
            self.stdout.write(orjson.dumps(asdict(found), option=options_of_json).decode())
        else:
            self._write(found)
        if found.faults:
            raise CommandError("\n".join(found.faults))

    def _write(self, found: state.State) -> None:
        extension = f"TimescaleDB {found.timescaledb}" if found.timescaledb else "without TimescaleDB"
        self.stdout.write(f"PostgreSQL {found.postgresql}, {extension}")
        kept = "as below" if found.retention else "off: everything is kept"
        self.stdout.write(f"Retention {kept}")
        tables = ("name", "hypertable", "chunks", "bytes", "oldest", "newest", "kept_days")
        self._table("Tables", tables, found.tables)
        columns = ("name", "form", "refreshed_at", "materialized_to", "behind_seconds", "kept_days")
        self._table("Aggregates", columns, found.aggregates)
        self._table("Materialized views", ("name", "rows", "refreshed_at"), found.views)
        self._table("Functions", ("name", "present"), found.functions)
        self._table("Tenants", ("tenant_id", "assets", "readings", "weather", "features"), found.tenants)

    def _table(self, title: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
        cells = [[name.replace("_", " ") for name in columns]]
        cells += [[_said(name, row[name]) for name in columns] for row in rows]
        widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
        self.stdout.write(f"\n{title}")
        for line in cells:
            self.stdout.write(
                "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            )


def _said(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if column == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    if column == "behind_seconds":
        return str(timedelta(seconds=int(value)))
    return f"{value:,}" if isinstance(value, int) else str(value)
