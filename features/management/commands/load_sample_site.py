from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from features.actions import load_site
from features.batches import Outcome
from omarino.errors import HubError


class Command(BaseCommand):
    help = "Load the sample site that ships with the project: assets, readings and weather. Again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", type=Path, default=settings.BASE_DIR / "sample_data" / "site.json")
        parser.add_argument("--tenant", help="Instead of the tenant the site names.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            tenant = load_site(description=options["site"], tenant_id=options["tenant"], on_file=self._say)
        except HubError as fault:
            raise CommandError(str(fault)) from fault
        self.stdout.write(f"The sample site is loaded for the tenant {tenant}.")

    def _say(self, file: str, outcome: Outcome) -> None:
        self.stdout.write(
            f"{file}: accepted {outcome.accepted:,}, updated {outcome.updated:,}, "
            f"unchanged {outcome.unchanged:,}, rejected {outcome.rejected:,}"
        )
