"""`manage.py export_tenant TENANT --output FOLDER|FILE.zip`: all that is kept of a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from omarino import audit
from omarino.errors import HubError
from omarino.tenant_export import export_tenant


class Command(BaseCommand):
    help = (
        "Write every row (JSON Lines), every stored file and a manifest with their sha256 into a folder, or into a zip "
        "when the name ends with .zip. Passwords are left out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant")
        parser.add_argument("--output", type=Path, required=True, help="Must not be there yet.")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant_id = options["tenant"]
        try:
            manifest = export_tenant(tenant_id=tenant_id, output=options["output"], made_at=timezone.now())
        except HubError as refusal:
            raise CommandError(str(refusal)) from refusal
        except (BotoCoreError, ClientError, OSError) as fault:
            raise CommandError(f"Nothing was exported: {fault}.") from fault
        audit.record(tenant_id, "exported", "tenant", tenant_id, files=len(manifest["files"]))
        for entry in manifest["files"]:
            rows = f"{entry['rows']:>12,} rows" if "rows" in entry else " " * 17
            self.stdout.write(f"{rows} {entry['bytes']:>14,} bytes  {entry['file']}")
        for name in manifest["gone_meanwhile"]:
            self.stdout.write(f"deleted meanwhile: {name}")
        self.stdout.write(f"Written to {options['output']}.")
