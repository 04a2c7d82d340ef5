from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from features.actions import TableImport, import_table
from features.batches import Outcome, Rejections
from features.columns import Wanted
from features.models import Kind
from features.parse import Notation
from features.readings_file import open_table
from features.timestamps import Clock
from omarino.authentication import TENANT_ID
from omarino.errors import HubError

BAR_WIDTH = 30
REDRAW_S = 0.1


class Command(BaseCommand):
    help = (
        "Import readings, or weather, of one asset from a CSV file (plain or gzip) or a Parquet file. All of it "
        "or, should it break off, nothing; the same file again changes nothing. Times are ISO 8601, in UTC "
        "where they name no zone, unless said otherwise."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", required=True, help="Whose asset it is.")
        parser.add_argument("--asset", required=True, help="Its id; it is made when it is new.")
        parser.add_argument("--of", choices=["readings", "weather"], default="readings")
        add = parser.add_argument_group("columns (found by their names when not given)").add_argument
        add("--timestamp-column")
        add("--value-column", action="append", default=[], help="Repeat it for several metrics.")
        add("--metric", action="append", default=[], help="Name of the metric of each value column.")
        add("--wide", action="store_true", help="Every other column is a metric, called like the column.")
        add("--metric-column", help="Names the metric of each row (a long table).")
        add("--quality-column")
        add = parser.add_argument_group("notation").add_argument
        add("--timezone", help="IANA zone of times that name none; a new asset lives by it as well.")
        add("--timestamp-format", help="Format of strptime, such as '%%d.%%m.%%Y %%H:%%M'.")
        add("--sep", help="Separator of columns; found when not given. 'tab' for a tab.")
        add("--decimal", default=".", choices=[".", ","], help="Decimal mark.")
        add("--encoding", default="utf8")
        add = parser.add_argument_group("a new asset").add_argument
        add("--kind", choices=[*Kind.values, "weather"], help="'weather' is the same as --of weather.")
        add("--unit")
        add("--country", help="ISO 3166-1 alpha-2, for its holidays.")
        parser.add_argument(
            "--show-rejected", type=int, default=20, help="How many rejected rows are named.", metavar="N"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        said = argparse.Namespace(**options)
        if not TENANT_ID.fullmatch(said.tenant):
            raise CommandError(f"{said.tenant!r} is no tenant: at most 64 letters, digits or . _ -")
        started = time.monotonic()
        try:
            job = self._job(said)
            layout = job.layout()
            self.stdout.write(f"{said.file}: {job.table.said}; {layout}")
            progress = Progress(self, started)
            job.on_progress = progress.show
            outcome = import_table(tenant_id=said.tenant, asset_id=said.asset, job=job)
            progress.end()
        except HubError as fault:
            raise CommandError(str(fault)) from fault
        except OperationalError as fault:
            raise CommandError(f"The database does not answer; nothing was stored. {fault}") from fault
        except KeyboardInterrupt as fault:
            raise CommandError("Interrupted; nothing was stored.") from fault
        self._summary(outcome, time.monotonic() - started, job)
        if outcome.taken == 0:
            raise CommandError("Nothing could be taken from this file; nothing was stored.")

    def _job(self, said: argparse.Namespace) -> TableImport:
        weather = "weather" in (said.of, said.kind)
        separator = "\t" if said.sep in ("tab", "\\t") else said.sep
        if separator is not None and len(separator) != 1:
            raise CommandError("--sep is one character.")
        if said.decimal == separator:
            raise CommandError("--sep and --decimal cannot be the same.")
        kind = None if said.kind == "weather" else said.kind
        return TableImport(
            open_table(said.file, separator=separator, encoding=said.encoding),
            kind="weather" if weather else "readings",
            wanted=Wanted(
                timestamp=said.timestamp_column,
                values=tuple(said.value_column),
                metrics=tuple(said.metric),
                wide=said.wide,
                quality=said.quality_column,
                metric_column=said.metric_column,
            ),
            notation=Notation(Clock(said.timezone or "UTC"), said.timestamp_format, said.decimal),
            rejections=Rejections(listed_at_most=max(said.show_rejected, 0)),
            about_asset={
                "kind": kind,
                "unit": said.unit,
                "timezone": said.timezone,
                "country": said.country,
            },
            may_take_long=True,
        )

    def _summary(self, outcome: Outcome, seconds: float, job: TableImport) -> None:
        total = outcome.taken + outcome.duplicates + outcome.rejected
        self.stdout.write(f"{total:,} read in {seconds:.1f} s ({total / max(seconds, 1e-9):,.0f} a second)")
        self.stdout.write(
            f"accepted {outcome.accepted:,}  updated {outcome.updated:,}  unchanged {outcome.unchanged:,}  "
            f"rejected {outcome.rejected:,}"
        )
        if outcome.duplicates:
            self.stdout.write(f"{outcome.duplicates:,} came twice in this file; the last one counts")
        word = "row" if job.table.said == "Parquet" else "line"
        for rejection in outcome.rejections:
            self.stdout.write(f"  {word} {rejection.row}: {rejection.reason}")
        if hidden := outcome.rejected - len(outcome.rejections):
            self.stdout.write(f"  and {hidden:,} more")
        if outcome.taken == 0 and any("ISO 8601" in rejection.reason for rejection in outcome.rejections):
            self.stdout.write("Say how times are written, for example --timestamp-format '%d.%m.%Y %H:%M'.")


class Progress:
    """A bar with rows per second on a terminal; nothing elsewhere, where the summary says it."""

    def __init__(self, command: BaseCommand, started: float) -> None:
        self._out = command.stdout
        self._started = started
        self._drawn = 0.0
        self._on_terminal = self._out.isatty()

    def show(self, taken: int, share: float) -> None:
        now = time.monotonic()
        done = share == 1.0
        if not self._on_terminal or (now - self._drawn < REDRAW_S and not done):
            return
        self._drawn = now
        filled = round(BAR_WIDTH * min(share, 1.0))
        bar = "█" * filled + "·" * (BAR_WIDTH - filled)
        pace = taken / max(now - self._started, 1e-9)
        self._out.write(
            f"\r{bar} {share:4.0%}  {taken:,} rows  {pace:,.0f} rows/s{'  storing' if done else ''}",
            ending="",
        )
        self._out.flush()

    def end(self) -> None:
        if self._on_terminal and self._drawn:
            self._out.write("\r\033[K", ending="")
