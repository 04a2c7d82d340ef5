from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from features import sets, stored
from omarino.errors import HubError


def moment(text: str) -> datetime:
    said = datetime.fromisoformat(text)
    return said if said.tzinfo else said.replace(tzinfo=UTC)


class Command(BaseCommand):
    help = "Write a set's features as of every full hour of a time to the table ai_features; again writes what changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True)
        parser.add_argument("--feature-set", required=True, help="built in, or of the tenant")
        parser.add_argument(
            "--start", required=True, type=moment, help="2025-01-01, or a time; UTC without a zone"
        )
        parser.add_argument("--end", required=True, type=moment, help="not included")
        parser.add_argument("--assets", nargs="+", help="all of the tenant, when not given")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["start"] >= options["end"]:
            raise CommandError("--start must be before --end.")
        try:
            written = stored.store(
                tenant_id=options["tenant"],
                feature_set=sets.resolve(options["tenant"], options["feature_set"]),
                start=options["start"],
                before=options["end"],
                asset_ids=options["assets"],
                on_asset=lambda asset_id, rows: self.stdout.write(f"{asset_id}: {rows} rows"),
            )
        except HubError as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{written} rows are new or changed.")
