from __future__ import annotations

import argparse
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from features import export_files
from features.export_actions import ExportRequest, request_export, write_export
from features.export_serializers import OUTPUT_PATH
from features.management.commands.import_readings import Progress
from features.models import FeatureExport
from omarino.authentication import TENANT_ID
from omarino.errors import HubError, Outage
from omarino.jobs import JobStatus

LOOK_AGAIN_S = 1.0


class Command(BaseCommand):
    help = (
        "Export a feature set as of every reading of a time into a Parquet file, as POST /ai/features/export "
        "does, but in this process: the export is kept, listed and swept like any other. Times are ISO 8601, in "
        "UTC where they name no zone. Ctrl-C cancels it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True)
        parser.add_argument("--feature-set", required=True)
        parser.add_argument("--start", required=True, type=moment, help="Of the first reading.")
        parser.add_argument("--end", required=True, type=moment, help="Readings at or after it are left out.")
        parser.add_argument(
            "--assets", nargs="+", action="extend", help="Their ids, apart by spaces or commas; all without."
        )
        parser.add_argument("--output", type=Path, help="Also write the file here, whole or not at all.")

    def handle(self, *args: Any, **options: Any) -> None:
        said = argparse.Namespace(**options)
        if not TENANT_ID.fullmatch(said.tenant):
            raise CommandError(f"{said.tenant!r} is no tenant: at most 64 letters, digits or . _ -")
        if said.output and (said.output.is_dir() or not said.output.parent.is_dir()):
            raise CommandError(f"{said.output} is no file in a folder that is there.")
        try:
            export = self._export(said)
            if said.output:
                self._copy(export, said.output)
        except (HubError, Outage) as fault:
            raise CommandError(str(fault)) from fault
        except OperationalError as fault:
            raise CommandError(f"The database does not answer. {fault}") from fault
        except OSError as fault:
            raise CommandError(f"{said.output} cannot be written: {fault.strerror}.") from fault
        except KeyboardInterrupt as fault:
            raise CommandError("Interrupted; the export is cancelled and nothing of it is kept.") from fault

    def _export(self, said: argparse.Namespace) -> FeatureExport:
        assets = [name for part in said.assets or [] for name in part.split(",") if name]
        request = ExportRequest(
            said.feature_set, said.start, said.end, assets or None, _stored_name(said.output)
        )
        export, _ = request_export(
            tenant_id=said.tenant, requested_by="manage.py export_features", request=request, enqueue=False
        )
        started = time.monotonic()
        progress = Progress(self, started)
        try:
            export = self._await(export, progress)
        except KeyboardInterrupt:
            FeatureExport.objects.for_tenant(said.tenant).cancel(export.pk)
            raise
        finally:
            progress.end()
        if export.status != JobStatus.COMPLETED:
            raise CommandError(export.error or f"The export is {export.status}.")
        took = time.monotonic() - started
        self.stdout.write(
            f"{export.row_count:,} rows, {export.file_size_bytes:,} bytes in {took:.1f} s "
            f"({(export.row_count or 0) / max(took, 1e-9):,.0f} rows a second)"
        )
        self.stdout.write(f"export {export.pk}  sha256 {export.sha256}")
        self.stdout.write(export_files.location(export))
        return export

    def _await(self, export: FeatureExport, progress: Progress) -> FeatureExport:
        """Write it here as soon as it is this tenant's turn, unless a worker has taken it up meanwhile."""
        told_to_wait = False
        while not export.is_over:
            if not write_export(export_id=export.pk, on_progress=progress.show):
                if not told_to_wait:
                    self.stderr.write("Another export of this tenant is being written; waiting for its end.")
                told_to_wait = True
                time.sleep(LOOK_AGAIN_S)
            export.refresh_from_db()
            if export.status == JobStatus.PENDING and export.error:
                FeatureExport.objects.for_tenant(export.tenant_id).cancel(export.pk)
                raise CommandError(export.error)
        return export

    def _copy(self, export: FeatureExport, output: Path) -> None:
        aside = output.with_name(f".{output.name}.{export.pk}")
        try:
            with aside.open("wb") as file:
                for block in export_files.read(export):
                    file.write(block)
            shutil.move(aside, output)
        finally:
            aside.unlink(missing_ok=True)
        self.stdout.write(str(output.absolute()))


def moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 time such as 2025-01-01T00:00Z") from fault
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _stored_name(output: Path | None) -> str | None:
    """The name the person gave, where the storage can bear it."""
    if output is None or output.suffix != ".parquet" or not OUTPUT_PATH.fullmatch(output.name):
        return None
    return output.name
